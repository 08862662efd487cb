"""Rows of a long job on disk: newest row of a place, torn lines, jobs that differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from coalm.agent.journal import Journal
from coalm.errors import DataError

ABOUT = {"config": {"seed": 1, "model": {"name": "m"}}, "input": "a"}


def test_rows_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, ABOUT) as journal:
        journal.add(3, "failed", {"id": "ü"})
        journal.add(0, "done", {"id": "b"})
        journal.add(3, "done", {"id": "c"})
    with Journal(path, ABOUT) as journal:
        assert [journal.state(place) for place in (0, 1, 3)] == ["done", None, "done"]
        assert journal.row(3) == {"id": "c"}
        journal.add(1, "done", {"id": "d"})
        assert [journal.row(place)["id"] for place in (0, 1, 3)] == ["b", "d", "c"]


def test_a_torn_row_is_none(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, ABOUT) as journal:
        journal.add(0, "done", {"id": "a"})
        whole = path.stat().st_size
        journal.add(1, "done", {"id": "b"})
    for size in range(whole, path.stat().st_size - 1):
        torn = tmp_path / f"torn{size}"
        torn.write_bytes(path.read_bytes()[:size])
        with Journal(torn, ABOUT) as journal:
            assert (journal.state(0), journal.state(1)) == ("done", None)
            journal.add(1, "done", {"id": "c"})
            assert journal.row(1) == {"id": "c"}


def test_a_job_that_was_stopped_at_its_first_byte_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"con')
    with Journal(path, ABOUT) as journal:
        assert journal.state(0) is None


def test_another_job_is_refused_with_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, ABOUT).close()
    other = {"config": {"seed": 2, "model": {"name": "m"}}, "input": "a"}
    with pytest.raises(DataError) as caught:
        Journal(path, other)
    assert str(caught.value) == (
        f"{path} was begun with config.seed 1, now it is 2; go on with the former, delete the "
        "file, or take another output"
    )


@pytest.mark.parametrize("text", ["[3]\n", "nonsense\n", '{"input": "a"}\n{"place": 1}\n'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "j"
    path.write_text(text)
    with pytest.raises(DataError, match="not a journal of coalm"):
        Journal(path, {"input": "a"})
