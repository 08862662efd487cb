"""Whatever is wrong with a row of any source: one line that names it, and the rest is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coalm.data import DataConfig, Source, load_sources
from coalm.types import Conversation

FIXTURES = Path(__file__).parents[1] / "fixtures"


class Case(NamedTuple):
    """A file of a source whose rows are damaged."""

    source: str
    folder: str
    file: str
    key: str | None = None
    """Where the list of rows stands in the file; None when the file is the list."""

    @property
    def lines(self) -> bool:
        return self.file.endswith(".jsonl")


SNIPS = "2017-06-custom-intent-engines/PlaySong/train_PlaySong_full.json"
CASES = [
    Case("snips", "snips", SNIPS, key="PlaySong"),
    Case("sgd", "sgd", "train/dialogues_002.json"),
    Case("sgd_calls", "sgd", "train/dialogues_002.json"),
    Case("sgd_requests", "sgd", "train/dialogues_002.json"),
    Case("hammer", "xlam", "xlam_function_calling_60k.json"),
    Case("hammer", "xlam", "xlam-7.5k-irrelevancek.json"),
    Case("toolace", "toolace", "data.json"),
    Case("sealtools", "sealtools", "dev.jsonl"),
    Case("sealtools", "sealtools", "tool.jsonl"),
    Case("toolalpaca", "toolalpaca", "data/train_data.json"),
    Case("toolalpaca", "toolalpaca", "data/eval_simulated.json"),
]
IDS = [f"{case.source}-{Path(case.file).name}" for case in CASES]


def rows_of(path: Path, case: Case) -> list[Any]:
    if case.lines:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    # a file of SNIPS has split surrogates
    data = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    return data[case.key] if case.key else data


def as_file(rows: list[Any], case: Case) -> bytes:
    if case.lines:
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    return json.dumps({case.key: rows} if case.key else rows, indent=1).encode()


def with_row(row: object) -> Callable[[list[Any], Case], bytes]:
    """A good file but for one more row."""
    return lambda rows, case: as_file([*rows, row], case)


def wrong_encoding(rows: list[Any], case: Case) -> bytes:
    return as_file([*rows, "caf#"], case).replace(b"caf#", b"caf\xe9", 1)


def truncated(rows: list[Any], case: Case) -> bytes:
    whole = as_file([*rows, {"cut": ["here"]}], case)
    return whole[: whole.rindex(b"here")]


DAMAGES = {
    "wrong type": (with_row(3), "not a"),
    "wrong types inside": (with_row({"data": 3, "turns": 3, "id": [], "query": 3}), "not a"),
    "missing keys": (with_row({}), "not a"),
    "wrong encoding": (wrong_encoding, "not UTF-8"),
    "truncated": (truncated, "not JSON"),
}


def read(case: Case, root: Path) -> tuple[Source, list[Conversation]]:
    settings: dict[str, Any] = {"path": root}
    if case.source == "toolalpaca":
        settings["parts"] = ["train", "eval_simulated"]
    if case.source == "sealtools":
        settings["parts"] = ["dev"]
    config = DataConfig.model_validate(
        {"output_dir": root / "out", "sources": [case.source], case.source: settings}
    )
    (source,) = load_sources(config)
    return source, list(source.conversations())


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_bad_row_is_one_line_and_everything_else_is_built(
    tmp_path: Path, case: Case, damage: str
) -> None:
    root = Path(shutil.copytree(FIXTURES / case.folder, tmp_path / case.folder))
    sound, samples = read(case, root)
    damaged, reason = DAMAGES[damage]
    rows = rows_of(root / case.file, case)
    (root / case.file).write_bytes(damaged(rows, case))
    source, found = read(case, root)
    (new,) = [r for r in source.ledger.rejected if r not in sound.ledger.rejected]
    number = len(rows) + 1
    place = (f":{number}", f": row {number}", f": dialogue number {number}")
    assert new.where in [case.file + at for at in place]
    assert new.reason.startswith(reason)
    assert new.detail
    assert source.ledger.reasons()[new.reason] == 1 + sound.ledger.reasons().get(new.reason, 0)
    assert found == samples


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_empty_file_is_one_line_and_other_files_are_read(tmp_path: Path, case: Case) -> None:
    root = Path(shutil.copytree(FIXTURES / case.folder, tmp_path / case.folder))
    (root / case.file).write_bytes(b"")
    if case.file == "tool.jsonl":
        pytest.skip("without a single function nothing can be built; tested with the source")
    source, _ = read(case, root)
    assert [r for r in source.ledger.rejected if r.where.startswith(case.file)] == [
        (case.file, "empty file", "")
    ]
