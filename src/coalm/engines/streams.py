"""Jobs that come one by one, each with settings of its own, and answers while they are written.

What serves live clients asks through this. An engine that can (`TokenEngine`) lets jobs enter and
leave its running batch at any time and gives their text piece by piece; any other engine answers
the jobs that wait at the same time together, each in one piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, Protocol, runtime_checkable

from coalm.engines.answers import Answer, outcomes
from coalm.engines.base import Engine, SamplingParams
from coalm.errors import EngineError
from coalm.types import Prompt


@dataclass(eq=False)
class Job:
    """One prompt of somebody who waits for the answer."""

    prompt: Prompt
    params: SamplingParams
    abandoned: bool = False
    """Set, by any thread, when nobody waits any more; the engine then ends the job."""


class Piece(NamedTuple):
    """Text that an answer goes on with.

    The pieces of a job, joined, are the beginning of its completion's text; the rest comes with
    the completion.
    """

    place: int
    """Index of the job among those that came."""
    text: str


@runtime_checkable
class TokenEngine(Engine, Protocol):
    """An engine that gives answers piece by piece."""

    def stream(self, jobs: Iterable[Job | None]) -> Iterator[Piece | Answer]:
        """Any number of pieces and then one answer per job, those of all jobs mixed.

        `jobs` is read between two steps. None in place of a job says that there is none now; the
        engine goes on with those under way, and ends when there are none. The answer to an
        abandoned job is an error.

        Raises:
            EngineError: the engine cannot answer anything (it is closed, ...).
        """
        ...


def stream(engine: Engine, jobs: Iterable[Job | None]) -> Iterator[Piece | Answer]:
    """Answers to jobs as they come; see `TokenEngine.stream`."""
    if isinstance(engine, TokenEngine):
        yield from engine.stream(jobs)
        return
    coming, start = iter(jobs), 0
    while waiting := [job for job in takewhile(_is_job, coming) if job]:
        for params in dict.fromkeys(job.params for job in waiting):
            places = [at for at, job in enumerate(waiting) if job.params == params]
            prompts = [waiting[at].prompt for at in places]
            for at, outcome in zip(places, outcomes(engine, prompts, params), strict=True):
                yield Answer(start + at, outcome)
        start += len(waiting)


def _is_job(job: Job | None) -> bool:
    return job is not None


def abandoned() -> EngineError:
    """What the answer to an abandoned job is."""
    return EngineError("nobody waits for this answer any more")
