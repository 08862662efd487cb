"""An engine without a model: it says what it was told to say. For tests, examples and dry runs."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path

from coalm import jsonl
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.engines.config import InferConfig
from coalm.engines.stops import find_stop
from coalm.engines.streams import Job, Piece, abandoned
from coalm.errors import EngineError
from coalm.types import Prompt

_TICK = 0.002
"""Seconds after which `stream` looks for new jobs at the latest."""
_WORD = re.compile(r"\s*\S+")


class ScriptedEngine:
    """Answers from a list, in order, or from a function of the prompt.

    Stop texts and `max_new_tokens` work as with a model; a word counts as a token, and there are no
    token ids.
    """

    def __init__(
        self, replies: Iterable[str] | Callable[[Prompt], str], *, delay: float = 0.0
    ) -> None:
        """An engine with nothing said yet.

        Args:
            replies: In order, or what to say to a prompt.
            delay: Seconds that a word takes in `stream`.
        """
        self._delay = delay
        if callable(replies):
            self._answer = replies
        else:
            self._answer = _Script(iter(replies))
        self._closed = False
        self.prompts: list[Prompt] = []
        """Every prompt asked so far, in order."""

    @classmethod
    def from_config(cls, config: InferConfig) -> ScriptedEngine:
        """Replies from the JSON-lines file that `model.model_name` names: `{"text": ...}` a row.

        Raises:
            DataError: the file cannot be read.
            EngineError: a row has no text.
        """
        return cls(_read_replies(Path(config.model.model_name)))

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """The next replies, one per prompt.

        Raises:
            EngineError: there is no reply left, or the engine is closed.
        """
        if self._closed:
            raise EngineError("this scripted engine is closed; make a new one")
        completions: list[Completion] = []
        for prompt in prompts:
            self.prompts.append(prompt)
            completions.append(_completion(prompt, self._answer(prompt), params))
        return completions

    def stream(self, jobs: Iterable[Job | None]) -> Iterator[Piece | Answer]:
        """See `TokenEngine.stream`."""
        coming, places = iter(jobs), itertools.count()
        live: dict[int, tuple[Job, Iterator[str], Completion]] = {}
        due: list[tuple[float, int]] = []  # when each answer gets its next word; a heap
        while True:
            while job := next(coming, None):
                place = next(places)
                try:
                    (answer,) = self.generate([job.prompt], job.params)
                except EngineError as e:
                    yield Answer(place, e)
                    continue
                live[place] = (job, iter(_WORD.findall(answer.text)), answer)
                heappush(due, (time.monotonic() + self._delay, place))
            if not due:
                return
            if (early := due[0][0] - time.monotonic()) > 0:
                time.sleep(min(early, _TICK))
                continue
            at, place = heappop(due)
            job, words, answer = live[place]
            word = None if job.abandoned else next(words, None)
            if word is None:
                del live[place]
                yield Answer(place, abandoned() if job.abandoned else answer)
            else:
                heappush(due, (at + self._delay, place))
                yield Piece(place, word)

    def close(self) -> None:
        """Refuse further prompts."""
        self._closed = True


class _Script:
    """A list of replies as a function of the prompt, which it does not look at."""

    def __init__(self, replies: Iterator[str]) -> None:
        self._replies = replies
        self._said = 0

    def __call__(self, prompt: Prompt) -> str:
        for reply in self._replies:
            self._said += 1
            return reply
        raise EngineError(
            f"the scripted engine has no reply left after {self._said}; "
            f"the next prompt ends in {prompt[-1].content[-60:]!r}"
        )


def _read_replies(path: Path) -> list[str]:
    replies: list[str] = []
    for number, row in jsonl.read(path):
        text = row.get("text")
        if not isinstance(text, str):
            raise EngineError(f'{path}:{number}: a reply is a row {{"text": "..."}}, got {row}')
        replies.append(text)
    return replies


def _completion(prompt: Prompt, reply: str, params: SamplingParams) -> Completion:
    end = find_stop(reply, params.stop)
    said = reply if end is None else reply[:end]
    words = list(_WORD.finditer(said))
    cut = len(words) > params.max_new_tokens
    if cut:
        words = words[: params.max_new_tokens]
        said = said[: words[-1].end()]
    asked = sum(len(turn.content.split()) for turn in prompt)
    return Completion(said, (), "length" if cut else "stop", Usage(asked, len(words)))
