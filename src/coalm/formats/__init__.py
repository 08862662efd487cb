"""Prompt formats by name; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from coalm.errors import FormatError
from coalm.formats.base import AlpacaPrompt, PromptFormat

__all__ = ["FORMATS", "AlpacaPrompt", "PromptFormat", "get_format"]

FORMATS = {
    "react": "coalm.formats.react.ReactFormat",
    "dst": "coalm.formats.dst.DstFormat",
    "json_calls": "coalm.formats.json_calls.JsonCallsFormat",
    "python_calls": "coalm.formats.python_calls.PythonCallsFormat",
}


@cache
def get_format(name: str, instructions: Path | None = None) -> PromptFormat:
    """The format called `name`, with the instruction text of a file of yours if one is given.

    Raises:
        FormatError: no such format, or the instruction file cannot be used.
    """
    if name not in FORMATS:
        raise FormatError(f"no prompt format {name!r}; there are: {', '.join(FORMATS)}")
    module, _, cls = FORMATS[name].rpartition(".")
    return getattr(importlib.import_module(module), cls)(instructions)
