"""Answers as they come: what writes rows while a long job goes on asks through this.

Engines that ask many prompts at once and in any order (`StreamingEngine`) answer one by one; all
others chunk by chunk. Either way a prompt at fault costs no other prompt its answer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple, Protocol, runtime_checkable

from coalm.engines.base import Completion, Engine, SamplingParams
from coalm.errors import EngineError
from coalm.types import Prompt


class Answer(NamedTuple):
    """What became of one prompt."""

    place: int
    """Index of the prompt among those asked."""
    outcome: Completion | EngineError


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine whose prompts do not wait for each other."""

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        """One answer per prompt in the order of completion; `prompts` is read as places get free.

        None in place of a prompt says that the next one depends on an answer that is still to come.

        Raises:
            EngineError: the engine cannot answer anything (it is closed, ...).
        """
        ...


def answers(
    engine: Engine, prompts: Iterable[Prompt | None], params: SamplingParams, chunk: int
) -> Generator[Answer, None, None]:
    """One answer per prompt, each as soon as the engine has it.

    Args:
        engine: any.
        prompts: may be long or lazy; for None see `StreamingEngine`.
        params: for all of them.
        chunk: prompts of one call of an engine that does not stream, at most.
    """
    if isinstance(engine, StreamingEngine):
        yield from engine.answers(prompts, params)
        return
    waiting = iter(prompts)
    start = 0
    while batch := _until_none(islice(waiting, chunk)):
        for place, outcome in enumerate(outcomes(engine, batch, params), start=start):
            yield Answer(place, outcome)
        start += len(batch)


def _until_none(prompts: Iterable[Prompt | None]) -> list[Prompt]:
    return [prompt for prompt in takewhile(_is_prompt, prompts) if prompt is not None]


def _is_prompt(prompt: Prompt | None) -> bool:
    return prompt is not None


def outcomes(
    engine: Engine, prompts: Sequence[Prompt], params: SamplingParams
) -> list[Completion | EngineError]:
    """One completion or error per prompt, in their order: an error stays with the prompt at fault.

    An engine that does not stream fails as a whole; it is then asked prompt by prompt.
    """
    if isinstance(engine, StreamingEngine):
        return [outcome for _, outcome in sorted(engine.answers(prompts, params), key=_place)]
    try:
        return [*engine.generate(prompts, params)]
    except EngineError as error:
        if len(prompts) == 1:
            return [error]
    return [outcomes(engine, [prompt], params)[0] for prompt in prompts]


def _place(answer: Answer) -> int:
    return answer.place
