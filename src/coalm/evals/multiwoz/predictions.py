"""Prediction files in the public form, and what is wrong with them.

::

    {"sng0073": [{"response": "i have a [value_car] for you .",
                  "state": {"taxi": {"departure": "saint john's college", "leave": "17:15"}},
                  "active_domains": ["taxi"]}, ...], ...}

`state` and `active_domains` may be left out. Whatever cannot be read costs its own turn or dialogue
only, and is noted as a `Fault`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue

from coalm.errors import DataError
from coalm.evals.multiwoz.data import Corpus, State, dialogue_id


class PredictedTurn(NamedTuple):
    """What a system answered to one user turn."""

    response: str
    state: State | None
    """None when the file gives none."""
    active: frozenset[str] | None
    """Domains that the response is about; None when the file does not say."""


Dialogues: TypeAlias = Mapping[str, Sequence[PredictedTurn]]


class Fault(NamedTuple):
    """Something that is wrong in a file."""

    kind: str
    """`unknown dialogue`, `missing dialogue`, `missing turns`, `extra turns`, `bad dialogue`,
    `bad turn`, `bad response`, `bad state` or `bad domains`."""
    where: str
    """Dialogue, and turn from 1 on."""
    effect: str
    """What was found, and how it counts."""

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.effect}"


class Predictions(NamedTuple):
    """What could be read of a file."""

    dialogues: Dialogues
    """Those of the corpus only, each with at most its number of turns."""
    faults: Sequence[Fault]


def read_predictions(path: Path, corpus: Corpus) -> Predictions:
    """Read a file (.json or .json.gz).

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object of dialogue ids, got {type(content).__name__}")
    reader = _Reader(corpus)
    dialogues = dict(reader.dialogues(content))
    reader.note_missing(dialogues)
    if not dialogues:
        raise DataError(f"{path}: no dialogue of the test list in it (first id: {_first(content)})")
    return Predictions(dialogues, reader.faults)


def read_json(path: Path) -> JsonValue:
    """The content of a JSON file, gzipped or not.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path}: cannot be read: {e}; get it again") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not JSON: {e}; was it written to the end?") from e


def _first(content: Mapping[str, JsonValue]) -> str:
    return next(iter(content), "none")


class _Reader:
    """Turns what a file holds into predictions, and notes every fault."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.faults: list[Fault] = []

    def dialogues(
        self, content: Mapping[str, JsonValue]
    ) -> Iterator[tuple[str, list[PredictedTurn]]]:
        for name, turns in content.items():
            found = dialogue_id(name)
            if found not in self._corpus.dialogues:
                self._note("unknown dialogue", name, "not in the test list; left out")
            elif not isinstance(turns, list):
                self._note("bad dialogue", name, f"{_kind(turns)} for a list of turns; left out")
            else:
                yield found, self._turns(found, turns)

    def note_missing(self, dialogues: Dialogues) -> None:
        for name in self._corpus.dialogues:
            if name not in dialogues:
                self._note("missing dialogue", name, "its turns count as wrong states")

    def _turns(self, name: str, turns: Sequence[JsonValue]) -> list[PredictedTurn]:
        wanted, given = len(self._corpus.dialogues[name].turns), len(turns)
        if given < wanted:
            self._note("missing turns", name, f"{given} of {wanted}; the rest are wrong states")
        if given > wanted:
            self._note("extra turns", name, f"{given} instead of {wanted}; the last are left out")
        return [self._turn(f"{name} turn {at}", turn) for at, turn in enumerate(turns[:wanted], 1)]

    def _turn(self, where: str, turn: JsonValue) -> PredictedTurn:
        if not isinstance(turn, dict):
            self._note("bad turn", where, f"{_kind(turn)} for an object; counts as empty")
            return PredictedTurn("", None, None)
        response = turn.get("response")
        if not isinstance(response, str):
            self._note("bad response", where, f"{_kind(response)} for a text; counts as empty")
            response = ""
        return PredictedTurn(response, self._state(where, turn), self._active(where, turn))

    def _active(self, where: str, turn: Mapping[str, JsonValue]) -> frozenset[str] | None:
        if "active_domains" not in turn:
            return None
        domains = turn["active_domains"]
        if not isinstance(domains, list):
            self._note("bad domains", where, f"{_kind(domains)} for a list; counts as none")
            return None
        return frozenset(domain for domain in domains if isinstance(domain, str))

    def _state(self, where: str, turn: Mapping[str, JsonValue]) -> State | None:
        if "state" not in turn:
            return None
        domains = turn["state"]
        if not isinstance(domains, dict):
            self._note("bad state", where, f"{_kind(domains)} for an object; counts as missing")
            return None
        state: dict[str, dict[str, str]] = {}
        for domain, slots in domains.items():
            if not isinstance(slots, dict):
                effect = f"{_kind(slots)} for the slots of {domain}; the state counts as missing"
                self._note("bad state", where, effect)
                return None
            read = {slot: self._value(where, slot, value) for slot, value in slots.items()}
            state[domain] = {slot: value for slot, value in read.items() if value is not None}
        return state

    def _value(self, where: str, slot: str, value: JsonValue) -> str | None:
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return "|".join(map(str, value))
        self._note("bad state", where, f"{_kind(value)} for the value of {slot}; left out")
        return None

    def _note(self, kind: str, where: str, effect: str) -> None:
        self.faults.append(Fault(kind, where, effect))


def _kind(value: JsonValue) -> str:
    """What a value is, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, int | float):
        return "a number"
    return (
        "a text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
    )
