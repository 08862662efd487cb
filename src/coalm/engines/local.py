"""What engines share that run a model in this process.

Prompts become token ids here. They enter a running batch as it has room for them, and leave it with
their answer; what differs between the engines is the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from coalm.chat_template import encode_prompt
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams
from coalm.engines.streams import Job, Piece
from coalm.errors import ContextError, EngineError, TemplateError
from coalm.types import GuidedPrompt, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Copies: TypeAlias = Counter[tuple[int, ...]]
"""How often each prompt was asked; copies of a prompt draw other random numbers."""


class Asked(NamedTuple):
    """One job, as a model takes it."""

    place: int
    """Its index among those asked."""
    job: Job
    ids: list[int]
    """Of its prompt."""
    room: int
    """Tokens that may be generated."""
    draws: str | None
    """What its random numbers follow from, whatever else is asked; None leaves them to chance."""
    is_read: bool
    """Whether somebody reads the answer while it is written."""

    @property
    def grammar(self) -> str | None:
        """What the answer has to follow."""
        return self.job.prompt.grammar if isinstance(self.job.prompt, GuidedPrompt) else None


class Batch(Protocol):
    """Jobs that run together, and those that wait for it."""

    @property
    def has_room(self) -> bool:
        """Whether a further job should come in."""
        ...

    def __len__(self) -> int:
        """Jobs that have no answer yet."""
        ...

    def add(self, asked: Asked) -> None:
        """Let a job in.

        Raises:
            EngineError: it cannot be answered.
        """
        ...

    def step(self) -> Iterator[Piece | Answer]:
        """Go on by a token; what can be read after it, and the answers that are complete.

        Raises:
            EngineError: nothing can be answered any more.
        """
        ...

    def close(self) -> None:
        """Drop all jobs."""
        ...


class LocalEngine(ABC):
    """An engine around a batch; it gives answers one by one, and piece by piece."""

    name: str
    max_length: int
    """Tokens of prompt and answer together."""
    _tokenizer: PreTrainedTokenizerBase

    @abstractmethod
    def _batch(self) -> Batch:
        """An empty batch.

        Raises:
            EngineError: the engine is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model; a second call does nothing."""

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in the order of `prompts`.

        Raises:
            ContextError: a prompt leaves no room in the context; nothing is generated then.
            EngineError: the chat template refuses a prompt, memory runs out, the model fails, or
                the engine is closed.
        """
        batch, copies = self._batch(), Copies()
        asked = [
            self._ask(place, Job(prompt, params), copies, f"prompt {place + 1} of {len(prompts)}")
            for place, prompt in enumerate(prompts)
        ]
        asked.sort(key=lambda one: one.ids)  # neighbours share as much as they can
        found: dict[int, Completion] = {}
        for place, outcome in _whole(_run(batch, asked)):
            if isinstance(outcome, EngineError):
                raise outcome
            found[place] = outcome
        return [found[place] for place in range(len(prompts))]

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        """See `StreamingEngine.answers`."""
        jobs = (None if prompt is None else Job(prompt, params) for prompt in prompts)
        return _whole(_run(self._batch(), self._each(jobs, Copies())))

    def stream(self, jobs: Iterable[Job | None]) -> Iterator[Piece | Answer]:
        """See `TokenEngine.stream`."""
        return _run(self._batch(), self._each(jobs))

    def _each(
        self, jobs: Iterable[Job | None], copies: Copies | None = None
    ) -> Iterator[Asked | Answer | None]:
        """The jobs, ready to be asked; those at fault as answers.

        Args:
            jobs: None among them is passed on.
            copies: Of what was asked before; None: somebody else asks each job, and reads along.
        """
        place = 0
        for job in jobs:
            if job is None:
                yield None
                continue
            try:
                yield self._ask(place, job, copies, "the prompt")
            except EngineError as e:
                yield Answer(place, e)
            place += 1

    def _ask(self, place: int, job: Job, copies: Copies | None, called: str) -> Asked:
        try:
            ids = encode_prompt(self._tokenizer, job.prompt)
        except TemplateError as e:
            raise EngineError(str(e)) from e
        room = self.max_length - len(ids)
        if room <= 0:
            raise ContextError(
                f"{called} has {len(ids)} tokens and the context of {self.name} holds "
                f"{self.max_length}; shorten it or take a larger model"
            )
        copy, seed = 0, job.params.seed
        if copies is not None:
            copy = copies[tuple(ids)]
            copies[tuple(ids)] += 1
        return Asked(
            place=place,
            job=job,
            ids=ids,
            room=min(job.params.max_new_tokens, room),
            draws=None if seed is None else f"{seed} {copy} {ids}",
            is_read=copies is None,
        )


def _run(batch: Batch, asked: Iterable[Asked | Answer | None]) -> Iterator[Piece | Answer]:
    """Answer jobs as they come; what is an answer already is passed on."""
    coming = iter(asked)
    try:
        while True:
            while batch.has_room and (one := next(coming, None)):
                if isinstance(one, Answer):
                    yield one
                    continue
                try:
                    batch.add(one)
                except EngineError as e:
                    yield Answer(one.place, e)
            if not len(batch):
                return
            yield from batch.step()
    finally:
        batch.close()


def _whole(events: Iterator[Piece | Answer]) -> Iterator[Answer]:
    return (event for event in events if isinstance(event, Answer))
