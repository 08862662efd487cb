"""The benchmark API-Bank."""
