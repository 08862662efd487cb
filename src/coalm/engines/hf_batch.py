"""Continuous batching: prompts enter a running batch as others leave it, step by step.

Every step is one forward pass over the next token of all answers under way and, up to a limit, over
tokens of prompts that have just come in. A prompt starts behind what the pool has of it, so among
those that wait the one that shares most goes first: a dialogue goes on before its strip is dropped.
Greedy answers do not depend on the batch but for rounding. Sampled answers neither: every prompt
draws from random numbers of its own, which follow from the seed and the prompt's ids.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.engines.hf_attention import forward
from coalm.engines.hf_cache import Strip
from coalm.engines.hf_guide import Guide
from coalm.engines.hf_model import LoadedModel
from coalm.engines.hf_pool import StripPool, shared_length
from coalm.engines.hf_sampling import choose
from coalm.engines.local import Asked
from coalm.engines.stops import find_stop
from coalm.engines.streams import Job, Piece, abandoned
from coalm.engines.token_text import GrowingText, decode
from coalm.errors import EngineError

_LOOKAHEAD = 32
"""Waiting prompts among which the next one is chosen."""
_STEP_TOKENS = 512
"""New tokens in one forward pass at most; more are no faster, not on a GPU either."""


@dataclass(eq=False)
class Request:
    """One prompt on its way through the model."""

    place: int
    """Its index among those asked."""
    ids: list[int]
    """The prompt, then the answer so far."""
    prompt_length: int
    end: int
    """Length at which the limit of new tokens or the context is reached."""
    numbers: random.Random
    """Where its samples come from."""
    job: Job
    guide: Guide | None = None
    """What the answer has to follow."""
    strip: Strip | None = None
    """Its keys and values while it runs."""
    text: GrowingText | None = None
    """What there is to read so far, where somebody does."""

    @property
    def missing(self) -> list[int]:
        """Tokens that have to be computed before the next one can be chosen."""
        return self.ids[len(self.strip.ids) :] if self.strip else self.ids

    @property
    def params(self) -> SamplingParams:
        """How to choose its tokens."""
        return self.job.params


class Batch:
    """Requests that run together, and those that wait."""

    def __init__(self, loaded: LoadedModel, pool: StripPool, batch_size: int) -> None:
        self._loaded = loaded
        self._pool = pool
        self._batch_size = batch_size
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    @property
    def has_room(self) -> bool:
        """See `Batch` of `coalm.engines.local`, as for the other methods."""
        return len(self) < self._batch_size + _LOOKAHEAD

    def add(self, asked: Asked) -> None:
        """Let a job wait for its turn."""
        self._waiting.append(_request(self._loaded, asked))

    def step(self) -> Iterator[Piece | Answer]:
        """One forward pass; what can be read after it, and the answers that are complete."""
        yield from self._drop_abandoned()
        self._admit()
        new = self._next_tokens()
        ready = [at for at, (request, ids) in enumerate(new) if len(ids) == len(request.missing)]
        try:
            scores = forward(
                self._loaded.model,
                [request.strip for request, _ in new if request.strip],
                [ids for _, ids in new],
                ready,
            )
        except torch.OutOfMemoryError as e:
            yield from self._shrink(e)
            return
        chosen = [new[at][0] for at in ready]
        if any(request.guide for request in chosen):
            rows = zip(scores, chosen, strict=True)
            scores = torch.stack([_guided(row, request) for row, request in rows])
        for request, token in zip(chosen, _choose(scores, chosen), strict=True):
            outcome = self._go_on(request, token)
            if outcome:
                self._leave(request)
                yield Answer(request.place, outcome)
            elif request.text and (said := request.text.grown(request.ids)):
                yield Piece(request.place, said)

    def close(self) -> None:
        """Drop all requests; what they have computed stays in the pool."""
        self._waiting.clear()
        for request in [*self._running]:
            self._leave(request)

    def _drop_abandoned(self) -> Iterator[Answer]:
        for request in [*self._running, *self._waiting]:
            if request.job.abandoned:
                if request.strip:
                    self._leave(request)
                else:
                    self._waiting.remove(request)
                yield Answer(request.place, abandoned())

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._batch_size:
            waiting = islice(self._waiting, _LOOKAHEAD)
            shared, request = max(
                ((self._pool.shared(request.ids), request) for request in waiting),
                key=lambda pair: pair[0],
            )
            if self._shared_soon(request) > shared:
                return
            request.strip = self._pool.start(request.ids)
            if request.strip is None:
                return
            self._waiting.remove(request)
            self._running.append(request)

    def _shared_soon(self, request: Request) -> int:
        """Tokens of a request that others will have computed when their own prompt is done."""
        lengths = [
            shared_length(other.ids, request.ids)
            for other in self._running
            if len(other.missing) > len(other.ids) - other.prompt_length
        ]
        return min(max(lengths, default=0), len(request.ids) - 1)

    def _next_tokens(self) -> list[tuple[Request, list[int]]]:
        """What the next step computes, in the order of arrival; the strips have room for it."""
        left = _STEP_TOKENS
        found: list[tuple[Request, list[int]]] = []
        for request in [*self._running]:
            while request.strip and not self._pool.grow(request.strip):
                self._put_off(self._running[-1])
            ids = request.missing[: min(left, request.strip.room)] if request.strip else []
            if request.strip and ids:
                found.append((request, ids))
                left -= len(ids)
        return found

    def _put_off(self, request: Request) -> None:
        """There is no room to go on: let a request wait until others are done."""
        self._leave(request)
        self._waiting.appendleft(request)

    def _leave(self, request: Request) -> None:
        self._running.remove(request)
        if request.strip:
            self._pool.finish(request.strip)
        request.strip = None

    def _shrink(self, cause: torch.OutOfMemoryError) -> Iterator[Answer]:
        """Memory ran out: go on with half of the batch, and without what was kept for later."""
        count = len(self._running)
        if count == 1:
            request = self._running[0]
            self._leave(request)
            error = EngineError(
                f"no memory left for a prompt of {request.prompt_length} tokens with "
                f"{request.end - request.prompt_length} to answer; lower cache_tokens "
                f"(now {self._pool.limit})"
            )
            error.__cause__ = cause
            yield Answer(request.place, error)
        self._batch_size = max(1, count // 2)
        while len(self._running) > self._batch_size:
            self._put_off(self._running[-1])
        self._pool.clear()

    def _go_on(self, request: Request, token: int) -> Completion | EngineError | None:
        """Add a token, and those that have to follow it; what the answer is when it is done."""
        if (done := self._add(request, token)) or request.guide is None:
            return done
        try:
            forced = request.guide.accept(token)
        except EngineError as e:
            return e
        return next(filter(None, (self._add(request, one) for one in forced)), None)

    def _add(self, request: Request, token: int) -> Completion | None:
        request.ids.append(token)
        return self._completion(request) if self._is_done(request) else None

    def _is_done(self, request: Request) -> bool:
        if request.ids[-1] in self._loaded.stop_ids or len(request.ids) == request.end:
            return True
        stop = request.params.stop
        if not stop:
            return False
        # a token is at least a byte: a stop text that the last token completes lies within these
        window = max(len(text.encode()) for text in stop) + 1
        start = max(request.prompt_length, len(request.ids) - window)
        tail = decode(self._loaded.tokenizer, request.ids[start:])
        return find_stop(tail, stop) is not None

    def _completion(self, request: Request) -> Completion:
        ids = request.ids[request.prompt_length :]
        text = decode(self._loaded.tokenizer, ids)
        cut = find_stop(text, request.params.stop)
        ended = cut is not None or ids[-1] in self._loaded.stop_ids
        return Completion(
            text=text[:cut],
            token_ids=tuple(ids),
            finish_reason="stop" if ended else "length",
            usage=Usage(request.prompt_length, len(ids)),
        )


def _request(loaded: LoadedModel, asked: Asked) -> Request:
    ids, stop = asked.ids, asked.job.params.stop
    return Request(
        place=asked.place,
        ids=ids,
        prompt_length=len(ids),
        end=len(ids) + asked.room,
        numbers=random.Random(asked.draws),
        job=asked.job,
        guide=None if asked.grammar is None else loaded.guides.make(asked.grammar),
        text=GrowingText(loaded.tokenizer, len(ids), stop) if asked.is_read else None,
    )


def _guided(scores: Tensor, request: Request) -> Tensor:
    if request.guide is None:
        return scores
    left, room = request.end - len(request.ids), request.end - request.prompt_length
    return request.guide.masked(scores, left, room)


def _choose(scores: Tensor, requests: Sequence[Request]) -> list[int]:
    """The next token of each request; requests that draw alike are drawn for together."""
    alike: dict[tuple[float, float], list[int]] = {}
    for at, request in enumerate(requests):
        alike.setdefault((request.params.temperature, request.params.top_p), []).append(at)
    tokens = [0] * len(requests)
    for rows in alike.values():
        own = scores if len(alike) == 1 else scores[rows]
        numbers = [requests[at].numbers for at in rows]
        for at, token in zip(rows, choose(own, requests[rows[0]].params, numbers), strict=True):
            tokens[at] = token
    return tokens
