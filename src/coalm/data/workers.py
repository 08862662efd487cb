"""Several processes that work for one build; with one worker, none but our own.

Results come in the order of the tasks, however many processes there are.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Generic, TypeVar

from coalm.errors import DataError

_Held = TypeVar("_Held")
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_held: Any = None
"""In a worker process: the object that its tasks work with."""


def cores() -> int:
    """How many processes this one may keep busy."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers(Generic[_Held]):
    """Processes with an object each, made from the same arguments; use as a context manager."""

    def __init__(self, count: int, make: Callable[..., _Held], *arguments: object) -> None:
        """Start `count` processes; with 1, everything runs in this one.

        Args:
            count: number of processes.
            make: makes the object; it, the arguments, tasks and results go through pickle.
            arguments: what `make` is called with.
        """
        self._own = make(*arguments) if count == 1 else None
        self._ahead = 2 * count
        self._pool: ProcessPoolExecutor | None = None
        if count > 1:
            # not fork: threads of a progress display may hold locks, and forked workers keep each
            # other's pipes open, so that none of them would notice that their parent is gone
            self._pool = ProcessPoolExecutor(
                count, multiprocessing.get_context("spawn"), _begin, (make, arguments)
            )

    def each(
        self, work: Callable[[_Held, _Task], _Result], tasks: Iterable[_Task]
    ) -> Iterator[_Result]:
        """`work(object, task)` for every task; the results in the order of the tasks.

        Tasks are taken a few ahead of the results, never all at once.

        Raises:
            DataError: a process was ended from outside; and whatever `work` raises.
        """
        if self._own is not None:
            for task in tasks:
                yield work(self._own, task)
            return
        assert self._pool is not None
        waiting: deque[Future[_Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(_call, work, task))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as e:
            raise DataError(
                "a process of the build was ended from outside, perhaps for want of memory; "
                "give the command again, with workers=1 if need be"
            ) from e

    def __enter__(self) -> Workers[_Held]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _begin(make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Runs first in every worker process."""
    global _held
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _held = make(*arguments)


def _end_with_parent() -> None:
    """A killed build must not go on writing behind the back of the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _call(work: Callable[[Any, _Task], _Result], task: _Task) -> _Result:
    return work(_held, task)
