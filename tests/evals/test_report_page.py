from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import ContextError
from coalm.evals.apibank.task import ApiBank
from coalm.evals.bars import Cluster, draw_bars
from coalm.evals.base import Sample, SampleResult, Score
from coalm.evals.compare import compare_runs, load_runs
from coalm.evals.config import EvalConfig
from coalm.evals.intervals import Interval
from coalm.evals.report_page import report_page
from coalm.evals.runner import begin, generate, score
from coalm.evals.runs import read_rows, write_rows
from coalm.types import Conversation, Message, Prompt, ToolCall

FIXTURES = Path(__file__).parents[1] / "fixtures" / "apibank"
HOSTILE = "</script><script>alert('x')</script><b>&lt;\u2028"


def run(folder: Path, answer: Any) -> ApiBank:
    config = EvalConfig.model_validate(
        {
            "model": {"model_name": "m"},
            "apibank": {"data_dir": FIXTURES},
            "output_dir": folder,
        }
    )
    task = ApiBank(config.apibank)
    ready = begin(config, task)
    for _ in generate(task, ready.pending, ScriptedEngine(answer), folder, SamplingParams(), 4):
        pass
    score(task, ready.samples, folder)
    return task


def today(prompt: Prompt) -> str:
    return '```\n[{"name": "GetToday", "arguments": {}}]\n```'


def page_of(task: ApiBank, *folders: Path) -> str:
    return report_page(compare_runs(task, load_runs(folders)), task.samples())


def records(page: str) -> dict[str, dict[str, Any]]:
    """The browsable records with their texts in place."""
    found = re.search(r'id="records">(.*?)</script>', page, re.S)
    assert found
    payload = json.loads(found[1])
    texts = payload["texts"]

    def content(value: Any) -> Any:
        return texts[value] if isinstance(value, int) else [(who, texts[at]) for who, at in value]

    return {
        record["id"]: {
            "note": record["note"],
            "tags": record["tags"],
            **{title: content(value) for title, value, _ in record["parts"]},
        }
        for record in payload["records"]
    }


def test_a_sample_shows_question_reply_verdict_and_right_answer(tmp_path: Path) -> None:
    task = run(tmp_path / "base", lambda prompt: HOSTILE)
    page = page_of(task, tmp_path / "base")
    found = records(page)
    assert [*found] == [sample.id for sample in task.samples()]
    record = found["apibank-l1-000"]
    assert record["note"] == "no call"
    ((who, asked),) = record["asked"]
    assert who == "user"
    assert asked == task.samples()[0].conversation.messages[0].content
    assert record["raw text"] == [("reply 1, ended by stop", HOSTILE)]
    assert ("verdict", "no call") in record["verdict"]
    assert '"label"' in record["right answer"]
    assert "<script>alert" not in page


def test_two_runs_are_told_apart_and_compared(tmp_path: Path) -> None:
    run(tmp_path / "base", lambda prompt: "no")
    task = run(tmp_path / "tuned", today)
    page = page_of(task, tmp_path / "base", tmp_path / "tuned")
    better = [r for r in records(page).values() if ["tuned is better"] in r["tags"]]
    assert better
    assert better[0]["note"] == "no call / exact"
    assert {"base: verdict", "tuned: verdict", "base: raw text", "tuned: raw text"} <= {*better[0]}
    assert f"tuned against base: better in {len(better)} of 6 samples" in page
    assert '<a href="#record=apibank-' in page
    assert "Beside published figures (CoALM paper" in page
    assert "CoALM 405B" in page


def test_every_link_of_the_page_leads_somewhere(tmp_path: Path) -> None:
    run(tmp_path / "a", lambda prompt: "no")
    task = run(tmp_path / "b", today)
    page = page_of(task, tmp_path / "a", tmp_path / "b")
    ids = {*re.findall(r' id="([^"]+)"', page)}
    places = {*re.findall(r'href="#([^"]+)"', page)}
    assert {place for place in places if not place.startswith("record=")} <= ids
    named = {place.removeprefix("record=") for place in places if place.startswith("record=")}
    assert named <= {sample.id for sample in task.samples()}


def test_dialogues_show_calls_results_thoughts_and_what_belongs_to_a_turn(tmp_path: Path) -> None:
    task = run(tmp_path / "run", lambda prompt: "no")
    rows = read_rows(tmp_path / "run")
    said = (
        Message(role="user", content="a table"),
        Message(
            role="assistant",
            thought="look",
            tool_calls=(ToolCall(name="find", arguments={"food": "thai"}),),
        ),
        Message(role="tool", name="find", content="[]"),
        Message(role="assistant", content="none"),
        Message(role="user", content="bye"),
        Message(role="assistant", tool_calls=(ToolCall(raw="f(", error="no end"),)),
    )
    metadata: Any = {"states": [{"food": "thai"}, {}], "other": [1, 2, 3]}
    changed = rows[0].model_copy(
        update={
            "conversation": Conversation(id=rows[0].id, messages=said),
            "score": Score(values=rows[0].score.values, verdict="v", metadata=metadata)
            if rows[0].score
            else None,
        }
    )
    write_rows(tmp_path / "run", [changed, *rows[1:]])
    record = records(page_of(task, tmp_path / "run"))[rows[0].id]
    assert record["dialogue"] == [
        ("user", "a table"),
        ("assistant, thought", "look"),
        ("assistant, call", 'find({\n  "food": "thai"\n})'),
        ("tool find", "[]"),
        ("assistant", "none"),
        ("states", '{\n  "food": "thai"\n}'),
        ("user", "bye"),
        ("assistant, call that cannot be read: no end", "f("),
        ("states", "{}"),
    ]


class Full:
    """An engine whose context is always full."""

    def generate(self, prompts: Any, params: Any) -> Any:
        raise ContextError("9 tokens are too many")

    def close(self) -> None:
        pass


def test_a_dialogue_that_was_too_long_says_so(tmp_path: Path) -> None:
    config = EvalConfig.model_validate(
        {"model": {"model_name": "m"}, "apibank": {"data_dir": FIXTURES}, "output_dir": tmp_path}
    )
    task = ApiBank(config.apibank)
    ready = begin(config, task)
    rows: list[SampleResult] = [
        *generate(task, ready.pending, Full(), tmp_path, SamplingParams(), 2)
    ]
    assert all(row.too_long for row in rows)
    score(task, ready.samples, tmp_path)
    record = next(iter(records(page_of(task, tmp_path)).values()))
    assert record["note"] == "too long for the model"
    assert ("error", "9 tokens are too many") in record["verdict"]


def test_samples_without_a_row_are_left_out(tmp_path: Path) -> None:
    task = run(tmp_path, lambda prompt: "no")
    samples: list[Sample] = task.samples()
    write_rows(tmp_path, read_rows(tmp_path)[:2])
    assert [*records(page_of(task, tmp_path))] == [sample.id for sample in samples[:2]]


@pytest.mark.parametrize("runs", [["one"], ["one", "two", "<three>", "four", "five"]])
def test_bars_are_sound_svg(runs: list[str]) -> None:
    bars = [Interval(10.0 * n, 5.0 * n, 12.0 * n) for n in range(len(runs))]
    clusters = [Cluster("a & b", bars), Cluster("c", [None, *bars[1:]])]
    root = ElementTree.fromstring(draw_bars("title", runs, clusters))
    assert len(root.findall(".//rect")) == 2 * len(runs) - 1
    assert root.get("role") == "img"
    assert "a & b of one 0.0" in str(root.get("aria-label"))
    width = float(str(root.get("width")))
    for rect in root.iter("rect"):
        assert 0 < float(str(rect.get("x"))) < width
        assert float(str(rect.get("height"))) >= 0


def test_bars_beyond_a_hundred_still_fit() -> None:
    root = ElementTree.fromstring(draw_bars("t", ["a"], [Cluster("x", [Interval(150, 120, 170)])]))
    (rect,) = root.iter("rect")
    assert float(str(rect.get("y"))) > 0
