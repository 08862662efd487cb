"""What all services of the mini world agree on: the calendar, and how a request is turned down."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TypeAlias

from coalm.errors import ToolError

Row: TypeAlias = dict[str, str]
"""One flat result; every value is text ("True", "4", "18:30"), as in SGD's service results."""

TODAY = date(2019, 3, 1)
"""The day on which every dialogue takes place: SGD's, so that one date rule reads both."""
TODAY_TEXT = f"Today is {TODAY:%A}, {TODAY}."
"""Tells a model what "tomorrow" is."""
LAST_DAY = date(2019, 3, 31)
"""Nothing can be booked after it."""


class UnavailableError(ToolError):
    """The request is understood but cannot be met; `alternatives` could be had instead."""

    def __init__(self, message: str, alternatives: list[Row] | None = None) -> None:
        super().__init__(message)
        self.alternatives = alternatives or []


def days() -> list[str]:
    """All days that can be booked, as YYYY-MM-DD."""
    return [(TODAY + timedelta(n)).isoformat() for n in range((LAST_DAY - TODAY).days + 1)]


def check_date(text: str) -> str:
    """The date as YYYY-MM-DD.

    Raises:
        ToolError: not a date, in the past, or after the last day that can be booked.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError as e:
        raise ToolError(f"{text!r} is not a date; write it as YYYY-MM-DD") from e
    if not TODAY <= day <= LAST_DAY:
        raise ToolError(f"{day} cannot be booked; dates run from {TODAY} to {LAST_DAY}")
    return day.isoformat()


def check_time(text: str) -> str:
    """The time of day as HH:MM.

    Raises:
        ToolError: not a time of day.
    """
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text.strip())
    if found is None:
        raise ToolError(f"{text!r} is not a time of day; write it as HH:MM, 24 hours")
    return f"{int(found[1]):02}:{found[2]}"


def minutes(time: str) -> int:
    """Minutes from midnight to HH:MM."""
    return int(time[:2]) * 60 + int(time[3:])


def clock(minutes: int) -> str:
    """HH:MM of so many minutes after midnight."""
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def day_after(day: str, count: int) -> str:
    """The date `count` days after `day`, both YYYY-MM-DD."""
    return (date.fromisoformat(day) + timedelta(count)).isoformat()
