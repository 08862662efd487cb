from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalm.data.workers import Workers, cores
from coalm.errors import DataError

AHEAD = 2 * 2 + 1


class Adder:
    """Adds what it was made with."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def add(self, task: int) -> int:
        time.sleep(0.02 * (task == 0))  # the first is the slowest
        return task + self.amount

    def process(self, _: int) -> int:
        return os.getpid()

    def meet(self, folder: Path) -> int:
        """Wait until another process is there, too."""
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(list(folder.iterdir()))

    def fail(self, task: int) -> int:
        if task == 2:
            raise DataError("task 2 is bad")
        return task

    def die(self, _: int) -> int:
        os._exit(9)


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_tasks(count: int) -> None:
    with Workers(count, Adder, 10) as workers:
        assert list(workers.each(Adder.add, range(20))) == list(range(10, 30))
        assert list(workers.each(Adder.add, [5])) == [15]


def test_one_worker_is_this_process_and_several_are_others(tmp_path: Path) -> None:
    with Workers(1, Adder, 0) as workers:
        assert set(workers.each(Adder.process, range(3))) == {os.getpid()}
    with Workers(2, Adder, 0) as workers:
        assert os.getpid() not in set(workers.each(Adder.process, range(3)))
        assert list(workers.each(Adder.meet, [tmp_path, tmp_path])) == [2, 2]


def test_tasks_are_not_taken_all_at_once() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    with Workers(2, Adder, 0) as workers:
        for done, _ in enumerate(workers.each(Adder.add, tasks()), start=1):
            assert taken <= done + AHEAD


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_arrives_as_it_was_raised(count: int) -> None:
    with Workers(count, Adder, 0) as workers, pytest.raises(DataError, match=r"^task 2 is bad$"):
        list(workers.each(Adder.fail, range(4)))


def test_a_process_that_is_ended_from_outside_is_said() -> None:
    with (
        Workers(2, Adder, 0) as workers,
        pytest.raises(DataError, match="a process of the build was ended from outside"),
    ):
        list(workers.each(Adder.die, [0]))


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
