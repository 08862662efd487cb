"""Prompt formats by name; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from coalm.errors import FormatError
from coalm.formats.base import AlpacaPrompt, PromptFormat
from coalm.formats.guided import GuidedFormat

__all__ = ["FORMATS", "AlpacaPrompt", "PromptFormat", "get_format"]

FORMATS = {
    "react": "coalm.formats.react.ReactFormat",
    "dst": "coalm.formats.dst.DstFormat",
    "json_calls": "coalm.formats.json_calls.JsonCallsFormat",
    "python_calls": "coalm.formats.python_calls.PythonCallsFormat",
    "system_calls": "coalm.formats.system_calls.SystemCallsFormat",
}


@cache
def get_format(
    name: str, instructions: Path | None = None, *, guided: bool = False
) -> PromptFormat:
    """The format called `name`.

    Args:
        name: One of `FORMATS`.
        instructions: A file with an instruction text of yours.
        guided: Its prompts carry the grammar of their calls, for engines that guide.

    Raises:
        FormatError: no such format, or the instruction file cannot be used.
    """
    if name not in FORMATS:
        raise FormatError(f"no prompt format {name!r}; there are: {', '.join(FORMATS)}")
    module, _, cls = FORMATS[name].rpartition(".")
    plain: PromptFormat = getattr(importlib.import_module(module), cls)(instructions)
    return GuidedFormat(plain) if guided else plain
