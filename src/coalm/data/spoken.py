"""How people say dates, times and numbers: the phrases that stand for one value.

Phrases and texts are compared in a plain form (`plain`): lower case, words apart by one blank, no
signs but the point and the colon within numbers. So "half past 6 in the evening" and "6:30 p.m."
are both phrases of 18:30, and "next Friday" is one of 2019-03-08 if today is 2019-03-01.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from functools import lru_cache

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
_GAP = re.compile(r"(?:[^\w.:]|_|(?<!\d)[.:]|[.:](?!\d))+")

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = (
    "", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
    "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
    "seventeenth", "eighteenth", "nineteenth", "twentieth",
)  # fmt: skip
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MORNING = ("am", "a m", "in the morning")
_LATER = ("pm", "p m", "in the afternoon", "in the evening", "in the night", "at night", "tonight")
_BEFORE_MORNING = ("morning",)
_BEFORE_LATER = ("afternoon", "evening", "night", "tonight at", "tonight")
_SCALES = (
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
    (100, "hundred"),
)

_LETTERS = {1_000_000_000: "b", 1_000_000: "m", 1_000: "k"}
_LARGEST = 1e15
"""Above it nobody says a number, and floats lose digits."""


def plain(text: str) -> str:
    """The words of a text in lower case, a blank before, between and after them."""
    lowered = text.casefold().replace("\u2019", "'").replace("'s", " s").replace("'", "")
    lowered = lowered.replace("%", " percent ")
    return f" {_GAP.sub(' ', _THOUSANDS.sub('', lowered)).strip()} "


@lru_cache(maxsize=4096)
def number_phrases(value: float) -> frozenset[str]:
    """Plain phrases of a number: figures, words, thousands and millions, percents.

    The sign is left out, as in "5 degrees below zero".
    """
    size = abs(value)
    if not size < _LARGEST:
        return frozenset({str(value)})
    found = {f"{size:g}", f"{size:.1f}", f"{size:.2f}", str(size)}
    for scale, name in _SCALES[:3]:
        if size >= scale:
            found |= {f"{size / scale:g} {name}", f"{size / scale:g}{_LETTERS[scale]}"}
    if size < 1:
        found.add(f"{100 * size:g} percent")
    whole = int(size)
    if size - whole == 0.5 and size < 1_000_000:
        found |= {f"{whole} and a half", f"{_words(whole)} and a half"} if whole else {"half"}
    if size == whole and size < 1_000_000:
        found |= {str(whole), ordinal(whole), *_in_words(whole)}
    return frozenset(found)


def _in_words(number: int) -> tuple[str, ...]:
    words = _words(number)
    special = {1: ("single",), 2: ("couple", "pair", "both", "twice"), 12: ("dozen",)}
    return (words, words.replace(" and ", " "), *special.get(number, ()))


def _words(number: int) -> str:
    """1320 as "one thousand three hundred and twenty"."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return f"{_TENS[number // 10]} {_ONES[number % 10] if number % 10 else ''}".strip()
    size, name = next(scale for scale in _SCALES if number >= scale[0])
    rest = number % size
    head = f"{_words(number // size)} {name}"
    if not rest:
        return head
    return f"{head} {'and ' if rest < 100 else ''}{_words(rest)}"


def ordinal(number: int) -> str:
    """8 as "8th"."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}" + {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


@lru_cache(maxsize=4096)
def date_phrases(date: datetime.date, today: datetime.date | None) -> frozenset[str]:
    """Plain phrases of a date; with `today` also those that count from it or leave out the year."""
    named = set(_named_days(date))
    figures = {
        f"{date.year} {date.month:02} {date.day:02}",
        *(f"{a} {b} {date.year}" for a, b in _day_pairs(date)),
        *(f"{phrase} {date.year}" for phrase in named),
    }
    if today is None:
        return frozenset(figures)
    if abs((date - today).days) < 300:
        figures |= named | {f"{a} {b}" for a, b in _day_pairs(date)}
    return frozenset(figures | set(_from_today(date, today)))


def _day_pairs(date: datetime.date) -> Iterator[tuple[str, str]]:
    day, month = date.day, date.month
    for style in ("{}", "{:02}"):
        yield style.format(month), style.format(day)
        yield style.format(day), style.format(month)


def _named_days(date: datetime.date) -> Iterator[str]:
    day = date.day
    numbers = {str(day), ordinal(day)}
    if day < len(_ORDINALS):
        numbers.add(_ORDINALS[day])
    full = _MONTHS[date.month - 1]
    for month in (full, full[:3], full[:4]):
        for number in numbers:
            yield f"{month} {number}"
            yield f"{month} the {number}"
            yield f"{number} {month}"
            yield f"{number} of {month}"


def _from_today(date: datetime.date, today: datetime.date) -> Iterator[str]:
    away = (date - today).days
    near = {-1: ("yesterday",), 0: ("today", "tonight", "this evening", "now"), 1: ("tomorrow",)}
    yield from near.get(away, ())
    if away == 2:
        yield "day after tomorrow"
    if (date.year, date.month) == (today.year, today.month):
        yield ordinal(date.day)
        if date.day < len(_ORDINALS):
            yield f"the {_ORDINALS[date.day]}"
    weekday = _WEEKDAYS[date.weekday()]
    weeks = (date - _monday(today)).days // 7
    if 0 <= away <= 7:
        yield weekday
    if 0 < away <= 7 or weeks == 1:
        yield f"next {weekday}"
    if weeks in (0, 1):
        yield f"{weekday} {('this', 'next')[weeks]} week"


def _monday(day: datetime.date) -> datetime.date:
    return day - datetime.timedelta(days=day.weekday())


@lru_cache(maxsize=4096)
def time_phrases(hour: int, minute: int) -> frozenset[str]:
    """Plain phrases of a time of day, whole and with the part of the day."""
    twelve = hour % 12 or 12
    after, before = (_MORNING, _BEFORE_MORNING) if hour < 12 else (_LATER, _BEFORE_LATER)
    found = {f"{hour:02}:{minute:02}", f"{hour}:{minute:02}", f"{hour:02}{minute:02}"}
    if (hour, minute) in ((0, 0), (12, 0)):
        found |= {"noon", "midday"} if hour else {"midnight"}
    for core in _clock(twelve, minute):
        found |= {f"{core} {part}" for part in after}
        found |= {f"{part} {core}" for part in before}
    return frozenset(found)


def _clock(hour: int, minute: int) -> Iterator[str]:
    """What the dial shows, in figures and words, without the part of the day."""
    following = hour % 12 + 1
    for name, next_name in ((str(hour), str(following)), (_ONES[hour], _ONES[following])):
        if minute == 0:
            yield from (name, f"{name}:00", f"{name} oclock", f"{name} o clock")
        if minute == 15:
            yield from (f"quarter past {name}", f"quarter after {name}")
        if minute == 30:
            yield f"half past {name}"
        if minute == 45:
            yield f"quarter to {next_name}"
        if minute:
            yield from (f"{name}:{minute:02}", f"{name} {minute:02}", f"{name} {_words(minute)}")
