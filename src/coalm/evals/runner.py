"""Runs a task on an engine: generating and scoring are two steps over the same rows.

`generate` appends one row per finished dialogue, each on disk before the next, so a run that was
killed goes on where it stopped. `score` reads the rows and writes them back with scores; it needs
no model and can be repeated. One bad sample never ends a run: this module is the one place that
catches any exception, and it writes down what it caught.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from coalm import jsonl
from coalm.agent.rollout import Finished, Rollout, run_many
from coalm.engines.answers import Answer, StreamingEngine
from coalm.engines.base import Completion, Engine, SamplingParams
from coalm.errors import CoalmError, ContextError, EngineError, EvalError
from coalm.evals.base import Sample, SampleResult, Score, Task, add_up, subset
from coalm.evals.config import EvalConfig
from coalm.evals.runs import (
    METRICS,
    ROWS,
    describe,
    open_run,
    read_info,
    read_rows,
    write_json,
    write_rows,
)
from coalm.types import Prompt

_FAILURES_IN_A_ROW = 20
"""So many failed samples with no good one between them mean that the engine is broken."""


class GroupMetrics(BaseModel):
    """The figures of one group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    figures: dict[str, float]


class Metrics(BaseModel):
    """What a run came to: the content of `metrics.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    version: str
    samples: int
    """Rows scored; fewer than the run has while it is unfinished."""
    unfinished: int
    """Samples of the run that have no row yet."""
    failed: int
    """Rows with an error: a dialogue that failed (a wrong answer) or has no score (left out)."""
    too_long: int = 0
    """Those of them whose dialogue outgrew the model's context."""
    groups: dict[str, GroupMetrics]


class Run(NamedTuple):
    """A run that is ready to begin, or to go on."""

    folder: Path
    samples: list[Sample]
    """All samples of the run."""
    pending: list[Sample]
    """Those that have no row yet."""


def begin(config: EvalConfig, task: Task) -> Run:
    """Open the folder of a run and see what is left to do.

    Raises:
        AssetError, DataError: the data of the task is missing or damaged.
        EvalError: the folder holds something else.
        MissingExtraError: a package that scoring needs is not installed.
    """
    samples = subset(task.samples(), config.limit, config.seed)
    if not samples:
        raise EvalError(f"{task.name}: the data holds no sample")
    # scoring nothing loads all that scoring needs: a lack shows now, not after hours of generating
    task.score(samples[0], None)
    rows = open_run(config.output_dir, describe(config, task, len(samples)))
    done = {row.id for row in rows}
    return Run(config.output_dir, samples, [s for s in samples if s.id not in done])


def generate(
    task: Task,
    samples: Sequence[Sample],
    engine: Engine,
    folder: Path,
    params: SamplingParams,
    batch_size: int,
) -> Iterator[SampleResult]:
    """Run the dialogues of `samples` and append a row for each; yields a row once it is on disk.

    Pass only samples that have no row yet. Whatever ends the iteration early, no row is lost.

    Raises:
        EvalError: the engine fails at everything.
    """
    by_id = {sample.id: sample for sample in samples}
    traces = {sample.id: _Trace() for sample in samples}
    rollouts = ((s.id, _traced(task.rollout(s), traces[s.id])) for s in samples)
    failures = 0
    with jsonl.Appender(folder / ROWS) as out:
        for finished in run_many(rollouts, _steady(engine), params, batch_size):
            row = _row(by_id[finished.id], traces.pop(finished.id), finished)
            out.append(row.model_dump(mode="json"))
            yield row
            failures = failures + 1 if row.error and not row.too_long else 0
            if failures == _FAILURES_IN_A_ROW:
                raise EvalError(
                    f"{failures} samples in a row failed, the last one with: {row.error}; "
                    "the same command tries them again"
                )


def score(task: Task, samples: Sequence[Sample], folder: Path) -> Metrics:
    """Score all rows of a run, write them back in the order of `samples`, and sum them up.

    Raises:
        EvalError: a row belongs to no sample, or nothing can be scored (a package is missing, ...).
        DataError: a row is damaged.
    """
    return sum_up(task, score_rows(task, samples, folder), folder)


def score_rows(task: Task, samples: Sequence[Sample], folder: Path) -> list[SampleResult]:
    """The first half of `score`: the rows with their scores, as they are written."""
    jsonl.recover(folder / ROWS)
    rows = {row.id: row for row in read_rows(folder)}
    if strangers := sorted(rows.keys() - {sample.id for sample in samples}):
        raise EvalError(f"{folder / ROWS}: {strangers[0]!r} is no sample of {task.name}")
    scored = [_scored(task, sample, rows[sample.id]) for sample in samples if sample.id in rows]
    write_rows(folder, scored)
    return scored


def sum_up(task: Task, scored: Sequence[SampleResult], folder: Path) -> Metrics:
    """The second half of `score`: the figures, which are written beside the rows."""
    metrics = Metrics(
        task=task.name,
        version=task.version,
        samples=sum(row.score is not None for row in scored),
        unfinished=read_info(folder).samples - len(scored),
        failed=sum(row.error is not None for row in scored),
        too_long=sum(row.too_long for row in scored),
        groups={group: _sum_up(task, rows) for group, rows in by_group(task, scored).items()},
    )
    write_json(folder / METRICS, metrics.model_dump(mode="json"))
    return metrics


def by_group(task: Task, rows: Sequence[SampleResult]) -> dict[str, list[Score]]:
    """The scores of each reported group that has any, in the task's order."""
    found = {
        group: [row.score for row in rows if row.score and group in row.groups]
        for group in task.groups
    }
    return {group: scores for group, scores in found.items() if scores}


def _sum_up(task: Task, scores: Sequence[Score]) -> GroupMetrics:
    return GroupMetrics(samples=len(scores), figures=task.aggregate(add_up(scores)))


def _scored(task: Task, sample: Sample, row: SampleResult) -> SampleResult:
    error = row.error if row.conversation is None else None
    try:
        found = task.score(sample, row.conversation)
    except CoalmError:
        raise
    except Exception as e:  # noqa: BLE001 - a sample that cannot be scored is recorded as such
        found, error = None, f"not scored: {type(e).__name__}: {e}"
    return row.model_copy(update={"score": found, "error": error, "groups": sample.groups})


@dataclass
class _Trace:
    """What passed between a rollout and the engine."""

    prompts: list[Prompt] = field(default_factory=list[Prompt])
    answers: list[Completion] = field(default_factory=list[Completion])


def _traced(rollout: Rollout, trace: _Trace) -> Rollout:
    """`rollout` with every exchange noted; a defect in it becomes an error of this sample only."""
    try:
        prompt = next(rollout)
        while True:
            trace.prompts.append(prompt)
            try:
                answer = yield prompt
            except EngineError as error:
                prompt = rollout.throw(error)
            else:
                trace.answers.append(answer)
                prompt = rollout.send(answer)
    except StopIteration as stop:
        return stop.value
    except CoalmError:
        raise
    except Exception as e:
        raise EvalError(f"{type(e).__name__}: {e}") from e
    finally:
        rollout.close()


def _steady(engine: Engine) -> Engine:
    return _SteadyStream(engine) if isinstance(engine, StreamingEngine) else _Steady(engine)


class _Steady:
    """An engine whose defects are `EngineError`s, so that they stay with the prompt at fault."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`."""
        try:
            return self._engine.generate(prompts, params)
        except CoalmError:
            raise
        except Exception as e:
            raise EngineError(f"{type(e).__name__}: {e}") from e

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()


class _SteadyStream(_Steady):
    """The same with an engine that streams: the prompts that were open at a defect are at fault."""

    def __init__(self, engine: StreamingEngine) -> None:
        super().__init__(engine)
        self._stream = engine

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        """See `StreamingEngine.answers`."""
        done, opened = 0, set[int]()

        def noted() -> Iterator[Prompt | None]:
            for prompt in prompts:
                if prompt is not None:
                    opened.add(done + len(opened))
                yield prompt

        coming = noted()
        while True:
            start = done
            try:
                for place, outcome in self._stream.answers(coming, params):
                    opened.remove(start + place)
                    done += 1
                    yield Answer(start + place, outcome)
                return
            except CoalmError:
                raise
            except Exception as e:  # noqa: BLE001 - whoever asked finds it in the answers
                error = EngineError(f"{type(e).__name__}: {e}")
                error.__cause__ = e
            for place in sorted(opened):
                opened.remove(place)
                done += 1
                yield Answer(place, error)


def _row(sample: Sample, trace: _Trace, finished: Finished) -> SampleResult:
    text = json.dumps(trace.prompts)
    return SampleResult(
        id=sample.id,
        groups=sample.groups,
        prompt_hash=hashlib.sha256(text.encode()).hexdigest(),
        raw=tuple(answer.text for answer in trace.answers),
        finish_reasons=tuple(answer.finish_reason for answer in trace.answers),
        conversation=finished.conversation,
        error=None if finished.error is None else str(finished.error),
        too_long=isinstance(finished.error, ContextError),
        score=None,
        seconds=round(finished.seconds, 3),
        prompt_tokens=finished.usage.prompt_tokens,
        completion_tokens=finished.usage.completion_tokens,
    )
