"""What in a conversation an argument value rests on.

`Heard` holds what was said and shown so far and looks a value up in it. The kinds of evidence, the
first one that there is counts:

| kind | the value |
|---|---|
| `empty` | says nothing: null, "", [], {} |
| `text` | stands in an utterance |
| `form` | is a date, a time or a number that an utterance gives in other words |
| `said` | was said in words that the data set's annotators marked for it (`SAID`) |
| `result` | stands in an earlier result |
| `default` | is the schema's default |
| `state` | is in the annotators' dialogue state and in no words of its own |
| `words` | has no word that an utterance lacks, be it in another form |
| `part` | stands in an utterance within a longer word ("pmnear", "fr" in "France") |
| `mention` | is the boolean of a parameter that an utterance speaks of |

The last three are weak, and count only in conversations that no annotator marked.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, get_args

from pydantic import JsonValue

from coalm.data.spoken import date_phrases, number_phrases, plain, time_phrases
from coalm.types import Conversation, Message

SAID = "said"
"""Key of `Conversation.meta`: a list of [argument, value, words] for the values that were not said
as they are; the words are empty where the utterances have none that could be marked."""

Kind = Literal[
    "empty", "text", "form", "said", "result", "default", "state", "words", "part", "mention"
]
"""From the strongest to the weakest."""
_KINDS: tuple[Kind, ...] = get_args(Kind)
Spec = Mapping[str, JsonValue]
Marks = Mapping[tuple[str, str], str]
"""(argument, value as text) to the words that meant it."""

_TODAY = re.compile(r"[Tt]oday is [^.\n]*?(\d{4}-\d\d-\d\d)")
_DATE = re.compile(r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)")
_LOCAL_DATE = re.compile(r"(\d\d?)[-/.](\d\d?)[-/.](\d{4})")
_MOMENT = re.compile(
    r"(?P<date>\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4})?"
    r"(?:(?:^|[T ])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::\d\d)?Z?)?"
)
"""A date, a time of day, or both."""
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,6})?")
_STEM = 5
"""Letters of a word that tell it from others: "vegetarian", "vegetables"."""
_SHORTEST_PART = 2
"""Letters of the shortest value that is looked for within words, this one only at their start:
"us" in "USA"."""
_plain_value = lru_cache(maxsize=65536)(plain)
_NO_CONTENT = frozenset(
    plain(
        "a an and any are as at be by do for from has have in into is it its of off offers on or "
        "the to with number name type value flag whether true false boolean"
    ).split()
)


def marks(conversation: Conversation) -> Marks | None:
    """What the annotators marked; None where there were none."""
    marked = conversation.meta.get(SAID)
    if not isinstance(marked, list):
        return None
    return {
        (str(item[0]), str(item[1])): str(item[2])
        for item in marked
        if isinstance(item, list) and len(item) == 3
    }


class Heard:
    """What was said and shown in a conversation up to some point."""

    def __init__(self, today: datetime.date | None = None) -> None:
        self.today = today
        """The day on which the conversation takes place, where a system message says it."""
        self._spoken = " "
        self._shown = " "
        self._stems: tuple[int, frozenset[str]] = (0, frozenset())

    def add(self, message: Message) -> None:
        """Take in the next message."""
        if message.role == "tool":
            self._shown += plain(message.content)[1:]
            return
        self._spoken += plain(message.content)[1:]
        if message.role == "system" and (found := _TODAY.search(message.content)):
            self.today = next(iter(_dates(found[1])), None)

    def find(self, name: str, value: JsonValue, spec: Spec, marked: Marks | None) -> Kind | None:
        """The evidence for an argument value, the weakest for a list or object; None without any.

        Args:
            name: the argument.
            value: what it is given.
            spec: its JSON Schema.
            marked: what the annotators marked, see `marks`.
        """
        if value in (None, "", [], {}):
            return "empty"
        if isinstance(value, list | dict):
            return self._find_all(name, value, spec, marked)
        if isinstance(value, bool):
            spoken = None
        elif isinstance(value, str):
            spoken = self._find_text(value)
        else:
            spoken = self._find_phrase(_plain_value(str(value)), number_phrases(value))
        return spoken or self._find_unspoken(name, value, spec, marked)

    def _find_all(
        self,
        name: str,
        value: list[JsonValue] | dict[str, JsonValue],
        spec: Spec,
        marked: Marks | None,
    ) -> Kind | None:
        items = value.items() if isinstance(value, dict) else [(name, item) for item in value]
        kinds = [self.find(key, item, {}, marked) for key, item in items]
        if None not in kinds:
            return _KINDS[max(_KINDS.index(kind) for kind in kinds if kind)]
        return "default" if spec.get("default") == value else None

    def _find_text(self, value: str) -> Kind | None:
        words = _plain_value(value)
        if _holds(self._spoken, words):
            return "text"
        if _NUMBER.fullmatch(value):
            return self._find_phrase(words, number_phrases(float(value)))
        match = _MOMENT.fullmatch(value)
        if match is None:
            return None
        parts = [date_phrases(date, self.today) for date in _dates(match["date"] or "")]
        if parts and not self._says_any(frozenset().union(*parts)):
            return None
        time = match["hour"] and (int(match["hour"]), int(match["minute"]))
        if time and time not in ((0, 0), (23, 59)) and not self._says_any(time_phrases(*time)):
            return None
        return "form" if parts or time else None

    def _says_any(self, phrases: frozenset[str]) -> bool:
        return any(f" {phrase} " in self._spoken for phrase in phrases)

    def _find_phrase(self, words: str, phrases: frozenset[str]) -> Kind | None:
        if _holds(self._spoken, words):
            return "text"
        return "form" if self._says_any(phrases) else None

    def _find_unspoken(
        self, name: str, value: JsonValue, spec: Spec, marked: Marks | None
    ) -> Kind | None:
        words = None if marked is None else marked.get((name, str(value)))
        if words and _holds(self._spoken, _plain_value(words)):
            return "said"
        if self._is_shown(name, value):
            return "result"
        if spec.get("default") == value and "default" in spec:
            return "default"
        if words == "":
            return "state"
        return self._find_weak(name, value, spec) if marked is None else None

    def _is_shown(self, name: str, value: JsonValue) -> bool:
        if isinstance(value, bool):
            return _holds(self._shown, _plain_value(f"{name} {value}"))
        if isinstance(value, int | float):
            return any(f" {phrase} " in self._shown for phrase in number_phrases(value))
        return _holds(self._shown, _plain_value(str(value)))

    def _find_weak(self, name: str, value: JsonValue, spec: Spec) -> Kind | None:
        stems = self._spoken_stems()
        if isinstance(value, bool):
            # the description too: masked names mean nothing
            about = _content(f"{name} {spec.get('description', '')}")
            return "mention" if any(word in stems for word in about) else None
        words = _content(str(value))
        if words and all(word in stems for word in words):
            return "words"
        within = _plain_value(str(value)).strip()
        if len(within) < _SHORTEST_PART:
            return None
        part = f" {within}" if len(within) == _SHORTEST_PART else within
        return "part" if part in self._spoken else None

    def _spoken_stems(self) -> frozenset[str]:
        length, stems = self._stems
        if length != len(self._spoken):
            stems = frozenset(map(_stem, self._spoken.split()))
            self._stems = (len(self._spoken), stems)
        return stems


def _holds(text: str, words: str) -> bool:
    """Whether plain words stand in a plain text; not every script parts words by blanks."""
    return words in text if words.isascii() else words.strip() in text


def _content(text: str) -> list[str]:
    return [_stem(word) for word in plain(text).split() if word not in _NO_CONTENT]


def _stem(word: str) -> str:
    return word[: min(_STEM, len(word) - (len(word) > 3 and word.endswith("s")))]


@lru_cache(maxsize=4096)
def _dates(text: str) -> tuple[datetime.date, ...]:
    """The dates that a text can be read as: 03/08/2019 is in March or in August."""
    if match := _DATE.fullmatch(text):
        readings = [match.groups()]
    elif match := _LOCAL_DATE.fullmatch(text):
        first, second, year = match.groups()
        readings = [(year, first, second), (year, second, first)]
    else:
        return ()
    found: list[datetime.date] = []
    for reading in readings:
        with contextlib.suppress(ValueError):
            found.append(datetime.date(*map(int, reading)))
    return tuple(found)
