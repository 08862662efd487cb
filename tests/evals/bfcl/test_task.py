from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from coalm import assets
from coalm.agent.rollout import run_one
from coalm.config import load_config
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import ConfigError
from coalm.evals import EvalConfig
from coalm.evals.base import Sample, Score, add_up, subset
from coalm.evals.bfcl.categories import CATEGORIES, PARTS
from coalm.evals.bfcl.data import ASSET
from coalm.evals.bfcl.task import Bfcl, BfclConfig
from coalm.evals.compare import compare_runs, load_runs
from coalm.evals.intervals import intervals
from coalm.evals.report import markdown, summary
from coalm.evals.runner import begin, generate, score
from coalm.types import Conversation, Message, Prompt

pytestmark = pytest.mark.skipif(
    not assets.state(ASSET).present, reason=f"the asset {ASSET} is not on this machine"
)


def task(*categories: str, **settings: Any) -> Bfcl:
    return Bfcl(BfclConfig.model_validate({"categories": [*categories], **settings}))


def sample_of(benchmark: Bfcl, name: str) -> Sample:
    return next(sample for sample in benchmark.samples() if sample.id == name)


def asked(
    benchmark: Bfcl, sample: Sample, replies: Sequence[str] | Callable[[Prompt], str]
) -> tuple[list[Prompt], Conversation]:
    engine = ScriptedEngine(replies)
    params = SamplingParams(max_new_tokens=1000)
    conversation = run_one(benchmark.rollout(sample), engine, params)
    return engine.prompts, conversation


def fenced(*calls: tuple[str, dict[str, Any]]) -> str:
    rows = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return f"```\n{json.dumps(rows)}\n```"


def test_the_default_is_what_is_scored_today() -> None:
    samples = Bfcl(BfclConfig()).samples()
    assert len(samples) == len({sample.id for sample in samples}) == 4441
    assert samples[0].groups == ("simple", "non_live", "all")
    assert [s.id for s in samples if "#" in s.id] == ["live_relevance_3-3-0#2"]


def test_categories_and_parts_in_the_official_order() -> None:
    names = {sample.groups[0] for sample in task("exec", "java", "java", "exec_simple").samples()}
    assert names == {"java", *PARTS["exec"]}
    assert task("java", "simple").samples()[0].id == "simple_0"


def test_an_unknown_category_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no category 'simpel'; there are: non_live, live, mu"):
        BfclConfig(categories=("simpel",))


# prompts


def test_a_prompt_model_reads_the_functions_as_python_prints_them() -> None:
    benchmark = task("simple")
    sample = benchmark.samples()[0]
    (prompt,), _ = asked(benchmark, sample, ["[]"])
    assert [turn.role for turn in prompt] == ["system", "user"]
    assert "\n[{'name': 'calculate_triangle_area', 'description': '" in prompt[0].content
    assert "in Python 3 syntax." in prompt[0].content
    assert prompt[1].content.startswith("Find the area of a triangle with a base of 10")


def test_the_system_message_of_a_question_comes_behind_the_functions() -> None:
    benchmark = task("live_irrelevance")
    sample = next(
        s
        for s in benchmark.samples()
        if s.conversation.messages[0].content.count("\n\n") > 4
        and len(s.conversation.messages) == 2
    )
    (prompt,), _ = asked(benchmark, sample, ["no"])
    assert [turn.role for turn in prompt] == ["system", "user"]


def test_values_of_other_languages_are_asked_for_as_text() -> None:
    samples = task("java", "javascript").samples()
    java, javascript = (
        next(s for s in samples if s.id == name).conversation.messages[0].content
        for name in ("java_1", "javascript_5")
    )
    assert "This is Java HashMap type parameter" in java
    assert "'type': 'HashMap'" not in java
    assert "The dictionary entries have the following schema" in javascript
    assert "'properties': {'initialState'" not in javascript


def test_function_calling_reads_json_schema() -> None:
    benchmark = task("simple", "java", style="calls")
    samples = {sample.id: sample for sample in benchmark.samples()}
    (tool,) = samples["simple_1"].conversation.tools
    assert tool.name == "math_factorial"
    assert tool.parameters["type"] == "object"
    (java,) = samples["java_1"].conversation.tools
    assert java.properties["params"]["type"] == "string"
    (prompt,), _ = asked(benchmark, samples["simple_1"], ["```\n[]\n```"])
    assert [turn.role for turn in prompt] == ["user"]
    assert '"name": "math_factorial"' in prompt[0].content


# one turn


@pytest.mark.parametrize(
    ("style", "name", "reply", "verdict"),
    [
        ("prompt", "simple_1", "[math.factorial(number=5)]", "right"),
        ("prompt", "simple_1", "[math.factorial(number=6)]", "value_error:others"),
        ("prompt", "simple_1", "Sure!", "ast_decoder:decoder_failed"),
        ("calls", "simple_1", fenced(("math_factorial", {"number": 5})), "right"),
        (
            "calls",
            "simple_1",
            fenced(("math.factorial", {"number": 5})),
            "simple_function_checker:wrong_func_name",
        ),
        ("calls", "simple_1", "Sure!", "ast_decoder:decoder_failed"),
        ("calls", "simple_1", "```\n[{\n```", "ast_decoder:decoder_failed"),
        ("prompt", "irrelevance_0", "Sure!", "right"),
        ("calls", "irrelevance_0", "```\n[]\n```", "right"),
        ("calls", "irrelevance_0", fenced(("f", {})), "irrelevance_error:decoder_success"),
        ("prompt", "live_relevance_3-3-0#2", "[f()]", "right"),
        ("prompt", "exec_simple_66", "[math_gcd(a=450, b=300)]", "right"),
        ("calls", "exec_simple_66", fenced(("math_gcd", {"a": 450, "b": 300})), "right"),
        ("prompt", "rest_0", "[requests.get(url='u')]", "right (guessed)"),
        ("prompt", "rest_0", "[f()]", "proxy:other_call"),
    ],
)
def test_one_turn(style: str, name: str, reply: str, verdict: str) -> None:
    benchmark = task("simple", "irrelevance", "live_relevance", "exec_simple", "rest", style=style)
    sample = sample_of(benchmark, name)
    _, conversation = asked(benchmark, sample, [reply])
    found = benchmark.score(sample, conversation)
    assert found.verdict == verdict
    assert found.values["right"] == verdict.startswith("right")
    assert found.metadata["guessed"] is (name == "rest_0")


def test_a_score_says_what_was_decoded_and_whether_the_entry_is_at_fault() -> None:
    benchmark = task("java")
    sample = sample_of(benchmark, "java_36")
    _, conversation = asked(benchmark, sample, ["[Some.function_of_mine(a=1)]"])
    metadata = benchmark.score(sample, conversation).metadata
    assert metadata["decoded"] == "[{'Some.function_of_mine': {'a': '1'}}]"
    assert metadata["fault"] == "elements that are read as text have to be a number and a boolean"


@pytest.mark.parametrize("name", ["simple_0", "irrelevance_0", "multi_turn_base_0"])
def test_a_dialogue_that_failed_is_wrong(name: str) -> None:
    benchmark = task("simple", "irrelevance", "multi_turn_base")
    found = benchmark.score(sample_of(benchmark, name), None)
    assert (found.verdict, found.values["right"]) == ("inference_error", 0.0)


def test_lone_surrogates_do_no_harm() -> None:
    benchmark = task("simple")
    sample = sample_of(benchmark, "simple_0")
    _, conversation = asked(benchmark, sample, ["[calculate_triangle_area(\ud800='\ud800')]"])
    found = benchmark.score(sample, conversation)
    json.dumps([conversation.model_dump(), found.model_dump()], ensure_ascii=False).encode()
    assert found.verdict != "right"


# many turns

DIALOGUE = [
    ("cd", {"folder": "document"}),
    ("mkdir", {"dir_name": "temp"}),
    ("mv", {"source": "final_report.pdf", "destination": "temp"}),
    None,
    ("cd", {"folder": "temp"}),
    ("grep", {"file_name": "final_report.pdf", "pattern": "budget analysis"}),
    None,
    ("sort", {"file_name": "final_report.pdf"}),
    None,
    ("cd", {"folder": ".."}),
    ("mv", {"source": "previous_report.pdf", "destination": "temp"}),
    ("cd", {"folder": "temp"}),
    ("diff", {"file_name1": "final_report.pdf", "file_name2": "previous_report.pdf"}),
    None,
]
"""What solves `multi_turn_base_0`, one call per step; None ends a turn."""


def said(call: tuple[str, dict[str, Any]] | None, style: str) -> str:
    if call is None:
        return "Done."
    if style == "calls":
        return fenced(call)
    return f"[{call[0]}({', '.join(f'{key}={value!r}' for key, value in call[1].items())})]"


@pytest.mark.parametrize("style", ["prompt", "calls"])
def test_a_dialogue_is_run_and_scored(style: str) -> None:
    benchmark = task("multi_turn_base", style=style)
    sample = sample_of(benchmark, "multi_turn_base_0")
    prompts, conversation = asked(benchmark, sample, [said(call, style) for call in DIALOGUE])
    assert len(prompts) == len(DIALOGUE)
    assert conversation.meta == {"steps": [4, 3, 2, 5]}
    tools = [message.content for message in conversation.messages if message.role == "tool"]
    assert tools[:2] == ['{"current_working_directory": "document"}', "None"]
    assert tools[0] in prompts[1][-1].content
    assert benchmark.score(sample, conversation).verdict == "right"
    again = Conversation.model_validate_json(conversation.model_dump_json())
    assert benchmark.score(sample, again).verdict == "right"


def test_a_dialogue_without_calls_fails_at_its_first_turn() -> None:
    benchmark = task("multi_turn_base")
    sample = sample_of(benchmark, "multi_turn_base_0")
    prompts, conversation = asked(benchmark, sample, lambda prompt: "I cannot do that.")
    assert len(prompts) == 4
    found = benchmark.score(sample, conversation)
    assert found.verdict == "multi_turn:empty_turn_model_response"
    assert found.explanation == "no call in turn 0"


def test_a_model_that_never_ends_a_turn_is_stopped() -> None:
    benchmark = task("multi_turn_base")
    sample = sample_of(benchmark, "multi_turn_base_0")
    prompts, conversation = asked(benchmark, sample, lambda prompt: "[ls(a=True)]")
    assert len(prompts) == 21
    assert conversation.meta == {"steps": [21]}
    assert benchmark.score(sample, conversation).verdict == "multi_turn:force_terminated"


@pytest.mark.parametrize("style", ["prompt", "calls"])
def test_functions_that_come_later(style: str) -> None:
    benchmark = task("multi_turn_miss_func", style=style)
    sample = sample_of(benchmark, "multi_turn_miss_func_0")
    prompts, _ = asked(benchmark, sample, lambda prompt: "I need another function.")
    texts = ["\n".join(turn.content for turn in prompt) for prompt in prompts]
    mark = "'name': 'sort'" if style == "prompt" else '"name": "sort"'
    assert [mark in text for text in texts] == [False, False, False, True, True]
    assert ["I have updated some more functions" in text for text in texts][2:4] == [False, True]


# figures


def scores(benchmark: Bfcl, right: Callable[[Sample], bool]) -> list[Score]:
    wrong = [benchmark.score(sample, None) for sample in benchmark.samples()]
    return [
        found.model_copy(
            update={"values": {k: v or float(right(s)) for k, v in found.values.items()}}
        )
        for s, found in zip(benchmark.samples(), wrong, strict=True)
    ]


def test_all_right_is_100_percent_in_every_figure() -> None:
    benchmark = task(*PARTS)
    found = benchmark.aggregate(add_up(scores(benchmark, lambda s: True)))
    assert found == dict.fromkeys(benchmark.figures, 100.0)


def test_figures_follow_the_official_formulas() -> None:
    benchmark = task("non_live", "live", "multi_turn")
    right = {"simple", "live_simple", "multi_turn_base", "irrelevance"}
    found = benchmark.aggregate(add_up(scores(benchmark, lambda s: s.groups[0] in right)))
    assert {name: round(value, 3) for name, value in found.items()} == {
        "accuracy": round(100 * (400 + 258 + 200 + 240) / 4441, 3),
        "overall": round(100 * ((1 / 3 + 1) / 5 + 258 / 2251 + 1 / 4) / 3, 3),
        "non-live AST": round(100 / 3 / 4, 3),
        "live": round(100 * 258 / 2251, 3),
        "multi-turn": 25.0,
        "relevance": 0.0,
        "irrelevance": 50.0,
    }


def test_only_figures_that_the_samples_allow() -> None:
    benchmark = task("java", "exec_simple")
    everything = scores(benchmark, lambda s: True)
    java = [s for s in everything if "java" in s.values]
    assert benchmark.aggregate(add_up(java)) == {"accuracy": 100.0}
    found = benchmark.aggregate(add_up(everything))
    assert found == dict.fromkeys(["accuracy", "accuracy (guessed)", "exec (offline part)"], 100.0)


def test_a_guess_is_never_part_of_the_accuracy() -> None:
    benchmark = task("exec_simple", "rest")
    everything = scores(benchmark, lambda s: False)
    guessed = [s.metadata["guessed"] for s in everything]
    assert sum(map(bool, guessed)) == 70 + 38
    right = [
        s.model_copy(update={"values": {**s.values, "right": 1.0, "guessed right": 1.0}})
        if s.metadata["guessed"]
        else s
        for s in everything
    ]
    found = benchmark.aggregate(add_up(right))
    assert (found["accuracy"], found["accuracy (guessed)"]) == (0.0, 100.0)
    rest = benchmark.aggregate(add_up([s for s in right if "rest" in s.values]))
    assert rest == {"accuracy (guessed)": 100.0}
    assert benchmark.main_figures[-1] == "accuracy (guessed)"


def test_intervals_survive_a_category_that_a_draw_misses() -> None:
    benchmark = task("non_live", "live", "multi_turn")
    samples = subset(benchmark.samples(), 60, 0)
    assert {sample.groups[0] for sample in samples} == {
        name for name, category in CATEGORIES.items() if not category.retired
    }
    found = intervals(benchmark, [benchmark.score(sample, None) for sample in samples])
    assert found["overall"] == (0.0, 0.0, 0.0)


# the whole way


def test_a_run_is_generated_scored_and_reported(tmp_path: Path) -> None:
    config = EvalConfig.model_validate(
        {
            "task": "bfcl",
            "bfcl": {"categories": ["simple", "multi_turn_base", "exec_simple"]},
            "limit": 14,
            "output_dir": str(tmp_path / "run"),
            "model": {"model_name": "scripted"},
        }
    )
    benchmark = Bfcl(config.bfcl)
    run = begin(config, benchmark)
    engine = ScriptedEngine(lambda prompt: "[ls()]" if prompt[-1].role == "user" else "Done.")
    rows = [*generate(benchmark, run.pending, engine, run.folder, SamplingParams(), 4)]
    assert len(rows) == 14
    assert not any(row.error for row in rows)
    assert begin(config, benchmark).pending == []
    metrics = score(benchmark, run.samples, run.folder)
    assert metrics.groups["simple"].figures == {"accuracy": 0.0}
    assert metrics.groups["all"].samples == 14
    loaded = load_runs([run.folder])
    assert "accuracy" in summary(benchmark, loaded)
    text = markdown(compare_runs(benchmark, loaded))
    assert "## Category multi_turn_base" in text
    assert "exec (offline part)" in text


def test_the_answer_is_not_part_of_what_the_model_sees() -> None:
    for sample in task("simple", "multi_turn_base").samples():
        assert sample.conversation.meta == {}
        assert all(m.role in ("system", "user") for m in sample.conversation.messages)


def test_a_message_behind_the_question_is_no_reply() -> None:
    benchmark = task("live_irrelevance")
    spoken = [
        s
        for s in benchmark.samples()
        if any(m.role == "assistant" for m in s.conversation.messages)
    ]
    assert spoken
    replied = spoken[0].conversation.extended(Message(role="assistant", content="[f()]"))
    assert benchmark.score(spoken[0], replied).verdict == "irrelevance_error:decoder_success"


def test_an_unknown_category_in_a_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "eval.yaml"
    path.write_text(
        "task: bfcl\nbfcl: {categories: [simpel]}\nmodel: {model_name: x}\noutput_dir: x\n"
    )
    with pytest.raises(ConfigError, match="no category 'simpel'"):
        load_config(EvalConfig, path)


def test_dialogues_that_outgrow_the_context_end_in_a_defined_state(
    tmp_path: Path, tiny_model: Path
) -> None:
    from coalm.engines.hf import HfEngine

    config = EvalConfig.model_validate(
        {
            "task": "bfcl",
            "bfcl": {"categories": ["multi_turn_base", "multi_turn_long_context"]},
            "limit": 6,
            "output_dir": str(tmp_path / "run"),
            "model": {"model_name": str(tiny_model)},
        }
    )
    benchmark = Bfcl(config.bfcl)
    run = begin(config, benchmark)
    engine = HfEngine(tiny_model)
    rows = [*generate(benchmark, run.pending, engine, run.folder, SamplingParams(), 4)]
    engine.close()
    assert [row.too_long for row in rows] == [True] * 6
    assert all("the context of" in str(row.error) for row in rows)
    assert begin(config, benchmark).pending == []
    metrics = score(benchmark, run.samples, run.folder)
    assert (metrics.too_long, metrics.groups["all"].figures["accuracy"]) == (6, 0.0)
