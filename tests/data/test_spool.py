from __future__ import annotations

import random
from pathlib import Path

import pytest

from coalm.data.base import Split
from coalm.data.spool import Spool, spooled

ROWS = {random.Random(n).getrandbits(64): [f"row {n}", "é \U0001f355"] for n in range(500)}


def rows(folder: Path, split: Split) -> list[tuple[int, list[str]]]:
    return [
        (key, [field.decode() for field in fields])
        for bucket in spooled(folder, split)
        for key, fields in bucket
    ]


def test_rows_come_out_by_key_whatever_the_order_they_came_in(tmp_path: Path) -> None:
    keys = list(ROWS)
    for number, order in enumerate((keys, keys[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        for half in (order[:200], order[200:]):  # a file is opened again and goes on
            with Spool(folder) as spool:
                for key in half:
                    spool.add("train", key, ROWS[key])
        assert rows(folder, "train") == sorted(ROWS.items())


def test_files_of_several_processes_are_one_spool(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for key in ROWS:
            spool.add("train", key, ROWS[key])
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        if number % 2:
            first, *others = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(first)
            path.with_suffix(".1").write_bytes(b"".join(others))
    assert rows(tmp_path, "train") == sorted(ROWS.items())


def test_splits_come_out_apart(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add("train", 1, ["a"])
        spool.add("validation", 2, ["b"])
    assert rows(tmp_path, "train") == [(1, ["a"])]
    assert rows(tmp_path, "validation") == [(2, ["b"])]


@pytest.mark.parametrize("key", [0, 2**64 - 1])
def test_the_first_and_the_last_key_have_a_place(tmp_path: Path, key: int) -> None:
    with Spool(tmp_path) as spool:
        spool.add("train", key, ["x"])
    assert rows(tmp_path, "train") == [(key, ["x"])]
