"""`python -m coalm` is the command `coalm`."""

from __future__ import annotations

from coalm.cli.main import main

if __name__ == "__main__":
    main()
