"""Answers to a whole file of prompts: `coalm infer --input`.

Every answer is on disk, in `OUTPUT.partial`, as soon as it is there; when the last one is, they
become `OUTPUT`: one row per row of the input, in its order. So a run that was killed goes on where
it was, and its output is that of a run that was not. Engines that take batches get the same batches
again: one that was cut off is asked anew as a whole, because rounding depends on the neighbours.

`OUTPUT.run.json` says how the rows were made, and what they came to.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coalm import jsonl
from coalm.agent.journal import Journal, check_job
from coalm.agent.questions import Question, read_questions
from coalm.engines.answers import StreamingEngine, outcomes
from coalm.engines.base import Completion, Engine, SamplingParams
from coalm.engines.config import InferConfig
from coalm.errors import DataError, EngineError
from coalm.formats import PromptFormat
from coalm.types import Prompt

ANSWERED, FAILED, UNUSABLE = "answered", "failed", "unusable"
"""States of a row: it has its answer; the engine gave none, so the next run asks again; what the
input says cannot be asked."""

_FAILURES_IN_A_ROW = 20
"""So many failures with no answer between them mean that the engine is broken."""
_BATCHES = 8
"""Batches asked for in one call, so that an engine can fill them up as answers end."""


class Summary(BaseModel):
    """What a finished run came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    answered: int
    calls: int
    """Calls in the answers that could be read."""
    unreadable: int
    """Answers with a call that could not."""
    cut: int
    """Answers that ended at the limit of new tokens, or of the context."""
    failed: int
    unusable: int
    prompt_tokens: int
    completion_tokens: int


class _Record(BaseModel):
    """The content of `OUTPUT.run.json`."""

    about: dict[str, JsonValue]
    summary: Summary


class Batch:
    """One input file on its way to one output file; close it in the end."""

    def __init__(
        self, source: Path, output: Path, config: InferConfig, prompt_format: PromptFormat
    ) -> None:
        """See what there is to do, and what was done before.

        Raises:
            DataError: the input cannot be read, or the output belongs to another run.
        """
        self._source = source
        self._output = output
        self._format = prompt_format
        self._record = output.with_name(f"{output.name}.run.json")
        # answers of an endpoint do not depend on what else is asked, as far as we can tell
        self._apart = config.engine == "openai"
        self._chunk = _BATCHES * (config.generation.batch_size or 1)
        self._about = _describe(source, config, prompt_format)
        self.total = 0
        """Rows of the input."""
        self.faults: list[str] = []
        """Rows that cannot be asked: `file:line: what is wrong`."""
        with _writing(output):
            self._journal = self._open()
            self._count()

    def _open(self) -> Journal | None:
        """The rows so far; None when the output is complete."""
        partial = self._output.with_name(f"{self._output.name}.partial")
        if self._output.exists() and not partial.exists():
            check_job(self._output, self._read_record().about, self._about)
            return None
        self._output.parent.mkdir(parents=True, exist_ok=True)
        return Journal(partial, self._about)

    def _count(self) -> None:
        for question in read_questions(self._source, self._format):
            self.total += 1
            if question.fault:
                self.faults.append(question.fault)
                if self._journal and self._journal.state(question.place) is None:
                    row = {"id": question.id, "error": question.fault}
                    self._journal.add(question.place, UNUSABLE, row)

    @property
    def done(self) -> int:
        """Rows that need not be asked any more."""
        return sum(map(self._is_done, range(self.total)))

    def _is_done(self, place: int) -> bool:
        return self._journal is None or self._journal.state(place) in (ANSWERED, UNUSABLE)

    def answer(self, engine: Engine, params: SamplingParams) -> Iterator[str]:
        """Ask what is left, and yield the state of each row once it is on disk.

        Raises:
            EngineError: the engine fails at everything.
        """
        if self._journal is None:
            return
        asked = 0
        failures: list[EngineError] = []
        for question, outcome in self._outcomes(self._journal, engine, params):
            asked += 1
            if isinstance(outcome, EngineError):
                failures.append(outcome)
                state, row = FAILED, {"id": question.id, "error": str(outcome)}
            else:
                failures.clear()
                state, row = ANSWERED, self._row(question, outcome)
            with _writing(self._output):
                self._journal.add(question.place, state, row)
            if len(failures) == _FAILURES_IN_A_ROW:
                break
            yield state
        if failures and len(failures) in (asked, _FAILURES_IN_A_ROW):
            raise EngineError(
                f"no answer to {len(failures)} prompts in a row, the last time because: "
                f"{failures[-1]}; the same command asks them again"
            )

    def _outcomes(
        self, journal: Journal, engine: Engine, params: SamplingParams
    ) -> Iterator[tuple[Question, Completion | EngineError]]:
        good = (q for q in read_questions(self._source, self._format) if not q.fault)
        if self._apart and isinstance(engine, StreamingEngine):
            yield from _streamed((q for q in good if not self._is_done(q.place)), engine, params)
            return
        for _, group in groupby(good, key=lambda q: q.place // self._chunk):
            questions = list(group)
            if all(journal.state(q.place) for q in questions):
                questions = [q for q in questions if not self._is_done(q.place)]
            prompts = [q.prompt for q in questions]
            yield from zip(questions, outcomes(engine, prompts, params), strict=True)

    def _row(self, question: Question, answer: Completion) -> dict[str, Any]:
        message = self._format.parse(answer.text)
        return {
            "id": question.id,
            "text": answer.text,
            "message": message.model_dump(mode="json", exclude_defaults=True),
            "finish_reason": answer.finish_reason,
            **answer.usage._asdict(),
        }

    def finish(self) -> Summary:
        """Write the output, once `answer` has come to its end.

        Raises:
            DataError: it cannot be written.
        """
        journal = self._journal
        if journal is None:
            return self._read_record().summary
        tally: Counter[str] = Counter(rows=self.total)
        rows = (_counted(journal, place, tally) for place in range(self.total))
        with _writing(self._output):
            jsonl.write(self._output, rows)
            names = Summary.model_fields
            record = _Record(about=self._about, summary=Summary(**{n: tally[n] for n in names}))
            self._record.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
            if not tally[FAILED]:
                journal.close()
                journal.path.unlink()
        return record.summary

    def _read_record(self) -> _Record:
        try:
            return _Record.model_validate_json(self._record.read_bytes())
        except (OSError, ValidationError) as e:
            raise DataError(
                f"{self._output} is already there, and {self._record.name} does not say of which "
                "run; delete it, or take another output"
            ) from e

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        if self._journal:
            self._journal.close()


def _streamed(
    questions: Iterable[Question], engine: StreamingEngine, params: SamplingParams
) -> Iterator[tuple[Question, Completion | EngineError]]:
    asked: dict[int, Question] = {}

    def prompts() -> Iterator[Prompt]:
        for number, question in enumerate(questions):
            asked[number] = question
            yield question.prompt

    for number, outcome in engine.answers(prompts(), params):
        yield asked.pop(number), outcome


def _counted(journal: Journal, place: int, tally: Counter[str]) -> dict[str, Any]:
    row = journal.row(place)
    tally[str(journal.state(place))] += 1
    calls = row.get("message", {}).get("tool_calls", ())
    unreadable = sum("error" in call for call in calls)
    tally["calls"] += len(calls) - unreadable
    tally["unreadable"] += bool(unreadable)
    tally["cut"] += row.get("finish_reason") == "length"
    for name in ("prompt_tokens", "completion_tokens"):
        tally[name] += row.get(name, 0)
    return row


def _describe(
    source: Path, config: InferConfig, prompt_format: PromptFormat
) -> dict[str, JsonValue]:
    """What decides the answers; where an endpoint is and how often it is asked does not."""
    try:
        with source.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"{source}: cannot be read: {e.strerror or e}") from e
    return {
        "config": config.model_dump(mode="json", exclude={"remote_params"}),
        "format": f"{prompt_format.name} {prompt_format.version}",
        "input": {"name": source.name, "sha256": checksum},
    }


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """What the disk refuses becomes one line."""
    try:
        yield
    except OSError as e:
        raise DataError(f"{e.filename or output}: cannot be written: {e.strerror or e}") from e
