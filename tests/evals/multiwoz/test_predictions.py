from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import DataError
from coalm.evals.multiwoz.data import Corpus
from coalm.evals.multiwoz.predictions import PredictedTurn, Predictions, read_predictions

TURN: dict[str, Any] = {
    "response": "[train_id]",
    "state": {"train": {"day": "monday", "people": 2}},
    "active_domains": ["train"],
}
Read = Callable[[Any], Predictions]


@pytest.fixture
def read(tmp_path: Path, corpus: Corpus) -> Read:
    """Reads a file with the given content."""

    def read_content(content: Any) -> Predictions:
        path = tmp_path / "predictions.json.gz"
        path.write_bytes(gzip.compress(json.dumps(content).encode()))
        return read_predictions(path, corpus)

    return read_content


def complaints(predictions: Predictions) -> list[str]:
    """All faults but those of dialogues that are not in the file at all."""
    return [str(fault) for fault in predictions.faults if fault.kind != "missing dialogue"]


def test_a_file_is_read(read: Read) -> None:
    predictions = read({"SNG0002.json": [TURN, {"response": "bye"}]})
    assert predictions.dialogues["sng0002"] == [
        PredictedTurn(
            "[train_id]", {"train": {"day": "monday", "people": "2"}}, frozenset({"train"})
        ),
        PredictedTurn("bye", None, None),
    ]
    assert complaints(predictions) == []


def test_a_plain_file_is_read_too(tmp_path: Path, corpus: Corpus) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"sng0002": [TURN, TURN]}))
    assert len(read_predictions(path, corpus).dialogues["sng0002"]) == 2


def test_missing_dialogues_are_named(read: Read) -> None:
    assert [str(fault) for fault in read({"sng0002": [TURN, TURN]}).faults] == [
        "mul0001: missing dialogue: its turns count as wrong states",
        "sng0003: missing dialogue: its turns count as wrong states",
    ]


@pytest.mark.parametrize(
    ("turns", "complaint"),
    [
        ([TURN], "sng0002: missing turns: 1 of 2; the rest are wrong states"),
        ([TURN] * 4, "sng0002: extra turns: 4 instead of 2; the last are left out"),
        ([TURN, None], "sng0002 turn 2: bad turn: nothing for an object; counts as empty"),
        ([TURN, "hi"], "sng0002 turn 2: bad turn: a text for an object; counts as empty"),
        (
            [TURN, {"state": {}}],
            "sng0002 turn 2: bad response: nothing for a text; counts as empty",
        ),
        (
            [{**TURN, "response": 5}, TURN],
            "sng0002 turn 1: bad response: a number for a text; counts as empty",
        ),
        (
            [{**TURN, "state": ["train"]}, TURN],
            "sng0002 turn 1: bad state: a list for an object; counts as missing",
        ),
        (
            [{**TURN, "state": {"train": "monday"}}, TURN],
            "sng0002 turn 1: bad state: a text for the slots of train; the state counts as missing",
        ),
        (
            [{**TURN, "state": {"train": {"day": None}}}, TURN],
            "sng0002 turn 1: bad state: nothing for the value of day; left out",
        ),
        (
            [{**TURN, "state": {"train": {"day": True}}}, TURN],
            "sng0002 turn 1: bad state: a truth value for the value of day; left out",
        ),
        (
            [{**TURN, "state": {"train": {"day": {}}}}, TURN],
            "sng0002 turn 1: bad state: an object for the value of day; left out",
        ),
        (
            [{**TURN, "active_domains": "train"}, TURN],
            "sng0002 turn 1: bad domains: a text for a list; counts as none",
        ),
    ],
)
def test_every_fault_is_one_line(read: Read, turns: list[Any], complaint: str) -> None:
    predictions = read({"sng0002": turns})
    assert complaints(predictions) == [complaint]
    assert len(predictions.dialogues["sng0002"]) <= 2


def test_a_fault_costs_its_own_place_only(read: Read) -> None:
    found = read({"nobody": [TURN], "mul0001": "text", "sng0002": [TURN, {"state": {"a": 1}}]})
    assert complaints(found) == [
        "nobody: unknown dialogue: not in the test list; left out",
        "mul0001: bad dialogue: a text for a list of turns; left out",
        "sng0002 turn 2: bad response: nothing for a text; counts as empty",
        "sng0002 turn 2: bad state: a number for the slots of a; the state counts as missing",
    ]
    assert found.dialogues["sng0002"][0].response == "[train_id]"
    assert found.dialogues["sng0002"][1] == PredictedTurn("", None, None)


def test_a_list_of_values_is_a_choice(read: Read) -> None:
    state = {"train": {"day": ["monday", "tuesday"]}}
    found = read({"sng0002": [{**TURN, "state": state}, TURN]})
    assert found.dialogues["sng0002"][0].state == {"train": {"day": "monday|tuesday"}}


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # with the time in it, two processes would name tests apart


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_packed(b"{}")[:-6], "cannot be read"),
        (_packed(b'{"sng0002": [{"respon'), "not JSON.*was it written to the end?"),
        (_packed(b"[1]"), "expected an object of dialogue ids, got list"),
        (
            _packed(b'{"train1": []}'),
            r"no dialogue of the test list .* train1\)",
        ),
        (_packed(b"{}"), r"no dialogue of the test list in it \(first id: none\)"),
        (b"plain text", "cannot be read: Not a gzipped file"),
        (None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, corpus: Corpus, content: bytes | None, message: str
) -> None:
    path = tmp_path / "predictions.json.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(path, corpus)
    assert "\n" not in str(caught.value)
