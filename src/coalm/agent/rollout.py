"""Rollouts: dialogue logic without a model in it, and the two ways to run it.

A rollout is a generator. It yields a prompt, is sent the completion, and returns the conversation
that came out. It never sees an engine, so the same logic runs alone in a chat and by the hundred in
an evaluation::

    def ask_twice(conversation: Conversation, fmt: PromptFormat) -> Rollout:
        for _ in range(2):
            completion = yield fmt.render(conversation)
            conversation = conversation.extended(fmt.parse(completion.text))
        return conversation

`run_many` keeps many rollouts going at once and lets new ones in as others finish: an engine that
answers prompts in any order is never short of them, one that takes batches gets full ones, and a
long dialogue holds nobody up.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from coalm.engines.answers import StreamingEngine, answers, outcomes
from coalm.engines.base import Completion, Engine, SamplingParams, Usage
from coalm.errors import CoalmError, EngineError
from coalm.types import Conversation, Prompt

Rollout: TypeAlias = Generator[Prompt, Completion, Conversation]
"""Yields a prompt, is sent its completion, returns the conversation.

When the engine cannot answer, its `EngineError` is raised at the `yield`: a rollout may end in a
state of its own there, or let it pass.
"""


_NOTHING = Usage(prompt_tokens=0, completion_tokens=0)


class Finished(NamedTuple):
    """How one rollout of `run_many` ended: with a conversation or with an error, never both."""

    id: str
    conversation: Conversation | None
    error: CoalmError | None
    seconds: float
    """Wall time from the first step to the last, waiting for its batch neighbours included."""
    usage: Usage
    """Tokens of all its completions together, those before an error included."""


def run_one(rollout: Rollout, engine: Engine, params: SamplingParams) -> Conversation:
    """Run a rollout to its end, one prompt per engine call.

    Raises:
        CoalmError: whatever the engine or the rollout raised; the rollout is closed then.
    """
    answer: Completion | EngineError | None = None
    try:
        while True:
            prompt = _resume(rollout, answer)
            (answer,) = outcomes(engine, [prompt], params)
    except StopIteration as stop:
        return stop.value
    finally:
        rollout.close()


def run_many(
    rollouts: Iterable[tuple[str, Rollout]],
    engine: Engine,
    params: SamplingParams,
    batch_size: int,
) -> Iterator[Finished]:
    """Run (id, rollout) pairs in full batches; yields each one as soon as it has finished.

    Only `batch_size` rollouts are alive at a time, twice as many with an engine that takes prompts
    in any order and so finds those among them that go well together; `rollouts` is read as places
    get free, so it may be long or lazy. An `EngineError` stays with the prompt at fault: an engine
    that takes batches is then asked prompt by prompt. A `CoalmError` inside a rollout ends that
    rollout only. Any other exception is a defect and passes through; who wants to go on even then
    (the evaluation runner) wraps each rollout and raises a `CoalmError` in its place.

    Whatever ends the run early (Ctrl-C, a defect, a caller that stops reading), every rollout that
    finished before was yielded and every live one is closed.

    Raises:
        ValueError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return _run(iter(rollouts), engine, params, batch_size)


def _run(
    waiting: Iterator[tuple[str, Rollout]],
    engine: Engine,
    params: SamplingParams,
    batch_size: int,
) -> Iterator[Finished]:
    choice = 2 if isinstance(engine, StreamingEngine) else 1
    crowd = _Crowd(waiting, choice * batch_size)
    try:
        with closing(answers(engine, crowd.prompts(), params, batch_size)) as coming:
            for place, answer in coming:
                crowd.step(place, answer)
                yield from crowd.finished()
        yield from crowd.finished()
    finally:
        crowd.close()


def _resume(rollout: Rollout, answer: Completion | EngineError | None) -> Prompt:
    if answer is None:
        return next(rollout)
    if isinstance(answer, EngineError):
        return rollout.throw(answer)
    return rollout.send(answer)


@dataclass(eq=False)
class _Live:
    """A rollout that is running: its open prompt and what it cost so far."""

    id: str
    rollout: Rollout
    prompt: Prompt = ()
    usage: Usage = _NOTHING
    started: float = field(default_factory=time.monotonic)

    def start(self) -> Finished | None:
        """Go to the first prompt; the result if there is none."""
        return self._advance(None)

    def step(self, answer: Completion | EngineError) -> Finished | None:
        """Send the answer, go to the next prompt; the result if there is none."""
        if isinstance(answer, Completion):
            self.usage = Usage(*map(sum, zip(self.usage, answer.usage, strict=True)))
        return self._advance(answer)

    def _advance(self, answer: Completion | EngineError | None) -> Finished | None:
        try:
            self.prompt = _resume(self.rollout, answer)
        except StopIteration as stop:
            return self._finished(stop.value, None)
        except CoalmError as error:
            return self._finished(None, error)
        return None

    def _finished(self, conversation: Conversation | None, error: CoalmError | None) -> Finished:
        seconds = time.monotonic() - self.started
        return Finished(self.id, conversation, error, seconds, self.usage)


class _Crowd:
    """The rollouts that are alive: those with a prompt to ask, and those that wait for answers."""

    def __init__(self, waiting: Iterator[tuple[str, Rollout]], most: int) -> None:
        self._waiting = waiting
        self._most = most
        self._ready: deque[_Live] = deque()
        self._asked: dict[int, _Live] = {}
        self._finished: list[Finished] = []

    def prompts(self) -> Iterator[Prompt | None]:
        """What to ask next; None while that depends on an answer to come."""
        places = itertools.count()
        while True:
            self._let_in()
            if self._ready:
                run = self._ready.popleft()
                self._asked[next(places)] = run
                yield run.prompt
            elif self._asked:
                yield None
            else:
                return

    def step(self, place: int, answer: Completion | EngineError) -> None:
        """Send its answer to the rollout whose prompt came at `place`."""
        run = self._asked.pop(place)
        self._ready.append(run)
        self._note(run, run.step(answer))

    def finished(self) -> Iterator[Finished]:
        """What has finished since the last time."""
        while self._finished:
            yield self._finished.pop(0)

    def close(self) -> None:
        """Close the rollouts that are alive."""
        for run in (*self._ready, *self._asked.values()):
            run.rollout.close()

    def _let_in(self) -> None:
        while len(self._ready) + len(self._asked) < self._most:
            entry = next(self._waiting, None)
            if entry is None:
                return
            self._ready.append(run := _Live(*entry))
            self._note(run, run.start())

    def _note(self, run: _Live, finished: Finished | None) -> None:
        if finished:
            self._ready.remove(run)
            self._finished.append(finished)
