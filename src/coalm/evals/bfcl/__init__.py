"""BFCL V3: the official verdicts on function calls, without running a model's text."""
