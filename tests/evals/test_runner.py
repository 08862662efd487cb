from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from coalm.agent.rollout import Rollout
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import ContextError, EngineError, EvalError, MissingExtraError
from coalm.evals.apibank.task import ApiBank, ApiBankConfig
from coalm.evals.base import Sample, SampleResult, Score
from coalm.evals.config import EvalConfig
from coalm.evals.runner import Metrics, begin, generate, score
from coalm.evals.runs import METRICS, ROWS, open_run, read_info, read_rows
from coalm.types import Conversation, Prompt

FIXTURES = Path(__file__).parents[1] / "fixtures" / "apibank"
GREEDY = SamplingParams()


def settings(folder: Path, **changes: Any) -> EvalConfig:
    model = {"model_name": changes.pop("model_name", "scripted"), "adapter_model": None}
    given = {"model": model, "apibank": {"data_dir": FIXTURES}, "output_dir": folder, **changes}
    return EvalConfig.model_validate(given)


def answer(prompt: Prompt) -> str:
    """Right or wrong, by what is asked; never by when."""
    text = prompt[-1].content
    if "What day" in text:
        return '```\n[{"name": "GetToday", "arguments": {}}]\n```'
    return "I do not know." if len(text) % 2 else '[{"name": "SetAlarm", "arguments": {}}]'


def run(
    folder: Path, task: ApiBank | None = None, engine: Any = None, **changes: Any
) -> list[SampleResult]:
    """A whole run in `folder`, or the rest of one."""
    config = settings(folder, **changes)
    task = task or ApiBank(config.apibank)
    ready = begin(config, task)
    engine = engine or ScriptedEngine(answer)
    for _ in generate(task, ready.pending, engine, ready.folder, GREEDY, 2):
        pass
    score(task, ready.samples, ready.folder)
    return read_rows(folder)


def timeless(rows: Sequence[SampleResult]) -> list[SampleResult]:
    return [row.model_copy(update={"seconds": 0}) for row in rows]


def test_every_sample_has_one_row_in_order(tmp_path: Path) -> None:
    rows = run(tmp_path)
    samples = ApiBank(ApiBankConfig(data_dir=FIXTURES)).samples()
    assert [row.id for row in rows] == [sample.id for sample in samples]
    row = rows[2]
    assert row.raw == ('```\n[{"name": "GetToday", "arguments": {}}]\n```',)
    assert row.conversation is not None
    assert row.conversation.messages[-1].content == row.raw[0]
    assert row.score is not None
    assert row.score.verdict == "exact"
    assert (row.error, row.finish_reasons, row.completion_tokens) == (None, ("stop",), 6)
    assert row.prompt_tokens > 20
    assert len({row.prompt_hash for row in rows}) == 8  # one row is a repeat


def test_the_record_of_a_run_says_what_made_it(tmp_path: Path) -> None:
    run(tmp_path, limit=4)
    info = read_info(tmp_path)
    assert info.samples == 4
    assert info.task["name"] == "apibank"
    assert info.task["format"] == "hammer"
    assert isinstance(info.task["data"], dict)
    assert len(info.task["data"]) == 4
    assert {"coalm", "python", "pydantic"} <= info.environment.keys()
    assert info.config == settings(Path(), limit=4)


def test_metrics_are_written_for_every_group(tmp_path: Path) -> None:
    run(tmp_path)
    found = Metrics.model_validate_json((tmp_path / METRICS).read_bytes())
    assert (found.samples, found.unfinished, found.failed) == (9, 0, 0)
    assert {group: m.samples for group, m in found.groups.items()} == {
        "l1": 6,
        "l1-clean": 3,
        "l2": 3,
        "l2-clean": 1,
    }
    assert found.groups["l1"].figures["exact call"] == pytest.approx(100 / 6)


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    rows = run(tmp_path)
    assert run(tmp_path, engine=ScriptedEngine([])) == rows


def test_a_run_that_is_cut_off_anywhere_goes_on_there(tmp_path: Path) -> None:
    whole = timeless(run(tmp_path / "whole"))
    data = (tmp_path / "whole" / ROWS).read_bytes()
    for size in range(0, len(data), 997):
        folder = tmp_path / str(size)
        run(folder, limit=None)
        (folder / ROWS).write_bytes(data[:size])
        assert timeless(run(folder)) == whole


def test_an_interrupted_iteration_loses_no_row(tmp_path: Path) -> None:
    def interrupted(prompt: Prompt) -> str:
        if "What day" in prompt[-1].content:
            raise KeyboardInterrupt
        return answer(prompt)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, engine=ScriptedEngine(interrupted))
    assert [row.id for row in read_rows(tmp_path)] == ["apibank-l1-000", "apibank-l1-001"]
    assert timeless(run(tmp_path)) == timeless(run(tmp_path / "other"))


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_runner
from coalm.engines.scripted import ScriptedEngine

def slow(prompt):
    time.sleep(0.02)
    return test_runner.answer(prompt)

test_runner.run(Path(sys.argv[2]), engine=ScriptedEngine(slow), apibank={"data_dir": sys.argv[3]})
"""


def many_rows(folder: Path) -> Path:
    """The first fixture row of level 1, sixty times with another token each."""
    for form in ("original", "hammer"):
        (folder / form).mkdir(parents=True)
        for level, count in ((1, 60), (2, 1)):
            name = f"{form}/apibank_l{level}.json"
            row = json.dumps(json.loads((FIXTURES / name).read_text(encoding="utf-8"))[0])
            rows = [json.loads(row.replace("t-42", "t" * at)) for at in range(count)]
            (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_a_run_that_is_killed_again_and_again_equals_an_undisturbed_one(tmp_path: Path) -> None:
    data = many_rows(tmp_path / "data")
    whole = timeless(run(tmp_path / "whole", apibank={"data_dir": data}))
    assert len({row.score.model_dump_json() for row in whole if row.score}) > 2
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder), str(data)]
    for rows_before_the_kill in (0, 7, 30):
        process = subprocess.Popen(command, start_new_session=True)
        wait_for_rows(folder, rows_before_the_kill)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert rows_before_the_kill <= count_rows(folder) < 61
    with (folder / ROWS).open("ab") as file:
        file.write(b'{"id": "apibank-l1-0')
    subprocess.run(command, check=True)
    assert timeless(read_rows(folder)) == whole


def wait_for_rows(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while count_rows(folder) < count or not (folder / ROWS).exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def count_rows(folder: Path) -> int:
    path = folder / ROWS
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": {"max_new_tokens": 9}}, "settings.generation.max_new_tokens is 512 there"),
        ({"limit": 3}, "settings.limit is None there and 3 now and 1 more"),
        ({"model_name": "other"}, "settings.model.model_name is scripted there and other now"),
        ({"apibank": {"data_dir": FIXTURES, "form": "original"}}, "apibank.form is hammer there"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    run(tmp_path)
    with pytest.raises(EvalError, match="holds another run: ") as caught:
        run(tmp_path, **change)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert str(caught.value).endswith("choose another --out or remove the folder")


def test_the_batch_size_may_change(tmp_path: Path) -> None:
    rows = run(tmp_path, generation={"batch_size": 8})
    assert run(tmp_path, generation={"batch_size": 1}) == rows


def test_weights_that_were_trained_anew_are_another_run(tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"old")
    run(tmp_path / "run", model_name=str(weights.parent))
    run(tmp_path / "run", model_name=str(weights.parent))
    weights.write_bytes(b"newer")
    with pytest.raises(EvalError, match=r"holds another run: weights\..*model is "):
        run(tmp_path / "run", model_name=str(weights.parent))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(EvalError, match="not empty and no run folder; choose another --out"):
        run(tmp_path)


def test_what_a_kill_at_the_first_step_leaves_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".run.json.tmp").write_text("{", encoding="utf-8")
    assert len(run(tmp_path)) == 9


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvalError, match=r"file/run: cannot hold a run: Not a directory; choose"):
        run(tmp_path / "file" / "run")


class Faulty(ApiBank):
    """API-Bank with a defect in one sample's dialogue or score."""

    def __init__(self, where: str) -> None:
        super().__init__(ApiBankConfig(data_dir=FIXTURES))
        self._where = where

    def rollout(self, sample: Sample) -> Rollout:
        if self._where == "rollout" and sample.id == "apibank-l1-001":
            yield (("user", sample.no_such_field),)  # pyright: ignore
        return (yield from super().rollout(sample))

    def score(self, sample: Sample, conversation: Conversation | None) -> Score:
        if conversation and self._where == "score" and sample.id == "apibank-l1-001":
            raise ZeroDivisionError("division by zero")
        if conversation and self._where == "package":
            raise MissingExtraError("jieba", "eval")
        return super().score(sample, conversation)


def test_a_defect_in_one_dialogue_is_recorded_and_counts_as_a_wrong_answer(tmp_path: Path) -> None:
    rows = run(tmp_path, Faulty("rollout"))
    assert rows[1].error == "AttributeError: 'Sample' object has no attribute 'no_such_field'"
    assert rows[1].conversation is None
    assert rows[1].score is not None
    assert rows[1].score.values["exact call"] == 0
    assert [row.error for row in rows].count(None) == 8
    metrics = Metrics.model_validate_json((tmp_path / METRICS).read_bytes())
    assert (metrics.samples, metrics.failed) == (9, 1)


def test_a_defect_in_one_score_is_recorded_and_the_sample_left_out(tmp_path: Path) -> None:
    rows = run(tmp_path, Faulty("score"))
    assert rows[1].error == "not scored: ZeroDivisionError: division by zero"
    assert rows[1].score is None
    metrics = Metrics.model_validate_json((tmp_path / METRICS).read_bytes())
    assert (metrics.samples, metrics.failed) == (8, 1)
    # once the defect is gone, scoring again is enough
    task = ApiBank(ApiBankConfig(data_dir=FIXTURES))
    assert score(task, task.samples(), tmp_path).failed == 0


def test_a_missing_package_is_no_wrong_answer(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError):
        run(tmp_path, Faulty("package"))


class Broken:
    """An engine that fails for some prompts, in the way it is told to."""

    def __init__(self, part: str, error: Exception) -> None:
        self._part = part
        self._error = error

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        if any(self._part in prompt[-1].content for prompt in prompts):
            raise self._error
        return ScriptedEngine(answer).generate(prompts, params)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EngineError("prompt is too long"), "prompt is too long"),
        (RuntimeError("out of memory \ud800"), "RuntimeError: out of memory \ud800"),
    ],
)
def test_an_engine_that_fails_for_one_prompt_goes_on_with_the_others(
    tmp_path: Path, error: Exception, text: str
) -> None:
    rows = run(tmp_path, engine=Broken("What day", error))
    assert {row.id: row.error for row in rows if row.error} == {"apibank-l1-002": text}


class BrokenStream(Broken):
    """The same, one prompt at a time."""

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        for place, prompt in enumerate(prompt for prompt in prompts if prompt):
            yield Answer(place, self.generate([prompt], params)[0])


def test_a_defect_of_an_engine_that_streams_stays_with_the_open_prompts(tmp_path: Path) -> None:
    rows = run(tmp_path, engine=BrokenStream("What day", RuntimeError("broken")))
    assert {row.id: row.error for row in rows if row.error} == {
        "apibank-l1-002": "RuntimeError: broken"
    }
    assert timeless(run(tmp_path)) == timeless(run(tmp_path / "other"))


def test_failed_samples_are_tried_again(tmp_path: Path) -> None:
    run(tmp_path, engine=Broken("What day", RuntimeError("out of memory")))
    engine = ScriptedEngine(answer)
    rows = run(tmp_path, engine=engine)
    assert len(engine.prompts) == 1
    assert timeless(rows) == timeless(run(tmp_path / "other"))


def test_an_engine_that_always_fails_ends_the_run(tmp_path: Path) -> None:
    data = many_rows(tmp_path / "data")
    with pytest.raises(EvalError, match="20 samples in a row failed, the last one with: no answer"):
        run(
            tmp_path / "run",
            engine=Broken("", EngineError("no answer")),
            apibank={"data_dir": data},
        )
    assert count_rows(tmp_path / "run") == 20


def test_dialogues_that_outgrow_the_context_are_settled(tmp_path: Path) -> None:
    data = many_rows(tmp_path / "data")
    given = {"apibank": {"data_dir": data}}
    rows = run(tmp_path / "run", engine=Broken("", ContextError("9 tokens are too many")), **given)
    assert len(rows) > 20  # so many failures in a row would end a run
    assert {(row.error, row.too_long) for row in rows} == {("9 tokens are too many", True)}
    metrics = json.loads((tmp_path / "run" / METRICS).read_text(encoding="utf-8"))
    assert metrics["too_long"] == metrics["failed"] == metrics["samples"] == len(rows)
    engine = ScriptedEngine(answer)
    assert run(tmp_path / "run", engine=engine, **given) == rows
    assert engine.prompts == []


def test_a_run_is_scored_again_without_a_model(tmp_path: Path) -> None:
    rows = run(tmp_path)
    stripped = [row.model_copy(update={"score": None}) for row in reversed(rows)]
    (tmp_path / ROWS).write_text(
        "".join(row.model_dump_json() + "\n" for row in stripped), encoding="utf-8"
    )
    task = ApiBank(ApiBankConfig(data_dir=FIXTURES))
    score(task, task.samples(), tmp_path)
    assert read_rows(tmp_path) == rows


def test_an_unfinished_run_is_scored_as_far_as_it_goes(tmp_path: Path) -> None:
    run(tmp_path)
    lines = (tmp_path / ROWS).read_bytes().splitlines(keepends=True)
    (tmp_path / ROWS).write_bytes(b"".join(lines[:4]) + lines[4][:50])
    task = ApiBank(ApiBankConfig(data_dir=FIXTURES))
    metrics = score(task, task.samples(), tmp_path)
    assert (metrics.samples, metrics.unfinished) == (4, 5)


def test_rows_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    task = ApiBank(ApiBankConfig(data_dir=FIXTURES, levels=(1,)))
    with pytest.raises(EvalError, match=r"samples.jsonl: 'apibank-l2-000' is no sample of apibank"):
        score(task, task.samples(), tmp_path)


def test_an_empty_benchmark_is_refused(tmp_path: Path) -> None:
    for form in ("original", "hammer"):
        (tmp_path / "data" / form).mkdir(parents=True)
        (tmp_path / "data" / form / "apibank_l1.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EvalError, match="apibank: the data holds no sample"):
        run(tmp_path / "run", apibank={"data_dir": tmp_path / "data", "levels": (1,)})


def test_rows_are_on_disk_before_they_are_yielded(tmp_path: Path) -> None:
    config = settings(tmp_path)
    task = ApiBank(config.apibank)
    ready = begin(config, task)
    rows = generate(task, ready.pending, ScriptedEngine(answer), tmp_path, GREEDY, 4)
    next(rows)
    assert count_rows(tmp_path) == 1
    rows.close()
    assert len(open_run(tmp_path, read_info(tmp_path))) == 1
