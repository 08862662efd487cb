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


@dataclass(eq=False)
class Ticket:
    """One prompt on its way, and whom to tell of its answer."""

    job: Job
    tell: Callable[[Event], None]


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

    async def ask(self, prompt: Prompt, params: SamplingParams) -> AsyncGenerator[str | Completion]:
        """The answer: pieces of its text, then the completion, which has all of it once more.

        The place is given away when the iterator is closed or its task cancelled.

        Raises:
            BusyError: the queue is full; nothing has been asked.
            ClosedError: the engine has stopped.
            EngineError: the engine cannot answer this prompt.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        ticket = self._hand_in(Job(prompt, params), tell)
        try:
            while True:
                event = await events.get()
                if isinstance(event, EngineError):
                    raise event
                yield event
                if isinstance(event, Completion):
                    return
        finally:
            self._leave(ticket)

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
        try:
            while not (self._closing and not self._waiting):
                self._answer_all()
        finally:
            # reached by a defect of the engine, too: whoever waits has to be told
            self._closing = True
            self._fail(ClosedError("the engine has failed; the server has to be started anew"))

    def _answer_all(self) -> None:
        try:
            for event in stream(self._engine, self._jobs()):
                ticket = self._live[event.place]
                if isinstance(event, Answer):
                    del self._live[event.place]
                    ticket.tell(event.outcome)
                else:
                    ticket.tell(event.text)
        except EngineError as e:
            self._fail(e)

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
        with self._changed:
            failed = [*self._live.values(), *(self._waiting if self._closing else ())]
            self._live.clear()
            if self._closing:
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
