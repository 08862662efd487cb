from __future__ import annotations

import random
from pathlib import Path

import pytest

from coalm.data.spool import Spool

ROWS = {random.Random(n).getrandbits(64): [f"row {n}", "é \U0001f355"] for n in range(500)}


def test_rows_come_out_by_key_whatever_the_order_they_came_in(tmp_path: Path) -> None:
    keys = list(ROWS)
    found = []
    for number, order in enumerate((keys, keys[::-1])):
        with Spool(tmp_path / str(number)) as spool:
            for key in order:
                spool.add("train", key, ROWS[key])
            found.append(list(spool.rows("train")))
    assert found[0] == found[1] == sorted(ROWS.items())


def test_splits_come_out_apart(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.add("train", 1, ["a"])
        spool.add("validation", 2, ["b"])
        assert list(spool.rows("train")) == [(1, ["a"])]
        assert list(spool.rows("validation")) == [(2, ["b"])]


@pytest.mark.parametrize("key", [0, 2**64 - 1])
def test_the_first_and_the_last_key_have_a_place(tmp_path: Path, key: int) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.add("train", key, ["x"])
        assert list(spool.rows("train")) == [(key, ["x"])]
