"""Placeholders for the values that a response really names.

An agent writes `Your table at Pizza Hut City Centre is booked, reference AB12CD34.`, and the rules
of Inform and Success read `[restaurant_name]` and `[restaurant_reference]`. A `Lexicon` knows
values and what they are: all venues and trains, or just what an agent's tools returned, and in
either case the reference numbers and taxi phones of the bookings made in this dialogue.

Texts and values are compared by their words: lower case, letters and digits only, so that Markdown,
punctuation and apostrophes do not matter; phones and postcodes are one word each however they are
divided. Of several values at one place the longest is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from coalm.evals.multiwoz.database import TABLES, Database, Row

Words: TypeAlias = tuple[str, ...]

_SPLIT_PHONE = re.compile(r"(?<!\w)\(?\d(?:[ .()\-]{0,2}\d){9,10}(?!\w)")
_SPLIT_POSTCODE = re.compile(r"(?<!\w)(cb|pe)[ .]?(\d{1,3})[ ,.]{0,2}(\d)[ .]?([a-z]{2})(?!\w)")
_WORD = re.compile(r"[^\W_]+")
_COLUMNS = ("name", "address", "postcode", "phone", "trainid")
_ENDINGS = (" hotel", " restaurant")
_STREETS = {"road": "rd", "rd": "road", "street": "st", "st": "street"}
_COMMON_WORDS = frozenset({"ask", "place"})
"""Short forms of names that are words of any response; only the full name counts."""


class Value(NamedTuple):
    """A text that stands for something."""

    text: str
    meaning: str
    """A placeholder without its brackets, such as `hotel_name`."""


class _Found(NamedTuple):
    start: int
    end: int
    meaning: str


class Lexicon:
    """Values by their words."""

    def __init__(self, values: Iterable[Value], base: Lexicon | None = None) -> None:
        """Know values.

        Args:
            values: What to know; of equal texts the first one counts.
            base: What else is known; its values count less than equal ones of this lexicon.
        """
        self._tables: list[dict[str, dict[Words, str]]] = [{}, *(base._tables if base else ())]
        for text, meaning in values:
            if words := _words(text):
                self._tables[0].setdefault(words[0], {}).setdefault(words, meaning)

    def replace(self, text: str) -> str:
        """The text in lower case with placeholders for all values that it names."""
        text = _joined(text)
        parts: list[str] = []
        end = 0
        for found in self._find(text):
            parts += [text[end : found.start], f"[{found.meaning}]"]
            end = found.end
        return "".join((*parts, text[end:]))

    def meanings(self, text: str) -> list[str]:
        """What the values that the text names stand for, in its order."""
        return [found.meaning for found in self._find(_joined(text))]

    def _find(self, text: str) -> Iterator[_Found]:
        places = list(_WORD.finditer(text))
        words = tuple(place[0] for place in places)
        at = 0
        while at < len(words):
            size, meaning = self._longest(words, at)
            if size:
                yield _Found(places[at].start(), places[at + size - 1].end(), meaning)
            at += size or 1

    def _longest(self, words: Words, at: int) -> tuple[int, str]:
        """How many words from `at` on make the longest value, and what it stands for."""
        size, found = 0, ""
        for table in self._tables:
            for start in (words[at], f"{words[at]}s"):
                for value, meaning in table.get(start, {}).items():
                    length = _match(value, words, at)
                    if length > size:
                        size, found = length, meaning
        return size, found


def _match(value: Words, words: Words, at: int) -> int:
    """How many words from `at` on say the value; 0 when they do not.

    `king 's` is two words and says `kings`.
    """
    here = at
    for word in value:
        if words[here : here + 1] == (word,):
            here += 1
        elif words[here + 1 : here + 2] == ("s",) and f"{words[here]}s" == word:
            here += 2
        else:
            return 0
    return here - at


def mentions(texts: Iterable[str], value: str) -> bool:
    """Whether one of the texts names the value."""
    words = _words(value)
    said = [_said_words(text) for text in texts] if words else []
    return any(_match(words, text, at) for text in said for at in range(len(text)))


def database_values(database: Database) -> Iterator[Value]:
    """Every name, address, postcode, phone and train id there is."""
    for domain in TABLES:
        for row in database.rows(domain):
            yield from row_values(domain, row)


def row_values(domain: str, row: Row) -> Iterator[Value]:
    """What a row of the database can be told by, in the usual ways to write it."""
    for column in _COLUMNS:
        value = row.get(column, "?")
        if value != "?":
            placeholder = f"{domain}_{'id' if column == 'trainid' else column}"
            spellings = {"name": name_forms, "address": _addresses}.get(column)
            for text in spellings(value) if spellings else (value,):
                yield Value(text, placeholder)


def name_forms(name: str) -> Iterator[str]:
    """A venue's name in the forms by which people call it."""
    yield name
    plain = name.removeprefix("the ")
    shorter = (plain, *(plain.removesuffix(ending) for ending in _ENDINGS))
    yield from (short for short in shorter if short not in _COMMON_WORDS)


def _addresses(address: str) -> Iterator[str]:
    yield address
    for word, other in _STREETS.items():
        if re.search(rf"\b{word}\b", address, re.IGNORECASE):
            yield re.sub(rf"\b{word}\b", other, address, flags=re.IGNORECASE)


def _joined(text: str) -> str:
    """The text with one spelling for what is often written in several."""
    text = text.lower().replace("’", "'").replace("&", " and ")
    text = re.sub(r"\bb +and +b\b", "bed and breakfast", text).replace("guesthouse", "guest house")
    text = _SPLIT_PHONE.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    return _SPLIT_POSTCODE.sub(r"\1\2\3\4", text)


@lru_cache(maxsize=1024)
def _said_words(text: str) -> Words:
    return tuple(_WORD.findall(_joined(text)))


@lru_cache(maxsize=8192)
def _words(text: str) -> Words:
    return tuple(_WORD.findall(_joined(text).replace("'", "")))
