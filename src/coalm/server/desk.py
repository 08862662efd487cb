"""The one thread that the engine runs in, and the queue in front of it.

Everybody who wants an answer hands in a prompt at the desk and gets a ticket. The thread passes
waiting tickets on to the engine as places get free, and what the engine says back to each ticket.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from coalm.engines.answers import Answer
from coalm.engines.base import Completion, Engine, SamplingParams
from coalm.engines.streams import Job, stream
from coalm.errors import EngineError
from coalm.types import Prompt

Event: TypeAlias = str | Completion | EngineError
"""What a ticket is told: pieces of text, and at the end how it went."""


class BusyError(EngineError):
    """The queue is full."""


class ClosedError(EngineError):
    """The engine has stopped, or is about to."""


class LateError(EngineError):
    """There is no time left for the answer."""


@dataclass(eq=False)
class Ticket:
    """One prompt on its way, and whom to tell of its answer."""

    job: Job
    tell: Callable[[Event], None]


class _Post:
    """What the engine's thread tells the coroutines of an event loop.

    An engine tells of all its answers at once; to wake up the loop takes longer than to tell.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._letters: list[tuple[asyncio.Queue[Event], Event]] = []
        self._lock = threading.Lock()

    def send(self, to: asyncio.Queue[Event], event: Event) -> None:
        """From any thread."""
        with self._lock:
            is_first = not self._letters
            self._letters.append((to, event))
        if is_first:
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            letters, self._letters = self._letters, []
        for to, event in letters:
            to.put_nowait(event)


class Desk:
    """An engine that many ask at the same time, from coroutines and threads."""

    def __init__(self, engine: Engine, *, places: int, queue_length: int) -> None:
        """Start the thread.

        Args:
            engine: Used by the desk alone from now on; closed by whoever made it.
            places: Answers under way at once at most.
            queue_length: Prompts that wait for a place at most.
        """
        self._engine = engine
        self._places = places
        self._queue_length = queue_length
        self._waiting: deque[Ticket] = deque()
        self._live: dict[int, Ticket] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._post: _Post | None = None
        self._thread = threading.Thread(target=self._work, name="coalm-engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Answers under way."""
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Prompts without a place."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether prompts are answered."""
        return self._thread.is_alive() and not self._closing

    async def ask(
        self, prompt: Prompt, params: SamplingParams, seconds: float
    ) -> AsyncGenerator[str | Completion]:
        """The answer: pieces of its text, then the completion, which has all of it once more.

        The place is given away when the iterator is closed or its task cancelled.

        Args:
            prompt: Of the engine.
            params: For this answer.
            seconds: Until the answer has to be there.

        Raises:
            BusyError: the queue is full; nothing has been asked.
            ClosedError: the engine has stopped.
            LateError: time is up.
            EngineError: the engine cannot answer this prompt.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        post = self._post_for(asyncio.get_running_loop())
        ticket = self._hand_in(Job(prompt, params), partial(post.send, events))
        late = LateError(f"the answer took longer than {seconds:g} s; ask for less (max_tokens)")
        timer = asyncio.get_running_loop().call_later(seconds, events.put_nowait, late)
        try:
            while True:
                event = await events.get()
                if isinstance(event, EngineError):
                    raise event
                yield event
                if isinstance(event, Completion):
                    return
        finally:
            timer.cancel()
            self._leave(ticket)

    def _post_for(self, loop: asyncio.AbstractEventLoop) -> _Post:
        if self._post is None or self._post.loop is not loop:
            self._post = _Post(loop)
        return self._post

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`; for threads, such as those of agent sessions."""
        told: list[queue.SimpleQueue[Event]] = [queue.SimpleQueue() for _ in prompts]
        tickets: list[Ticket] = []
        try:
            for prompt, events in zip(prompts, told, strict=True):
                tickets.append(self._hand_in(Job(prompt, params), events.put))
            return [_completion(events) for events in told]
        finally:
            for ticket in tickets:
                self._leave(ticket)

    def close(self) -> None:
        """Answer what has been handed in, then end the thread; a second call does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _hand_in(self, job: Job, tell: Callable[[Event], None]) -> Ticket:
        ticket = Ticket(job, tell)
        with self._changed:
            if not self.is_open:
                raise ClosedError("the server is shutting down, or its engine has failed")
            if self.running + self.waiting >= self._places + self._queue_length:
                raise BusyError(
                    f"{self.running} answers are under way and {self.waiting} prompts wait; "
                    "come back later"
                )
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def _leave(self, ticket: Ticket) -> None:
        """Give the place away; changes nothing once the answer is there."""
        with self._changed:
            ticket.job.abandoned = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)

    def _work(self) -> None:
        error: EngineError = ClosedError("the engine has failed; the server has to be started anew")
        try:
            while not (self._closing and not self._waiting):
                self._answer_all()
        except EngineError as e:
            error = e
        finally:
            # reached by a defect of the engine, too: whoever waits has to be told
            self._fail(error)

    def _answer_all(self) -> None:
        for event in stream(self._engine, self._jobs()):
            ticket = self._live[event.place]
            if isinstance(event, Answer):
                del self._live[event.place]
                ticket.tell(event.outcome)
            else:
                ticket.tell(event.text)

    def _jobs(self) -> Iterator[Job | None]:
        """The waiting jobs as there are places for them; waits when there is nothing to do."""
        for place in itertools.count():
            while (ticket := self._next()) is None:
                if not self._live:
                    return
                yield None
            self._live[place] = ticket
            yield ticket.job

    def _next(self) -> Ticket | None:
        with self._changed:
            while not (self._live or self._waiting or self._closing):
                self._changed.wait()
            free = len(self._live) < self._places
            return self._waiting.popleft() if self._waiting and free else None

    def _fail(self, error: EngineError) -> None:
        """Nothing can be answered any more."""
        with self._changed:
            self._closing = True
            failed = [*self._live.values(), *self._waiting]
            self._live.clear()
            self._waiting.clear()
        for ticket in failed:
            ticket.tell(error)


def _completion(events: queue.SimpleQueue[Event]) -> Completion:
    while True:
        event = events.get()
        if isinstance(event, EngineError):
            raise event
        if isinstance(event, Completion):
            return event
