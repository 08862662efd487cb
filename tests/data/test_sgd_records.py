from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coalm.data.base import Ledger
from coalm.data.files import Copy
from coalm.data.sgd_records import Dialogue, SgdFiles
from coalm.errors import DataError

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"
SHARD = "train/dialogues_001.json"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "sgd")
    return tmp_path / "sgd"


def read(root: Path) -> tuple[Ledger, list[Dialogue]]:
    ledger = Ledger()
    return ledger, list(SgdFiles(Copy(root), "train", ledger).dialogues())


def test_good_files_are_read_whole() -> None:
    ledger, dialogues = read(FIXTURE)
    assert not ledger.rejected
    assert dict(ledger.counts) == {"shards": 3, "dialogues": 8}
    assert dialogues[0].turns[3].frames[0].service_call is not None


def test_a_missing_shard_is_named() -> None:
    assert read(FIXTURE)[0].missing == ["train/dialogues_003.json"]


def change(data: list[Any], what: Callable[[dict[str, Any]], object]) -> list[Any]:
    what(data[0])
    return data


@pytest.mark.parametrize(
    ("damage", "reason", "detail"),
    [
        (
            lambda d: d["turns"].pop(),
            "broken dialogue",
            "the turns do not alternate between USER and SYSTEM",
        ),
        (
            lambda d: d["turns"].clear(),
            "broken dialogue",
            "the turns do not alternate between USER and SYSTEM",
        ),
        (
            lambda d: d["services"].append("Moon_1"),
            "broken dialogue",
            "service 'Moon_1' is not in train/schema.json",
        ),
        (
            lambda d: d["turns"][1]["frames"].append(d["turns"][1]["frames"][0]),
            "broken dialogue",
            "turn 1: 2 frames on a system turn instead of one",
        ),
        (
            lambda d: d["turns"][1]["frames"][0].update(service="Trips_1"),
            "broken dialogue",
            "turn 1: service 'Trips_1' is not one of the dialogue",
        ),
        (
            lambda d: d["turns"][3]["frames"][0]["service_call"].update(method="EatTable"),
            "broken dialogue",
            "turn 3: method 'EatTable' is not in the schema of Tables_1",
        ),
        (
            lambda d: d["turns"][3]["frames"][0].pop("service_results"),
            "broken dialogue",
            "turn 3: a service_call without service_results",
        ),
        (lambda d: d.pop("services"), "not a dialogue", "services: Field required"),
        (
            lambda d: d["turns"][0].update(utterance=["Hi"]),
            "not a dialogue",
            "turns.0.utterance: Input should be a valid string",
        ),
        (
            lambda d: d["turns"][3]["frames"][0]["service_call"]["parameters"].update(guests=2),
            "not a dialogue",
            "turns.3.frames.0.service_call.parameters.guests: Input should be a valid string",
        ),
        (
            lambda d: d["turns"][0].update(speaker="ROBOT"),
            "not a dialogue",
            "turns.0.speaker: Input should be 'USER' or 'SYSTEM'",
        ),
    ],
)
def test_a_bad_dialogue_is_named_and_the_rest_is_read(
    copy: Path, damage: Callable[[dict[str, Any]], object], reason: str, detail: str
) -> None:
    data = json.loads((copy / SHARD).read_text())
    (copy / SHARD).write_text(json.dumps(change(data, damage)))
    ledger, dialogues = read(copy)
    assert ledger.rejected == [(f"{SHARD}: dialogue 1_00000", reason, detail)]
    assert len(dialogues) == 7


def test_a_dialogue_without_an_id_is_named_by_its_number(copy: Path) -> None:
    data = json.loads((copy / SHARD).read_text())
    (copy / SHARD).write_text(json.dumps([*data, 17]))
    ledger, _ = read(copy)
    assert ledger.rejected[0][:2] == (f"{SHARD}: dialogue number 3", "not a dialogue")


def test_a_dialogue_that_comes_twice_is_read_once(copy: Path) -> None:
    (copy / "train" / "dialogues_003.json").write_bytes((copy / SHARD).read_bytes())
    ledger, dialogues = read(copy)
    assert [r.detail for r in ledger.rejected] == ["an earlier dialogue has the same id"] * 2
    assert len(dialogues) == 8


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b'[{"dialogue_id": "1_0", "turns": [', ": row 1", "not JSON"),
        (b'["\xe9"]', ": row 1", "not UTF-8"),
        (b"", "", "empty file"),
        (b'{"dialogues": []}', "", "not a list of rows"),
    ],
)
def test_a_bad_shard_is_named_and_the_others_are_read(
    copy: Path, data: bytes, place: str, reason: str
) -> None:
    (copy / SHARD).write_bytes(data)
    ledger, dialogues = read(copy)
    assert [(r.where, r.reason) for r in ledger.rejected] == [(SHARD + place, reason)]
    assert len(dialogues) == 6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[", r"train/schema\.json not JSON"),
        (b"", r"train/schema\.json empty file"),
        (b'[{"service_name": "A_1"}]', r"train/schema\.json: 0\.description: Field required"),
    ],
)
def test_without_a_schema_nothing_can_be_read(copy: Path, data: bytes, message: str) -> None:
    (copy / "train" / "schema.json").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read(copy)


def test_a_part_that_is_not_there_is_named(copy: Path) -> None:
    with pytest.raises(DataError, match=r"no file such as dev/schema\.json here"):
        SgdFiles(Copy(copy), "dev", Ledger())
