"""A file of prompts answered: rows, places, failures, and runs that are cut off anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from coalm import jsonl
from coalm.agent.batch import Batch, Summary
from coalm.config import load_config
from coalm.engines.base import Completion, Engine, SamplingParams, Usage
from coalm.engines.config import InferConfig
from coalm.engines.scripted import ScriptedEngine
from coalm.engines.scripted_endpoint import Fault, ScriptedEndpoint
from coalm.errors import DataError, EngineError
from coalm.formats import get_format
from coalm.types import Prompt

REACT = get_format("react")
PARAMS = SamplingParams(max_new_tokens=50)


def reply(prompt: Prompt) -> str:
    text = prompt[-1].content
    return f"Thought: It is {text}.\nAction: Look(what={json.dumps(text)})"


class Neighbours:
    """Says to each prompt which ones it shared its batch with; stops the program after some."""

    def __init__(self, batches: int = 1000) -> None:
        self.left = batches

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`."""
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        texts = [prompt[-1].content for prompt in prompts]
        return [Completion(f"{t} among {texts}", (), "stop", Usage(1, 1)) for t in texts]

    def close(self) -> None:
        """See `Engine.close`."""


def make(folder: Path, *words: str, name: str = "out.jsonl") -> Batch:
    config = load_config(InferConfig, None, ["model.model_name=m", *words]).config
    return Batch(folder / "in.jsonl", folder / name, config, REACT)


def run(batch: Batch, engine: Engine) -> Summary:
    with closing(batch):
        list(batch.answer(engine, PARAMS))
        return batch.finish()


def rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in jsonl.read(path)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 10 prompts, of which the fourth row is none."""
    lines = [json.dumps({"id": f"p{n}", "prompt": f"prompt {n}"}) for n in range(10)]
    lines[3] = '{"prompt": '
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_every_row_has_its_answer_in_its_place(folder: Path) -> None:
    batch = make(folder)
    assert (batch.total, batch.done) == (10, 1)
    assert batch.faults[0].startswith(f"{folder / 'in.jsonl'}:4: not JSON")
    summary = run(batch, ScriptedEngine(reply))
    found = rows(folder / "out.jsonl")
    assert [row["id"] for row in found] == ["p0", "p1", "p2", "4", *(f"p{n}" for n in range(4, 10))]
    assert found[0] == {
        "id": "p0",
        "text": 'Thought: It is prompt 0.\nAction: Look(what="prompt 0")',
        "message": {
            "role": "assistant",
            "thought": "It is prompt 0.",
            "tool_calls": [{"name": "Look", "arguments": {"what": "prompt 0"}}],
        },
        "finish_reason": "stop",
        "prompt_tokens": 2,
        "completion_tokens": 8,
    }
    assert found[3] == {"id": "4", "error": batch.faults[0]}
    assert summary == Summary(
        rows=10,
        answered=9,
        calls=9,
        unreadable=0,
        cut=0,
        failed=0,
        unusable=1,
        prompt_tokens=18,
        completion_tokens=72,
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "in.jsonl",
        "out.jsonl",
        "out.jsonl.run.json",
    ]


def test_what_is_cut_or_unreadable_is_counted(folder: Path) -> None:
    replies = ["Action: Look(", "Thought: a", *["System: b"] * 7]
    batch = make(folder)
    with closing(batch):
        list(batch.answer(ScriptedEngine(replies), SamplingParams(max_new_tokens=2)))
        summary = batch.finish()
    assert (summary.unreadable, summary.calls, summary.cut) == (1, 0, 0)


@pytest.mark.parametrize("batches", [0, 1])
def test_batches_are_the_same_after_an_interruption(folder: Path, batches: int) -> None:
    words = ("generation.batch_size=1",)
    run(make(folder, *words, name="whole.jsonl"), Neighbours())
    with closing(make(folder, *words)) as stopped, pytest.raises(KeyboardInterrupt):
        list(stopped.answer(Neighbours(batches), PARAMS))
    run(make(folder, *words), Neighbours())
    whole = (folder / "whole.jsonl").read_bytes()
    assert (folder / "out.jsonl").read_bytes() == whole
    assert b"prompt 8 among ['prompt 8', 'prompt 9']" in whole


@pytest.mark.parametrize("rows_done", range(10))
def test_a_run_cut_off_within_a_batch_asks_that_batch_anew(folder: Path, rows_done: int) -> None:
    words = ("generation.batch_size=1",)
    run(make(folder, *words, name="whole.jsonl"), Neighbours())
    with closing(make(folder, *words)) as stopped:
        list(islice(stopped.answer(Neighbours(), PARAMS), rows_done))
    run(make(folder, *words), Neighbours())
    assert (folder / "out.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_a_failed_prompt_costs_no_other_and_is_asked_again(folder: Path) -> None:
    class Picky(ScriptedEngine):
        def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
            if any("prompt 5" in prompt[-1].content for prompt in prompts):
                raise EngineError("prompt 5 is too long")
            return super().generate(prompts, params)

    assert run(make(folder), Picky(reply)).failed == 1
    assert rows(folder / "out.jsonl")[5] == {"id": "p5", "error": "prompt 5 is too long"}
    again = make(folder)
    assert (again.total, again.done) == (10, 9)
    engine = ScriptedEngine(reply)
    assert run(again, engine).failed == 0
    assert len(engine.prompts) == 1
    run(make(folder, name="whole.jsonl"), ScriptedEngine(reply))
    assert (folder / "out.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_a_finished_run_has_nothing_to_do(folder: Path) -> None:
    summary = run(make(folder), ScriptedEngine(reply))
    before = (folder / "out.jsonl").read_bytes()
    again = make(folder, "remote_params.num_workers=9")
    assert again.done == again.total
    assert run(again, ScriptedEngine([])) == summary
    assert (folder / "out.jsonl").read_bytes() == before


def test_an_engine_that_fails_at_everything_ends_the_run(folder: Path) -> None:
    batch = make(folder)
    message = "no answer to 9 prompts in a row, the last time because: the scripted engine has no"
    with closing(batch), pytest.raises(EngineError, match=message):
        list(batch.answer(ScriptedEngine([]), PARAMS))
    assert not (folder / "out.jsonl").exists()
    assert run(make(folder), ScriptedEngine(reply)).answered == 9


def test_another_configuration_does_not_go_on_with_the_rows(folder: Path) -> None:
    with closing(make(folder)) as batch:
        list(islice(batch.answer(ScriptedEngine(reply), PARAMS), 3))
    message = r"begun with config\.generation\.temperature 0\.0, now it is 0\.5"
    with pytest.raises(DataError, match=message):
        make(folder, "generation.temperature=0.5")
    run(make(folder), ScriptedEngine(reply))
    with pytest.raises(DataError, match=message):
        make(folder, "generation.temperature=0.5")


def test_another_input_does_not_go_on_with_the_rows(folder: Path) -> None:
    make(folder).close()
    (folder / "in.jsonl").write_text('{"prompt": "new"}\n')
    with pytest.raises(DataError, match=r"begun with input\.sha256"):
        make(folder)


def test_a_file_of_another_origin_is_not_overwritten(folder: Path) -> None:
    (folder / "out.jsonl").write_text("precious\n")
    with pytest.raises(DataError, match=r"out\.jsonl is already there, and out\.jsonl\.run\.json"):
        make(folder)


def test_places_where_nothing_can_be_written(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be written: "):
        make(folder, name="file/out.jsonl")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in\.jsonl: cannot be read: No such file"):
        make(tmp_path)


def test_an_endpoint_with_faults_gives_the_same_rows(folder: Path) -> None:
    pytest.importorskip("openai")
    from coalm.engines.openai import OpenAIEngine

    faults = [Fault(500, "oops"), None, Fault(drop=True), Fault(200, "{"), Fault(429, "{}")] * 3
    run(make(folder, name="whole.jsonl"), ScriptedEngine(reply))
    with ScriptedEndpoint(reply, faults) as endpoint:
        for done in (2, 4):
            engine = OpenAIEngine(
                "m", url=endpoint.url, workers=3, max_retries=20, backoff=(0.01, 0.05)
            )
            with closing(make(folder, "engine=OPENAI")) as batch, closing(engine):
                list(islice(batch.answer(engine, PARAMS), done))
        engine = OpenAIEngine("m", url=endpoint.url, workers=3, backoff=(0.01, 0.05))
        with closing(engine):
            run(make(folder, "engine=OPENAI"), engine)
    assert (folder / "out.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
