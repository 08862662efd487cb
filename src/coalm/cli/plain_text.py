"""Untrusted text (from models, tools, files, error messages) made harmless for a terminal."""

from __future__ import annotations

import re

_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_BREAKS = re.compile(r"[\n\r\t\v\f\x85\u2028\u2029]+")


def visible(text: str) -> str:
    r"""`text` with everything that could steer the terminal written out, such as `\x1b`.

    That is: escape sequences (colours, titles, clipboard), carriage returns that overwrite a line,
    direction marks that reorder it, and lone surrogates, which no terminal can be sent.
    """
    return _STEERING.sub(lambda match: ascii(match.group())[1:-1], text)


def one_line(text: str) -> str:
    """`text` made visible, on a single line."""
    return visible(_LINE_BREAKS.sub(" ", text)).strip()
