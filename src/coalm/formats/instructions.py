"""The instruction texts: kept in `prompts/*.txt`, replaceable by a file of the user's.

A text names what is filled in with `{tools}`, `{context}`, `{history}`; all other braces stay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from coalm.errors import FormatError

_FOLDER = Path(__file__).parent / "prompts"


class Instructions:
    """One instruction text with its places to fill."""

    def __init__(self, name: str, places: tuple[str, ...], file: Path | None = None) -> None:
        """Read the text of format `name`, or `file` in its stead.

        Raises:
            FormatError: the file cannot be read or lacks one of `places`.
        """
        path = file or _FOLDER / f"{name}.txt"
        try:
            self._text = path.read_text(encoding="utf-8").strip("\n")
        except (OSError, UnicodeDecodeError) as e:
            raise FormatError(f"instruction text {path} cannot be read: {e}") from e
        self._place = re.compile("|".join(rf"\{{{place}\}}" for place in places))
        missing = [place for place in places if f"{{{place}}}" not in self._text]
        if missing:
            raise FormatError(f"instruction text {path} lacks the place {{{missing[0]}}}")
        self.suffix = f"+{hashlib.sha256(self._text.encode()).hexdigest()[:8]}" if file else ""
        """Added to a format's version when the text is not our own; empty otherwise."""

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every place replaced, in one pass: filled-in text is not filled again."""
        return self._place.sub(lambda match: values[match.group()[1:-1]], self._text)
