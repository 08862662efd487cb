"""What scoring one answer gives."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Value: TypeAlias = Any
"""A Python literal: number, text, bytes, None, or a list, tuple, dict of them."""


class Verdict(NamedTuple):
    """Whether an answer is right, and if not, why, in the official scorer's words."""

    error_type: str | None = None
    """The official name of the fault (`value_error:string`); None for a right answer."""
    explanation: str | None = None
    """What made the fault, for a reader."""

    @property
    def valid(self) -> bool:
        """True for a right answer."""
        return self.error_type is None


RIGHT = Verdict()
CRASH = "upstream_crash"
"""Error type of answers at which the official scorer itself stops; they are wrong here."""
