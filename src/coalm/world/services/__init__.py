"""One module per service: its tables, what fills them, what a user may want, and its tools."""
