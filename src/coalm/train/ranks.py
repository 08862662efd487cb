"""The processes that train together: `torchrun --nproc-per-node N -m coalm train -c FILE`.

Every process runs the whole program and computes its share of each step. They meet in a few calls,
which all of them must reach in the same order; the first writes and prints for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor

from coalm.errors import CoalmError, TrainError

_FAILED = "coalm/failed"
"""Key in the store that all processes see: how many have failed."""
T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes of a training as one of them sees them; by default it is the only one."""

    index: int = 0
    """Number of this process."""
    count: int = 1
    """How many there are."""
    launched: bool = False
    """Whether a launcher (torchrun, accelerate) started them; it may have started just one."""
    local: int = 0
    """Number of this process on its machine, which is also that of its GPU."""
    per_machine: int = 1
    """Processes on each machine."""

    @property
    def main(self) -> bool:
        """Whether this process writes and prints."""
        return self.index == 0

    def gather(self, value: T) -> list[T]:
        """The `value` of every process, in the order of their numbers."""
        if self.count == 1:
            return [value]
        values: list[T | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return cast("list[T]", values)

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        return any(self.gather(wish))

    def on_main(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, which alone does it.

        Raises:
            CoalmError: it failed there; all processes raise.
        """
        result: T | None = None
        error: CoalmError | None = None
        if self.main:
            try:
                result = work()
            except CoalmError as e:
                error = e
        if self.count > 1:
            box = [result, str(error) if error else None]
            dist.broadcast_object_list(box)
            result, message = box
            error = error or (TrainError(str(message)) if message else None)
        if error:
            raise error
        return cast("T", result)

    def in_turn(self, work: Callable[[], T]) -> T:
        """`work` done by one process of each machine at a time."""
        for _ in range(self.local):
            self.gather(None)
        result = work()
        for _ in range(self.local, self.per_machine):
            self.gather(None)
        return result

    def share(self, passes: Sequence[list[int]]) -> list[tuple[list[int], bool]]:
        """The passes of this process, and whether each counts.

        All processes get equally many, since sharded layers are put together by all of them at the
        same time. Where one is missing or empty, the first is computed again and not counted.
        """
        rounds = -(-len(passes) // self.count)
        mine = [*passes[self.index :: self.count], []][:rounds]
        return [(one or passes[0], bool(one)) for one in mine]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every process's gradients their sum; sharded ones were summed on the way."""
        if self.count == 1:
            return
        whole = [p.grad for p in parameters if p.grad is not None]
        tasks = [
            dist.all_reduce(gradient, async_op=True)
            for gradient in whole
            if not isinstance(gradient, DTensor)
        ]
        for task in tasks:
            if task is not None:
                task.wait()


ALONE = Ranks()
"""A training in one process."""


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that a launcher started, ready to meet; without a launcher this one alone.

    One of several processes that fail raises its error; the others end without a word.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        yield ALONE
        return
    store, index, count = next(rendezvous("env://"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=index, world_size=count)
    try:
        yield Ranks(index, count, True, local, per_machine)
    except CoalmError:
        if store.add(_FAILED, 1) > 1:
            raise SystemExit(1) from None
        raise
    except RuntimeError:
        # A process that ended takes its connections along; the others learn of it like this.
        if store.add(_FAILED, 0):
            raise SystemExit(1) from None
        raise
    dist.destroy_process_group()


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece; all processes that hold pieces of it must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
