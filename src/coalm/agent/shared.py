"""One engine for sessions in several threads: prompts that wait at the same time are one batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from coalm.engines.answers import outcomes
from coalm.engines.base import Completion, Engine, SamplingParams
from coalm.errors import EngineError
from coalm.types import Prompt


@dataclass(eq=False)
class _Request:
    prompts: Sequence[Prompt]
    params: SamplingParams
    outcomes: list[Completion | EngineError] | None = None
    """None while it waits."""


class SharedEngine:
    """Passes prompts of many threads on to one engine, which one thread at a time uses.

    Whoever gets the engine asks for all who wait with the same parameters, so that many live
    conversations are answered in batches without knowing of each other.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._free = threading.Lock()
        self._waiting: list[_Request] = []

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`; an error of one thread's prompts is not the others'."""
        request = _Request(prompts, params)
        self._waiting.append(request)
        with self._free:
            if request.outcomes is None:
                self._serve([one for one in self._waiting if one.params == params])
        answers: list[Completion] = []
        for outcome in request.outcomes or []:
            if isinstance(outcome, EngineError):
                raise outcome
            answers.append(outcome)
        return answers

    def _serve(self, requests: Sequence[_Request]) -> None:
        prompts = [prompt for request in requests for prompt in request.prompts]
        try:
            found = iter(outcomes(self._engine, prompts, requests[0].params))
        except EngineError as e:
            found = iter([e] * len(prompts))
        for request in requests:
            self._waiting.remove(request)
            request.outcomes = [next(found) for _ in request.prompts]

    def close(self) -> None:
        """Close the engine behind; waits for the batch under way."""
        with self._free:
            self._engine.close()
