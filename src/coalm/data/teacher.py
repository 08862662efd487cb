"""A teacher model writes the thoughts, or whole turns, of a data set that is built already.

`Teacher.ask` puts every answer into a cache on disk as soon as it is there. `Teacher.build` then
makes the new data set out of the old one and the cache: every answer is read and validated, and a
sample whose answer cannot be used is left out and named, as in any build. Whatever ends the
program, the next run asks only what has no answer yet, and comes to the same bytes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

from coalm.data.base import Ledger, Watch, draw
from coalm.data.build import build
from coalm.data.config import DataConfig, TeacherConfig
from coalm.data.manifest import Manifest, read_manifest
from coalm.data.stats import data_files, read_samples
from coalm.data.teacher_cache import Cache
from coalm.data.teacher_steps import Steps, Unusable
from coalm.engines import Engine, SamplingParams, Usage, load_engine
from coalm.engines.answers import answers
from coalm.engines.config import InferConfig
from coalm.errors import ConfigError, EngineError
from coalm.types import Conversation, Message, Prompt

NAME = "teacher"
"""Of the source that the taught samples come from, and of the section with its settings."""
_FAILURES_IN_A_ROW = 20
"""So many failures with no answer between them mean that the engine is broken."""


class Teacher:
    """One teacher, one finished build, and the answers so far; close it in the end."""

    def __init__(self, config: DataConfig, infer: InferConfig) -> None:
        """Look at configuration, build and cache; nothing is asked yet.

        Args:
            config: one with a section `teacher`.
            infer: the teacher model, see `TeacherConfig`.

        Raises:
            ConfigError: the configuration has no teacher, or would overwrite what it reads.
            DataError: there is no finished build to read, or the cache is none.
            FormatError: the instruction text cannot be used.
        """
        if config.teacher is None:
            raise ConfigError("the data file has no section `teacher`")
        self._config = config
        self._settings = config.teacher
        self._infer = infer
        self._folder = self._settings.path or config.output_dir
        if self._folder.resolve() == self._settings.output_dir.resolve():
            raise ConfigError(
                f"teacher.output_dir: {self._folder} holds the build that the teacher reads; take "
                "another folder"
            )
        read_manifest(self._folder)
        self._params = infer.generation.sampling()
        self._steps = Steps(self._settings.mode, self._settings.instructions)
        self._cache = _open_cache(self._settings, infer.model.model_name, self._params)
        self._chosen = _choose(self._folder, self._settings.limit, config.seed)

    @property
    def open_questions(self) -> int:
        """How many questions have no answer yet."""
        return sum(1 for _ in self._questions())

    def _questions(self) -> Iterator[tuple[str, Prompt]]:
        asked: set[str] = set()
        for sample in _samples(self._folder, self._chosen):
            if sample.messages[-1].thought is None:
                continue
            prompt = self._steps.prompt(sample)
            key = self._cache.key(prompt)
            if key not in asked and self._cache.get(key) is None:
                asked.add(key)
                yield key, prompt

    def load(self) -> Engine:
        """The teacher's engine.

        Raises:
            EngineError: it cannot be loaded.
            MissingExtraError: a package that it needs is not installed.
        """
        return load_engine(self._infer)

    def ask(self, engine: Engine) -> Iterator[Usage | None]:
        """Ask what has no answer yet; yields the cost of each answer, None where there is none.

        Raises:
            EngineError: in the end, if questions are left without an answer (unless these may be
                dropped); at once, if the engine fails at everything. All answers are kept.
        """
        waiting: dict[int, str] = {}

        def prompts() -> Iterator[Prompt]:
            for place, (key, prompt) in enumerate(self._questions()):
                waiting[place] = key
                yield prompt

        failures: list[EngineError] = []
        answered = in_a_row = 0
        batch_size = self._infer.generation.batch_size or 1
        for place, outcome in answers(engine, prompts(), self._params, batch_size):
            key = waiting.pop(place)
            if isinstance(outcome, EngineError):
                failures.append(outcome)
                in_a_row += 1
                if in_a_row == _FAILURES_IN_A_ROW:
                    break
                yield None
            else:
                answered += 1
                in_a_row = 0
                self._cache.add(key, outcome)
                yield outcome.usage
        broken = in_a_row == _FAILURES_IN_A_ROW or not answered
        if failures and (broken or not self._settings.drop_unanswered):
            raise EngineError(
                f"{len(failures)} questions got no answer, the last one because: {failures[-1]}; "
                "the same command asks them again, and nothing else"
            )

    def build(self, watch: Watch = lambda _source, _samples: None) -> Manifest:
        """Write the new data set; questions without an answer are samples left out.

        Raises:
            DataError: no sample is left, or a file cannot be written.
        """
        self.close()
        source = TaughtSource(
            self._folder, self._chosen, self._settings, self._infer.model.model_name, self._params
        )
        target = self._config.model_copy(update={"output_dir": self._settings.output_dir})
        return build(target, [source], watch)

    def close(self) -> None:
        """Close the cache; a second call does nothing."""
        self._cache.close()


class TaughtSource:
    """A finished build with the teacher's answers in it; see `Source`."""

    name = NAME

    def __init__(
        self,
        folder: Path,
        chosen: frozenset[str] | None,
        settings: TeacherConfig,
        model: str,
        params: SamplingParams,
    ) -> None:
        """Nothing is read yet: this object goes to another process before."""
        self.ledger = Ledger()
        self._folder = folder
        self._chosen = chosen
        self._settings = settings
        self._model = model
        self._params = params
        self._verdicts: dict[str, Message | Unusable] = {}
        """What came of the answer of that key."""

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`."""
        self.ledger.files += data_files(self._folder)
        cache = _open_cache(self._settings, self._model, self._params)
        steps = Steps(self._settings.mode, self._settings.instructions)
        for sample in _samples(self._folder, self._chosen):
            if sample.messages[-1].thought is None:
                self.ledger.counts["samples without a thought"] += 1
                yield sample
                continue
            verdict = self._verdict(sample, cache, steps)
            if isinstance(verdict, Unusable):
                self.ledger.reject(sample.id, verdict.reason, verdict.detail)
                continue
            self.ledger.counts["samples taught"] += 1
            messages = (*self._history(sample, cache, steps), verdict)
            yield sample.model_copy(update={"messages": messages})

    def _history(self, sample: Conversation, cache: Cache, steps: Steps) -> Iterator[Message]:
        """The messages before the last one, with the thoughts that the teacher wrote for them.

        Its own turns stay out of histories: what users and functions answered was said to ours.
        """
        for at, message in enumerate(sample.messages[:-1]):
            if message.thought is None or self._settings.mode == "turns":
                yield message
                continue
            step = sample.model_copy(update={"messages": sample.messages[: at + 1]})
            verdict = self._verdict(step, cache, steps)
            yield message if isinstance(verdict, Unusable) else verdict

    def _verdict(self, sample: Conversation, cache: Cache, steps: Steps) -> Message | Unusable:
        key = cache.key(steps.prompt(sample))
        if key not in self._verdicts:
            answer = cache.get(key)
            if answer is None:
                return Unusable("the teacher gave no answer")
            self.ledger.counts["answers"] += 1
            self.ledger.counts["prompt tokens"] += answer.usage.prompt_tokens
            self.ledger.counts["completion tokens"] += answer.usage.completion_tokens
            self._verdicts[key] = steps.read(sample, answer)
        return self._verdicts[key]


def _open_cache(settings: TeacherConfig, model: str, params: SamplingParams) -> Cache:
    return Cache(settings.cache or settings.output_dir / "teacher_cache.jsonl", model, params)


def _choose(folder: Path, limit: int | None, seed: int) -> frozenset[str] | None:
    """Ids of the samples that a build with this limit would draw; None is all of them."""
    if limit is None:
        return None
    numbers = ((draw(seed, "limit", sample.id), sample.id) for sample in _samples(folder, None))
    return frozenset(name for _, name in heapq.nsmallest(limit, numbers))


def _samples(folder: Path, chosen: frozenset[str] | None) -> Iterator[Conversation]:
    for path in data_files(folder):
        for sample in read_samples(path):
            if chosen is None or sample.id in chosen:
                yield sample
