"""MultiWOZ dialogues: turns, gold states, bookings and goals, as the standard scores read them.

An entry of `data.json` holds a goal and a log, in which the user and the system take turns::

    "SNG0073.json": {
      "goal": {"taxi": {"info": {"leaveAt": "17:15", ...}, "reqt": ["car type", "phone"],
               "fail_info": {}}, "hotel": {}, ..., "message": ["You want to book a taxi", ...]},
      "log": [{"text": "I would like a taxi from ...", "metadata": {}},
              {"text": "What time do you want to leave ?", "metadata": {"taxi": {
                "book": {"booked": []}, "semi": {"leaveAt": "", "destination": "...", ...}}, ...}}]}

The metadata of a system turn is the state after the user turn before it. A slot without a value is
empty or `not mentioned` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from coalm.errors import DataError
from coalm.evals.multiwoz.normalize import DONT_CARE, evaluator_slot, join_digits
from coalm.evals.multiwoz.release import Release

State: TypeAlias = Mapping[str, Mapping[str, str]]
"""Domain to slot to value; a state never holds a slot without a value."""
Version: TypeAlias = Literal["2.1", "2.4"]

DOMAINS = ("restaurant", "hotel", "attraction", "train", "taxi")
"""The domains of the test dialogues; hospital and police never occur in them."""
BOOKABLE = ("restaurant", "hotel", "train")
"""Domains whose bookings have a reference number."""

_NO_SLOTS = frozenset({"booked", "ticket"})
_MOST_WORDS = 50


class Span(NamedTuple):
    """A value in a system text, by the dialogue act annotation."""

    act: str
    slot: str
    value: str
    first: int
    """Index of its first word, words being divided by blanks."""
    last: int
    """Index of its last word."""


class Turn(NamedTuple):
    """What the user said, what the human operator answered, and what is annotated."""

    user: str
    system: str
    state: State
    """After the user's words. Slots are named arrive, leave, day, people, time, stay, ..."""
    bookings: Mapping[str, Sequence[Mapping[str, str]]]
    """Domain to the bookings made so far: `name`, `reference`; of a taxi `type` and `phone`."""
    spans: Sequence[Span]

    @property
    def booked(self) -> frozenset[str]:
        """Domains that have a booking with a reference number at this turn."""
        return frozenset(domain for domain in BOOKABLE if self.bookings.get(domain))


class DomainGoal(BaseModel):
    """What the user wants of one domain."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    info: dict[str, str] = {}
    """Constraints; slots as in the release, such as `arriveBy`."""
    fail_info: dict[str, str] = {}
    """Constraints that the user gives first and that nothing meets; replaced by `info`."""
    reqt: tuple[str, ...] = ()
    """What the user wants to know."""
    book: dict[str, JsonValue] | None = None
    """How to book; None when nothing is to be booked."""
    fail_book: dict[str, JsonValue] = {}
    """What replaces some of `book` in the user's first or second try."""


class Dialogue(NamedTuple):
    """One dialogue of the corpus."""

    id: str
    """Lower case and without `.json`, as in prediction files."""
    goal: Mapping[str, DomainGoal]
    """Only the domains that the user wants something of."""
    message: Sequence[str]
    """The goal in sentences, as the human user read it."""
    turns: Sequence[Turn]


class Corpus(NamedTuple):
    """The test dialogues of one version."""

    version: Version
    dialogues: Mapping[str, Dialogue]
    """By id, in the order of the official list."""
    kept: frozenset[str]
    """Ids that the preprocessing of MultiWOZ 2.4 keeps; papers report these (999, 7,368 turns)."""

    @property
    def turns(self) -> int:
        """Turns of the dialogues that are kept."""
        return sum(len(self.dialogues[name].turns) for name in self.kept)


class _DomainRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    semi: dict[str, str] = {}
    book: dict[str, str | list[dict[str, str]]] = {}


class _TurnRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    text: str
    metadata: dict[str, _DomainRow] = {}
    span_info: list[tuple[str, str, str, int, int]] = []


class _DialogueRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    goal: dict[str, JsonValue]
    log: tuple[_TurnRow, ...]


_ROWS = TypeAdapter(dict[str, _DialogueRow])
_GOAL = TypeAdapter(DomainGoal)


def load_corpus(release: Release, version: Version = "2.4") -> Corpus:
    """Read the test dialogues of a version.

    Raises:
        DataError: a file is missing or damaged, or a dialogue of the list is not in the data.
    """
    names = release.file("testListFile.json", "testListFile.txt").decode().split()
    try:
        rows = _ROWS.validate_json(release.dialogues(version))
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{release.place}: dialogue {where}: {first['msg']}") from e
    if missing := [name for name in names if name not in rows]:
        raise DataError(
            f"{release.place}: {len(missing)} of {len(names)} test dialogues are missing, "
            f"the first one is {missing[0]}"
        )
    dialogues = [_dialogue(name, rows[name]) for name in names]
    return Corpus(
        version,
        {dialogue.id: dialogue for dialogue in dialogues},
        frozenset(d.id for d, n in zip(dialogues, names, strict=True) if _is_kept(rows[n])),
    )


def dialogue_id(name: str) -> str:
    """The id of a dialogue, however it is written (`SNG0073.json` is `sng0073`)."""
    return name.lower().removesuffix(".json")


def read_goal(goal: Mapping[str, JsonValue]) -> dict[str, DomainGoal]:
    """The goal of a dialogue by domain, from the form of the release.

    Raises:
        ValidationError: an entry is not of the form.
    """
    domains = (*DOMAINS, "hospital", "police")
    return {d: _GOAL.validate_python(goal[d]) for d in domains if goal.get(d)}


def _dialogue(name: str, row: _DialogueRow) -> Dialogue:
    try:
        goal = read_goal(row.goal)
    except ValidationError as e:
        raise DataError(f"{name}: goal: {e.errors(include_url=False)[0]['msg']}") from e
    message = row.goal.get("message", [])
    sentences = message if isinstance(message, list) else [message]
    turns = [_turn(user, system) for user, system in zip(row.log[::2], row.log[1::2], strict=False)]
    return Dialogue(dialogue_id(name), goal, [str(sentence) for sentence in sentences], turns)


def _turn(user: _TurnRow, system: _TurnRow) -> Turn:
    rows = system.metadata
    state = {domain: _slots(row) for domain, row in rows.items()}
    return Turn(
        user=user.text,
        system=system.text,
        state={domain: slots for domain, slots in state.items() if slots},
        bookings={domain: made for domain, row in rows.items() if (made := _bookings(row))},
        spans=[Span(*span) for span in system.span_info],
    )


def _slots(row: _DomainRow) -> dict[str, str]:
    written = {**row.semi, **{k: v for k, v in row.book.items() if k not in _NO_SLOTS}}
    return {
        evaluator_slot(slot): "dontcare" if value in DONT_CARE else value
        for slot, value in written.items()
        if isinstance(value, str) and value not in ("", "not mentioned")
    }


def _bookings(row: _DomainRow) -> list[dict[str, str]]:
    booked = row.book.get("booked", [])
    return booked if isinstance(booked, list) else []


def _is_kept(row: _DialogueRow) -> bool:
    """The filter of `create_data.py` in smartyfh/MultiWOZ2.4."""
    if len(row.log) % 2:
        return False
    texts = [re.sub("[‘’]", "'", turn.text) for turn in row.log]
    return all(text.isascii() and _count_words(text) <= _MOST_WORDS for text in texts)


def _count_words(text: str) -> int:
    text = re.sub(r"(?<!\d)[?.,!]|[?.,!](?!\d)", r" \g<0> ", text.lower())
    text = re.sub(r"['\"@()<>]", " ", text.replace("-", " ").replace("/", " and "))
    return len(join_digits(text.split()).split())
