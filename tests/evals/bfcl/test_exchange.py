"""Official result files, out of a run and into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coalm import assets
from coalm.cli.eval import app
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import CoalmError, DataError, EvalError
from coalm.evals import load_task
from coalm.evals.bfcl.data import ASSET, Entry, load_category
from coalm.evals.bfcl.exchange import export_run, import_run
from coalm.evals.bfcl.task import Bfcl
from coalm.evals.config import EvalConfig
from coalm.evals.runner import begin, generate, score
from coalm.evals.runs import read_info, read_rows

pytestmark = pytest.mark.skipif(
    not assets.state(ASSET).present, reason=f"the asset {ASSET} is not on this machine"
)


def write(folder: Path, category: str, results: list[tuple[str, Any]], **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"BFCL_v3_{category}_result.json"
    rows = [{"id": name, "result": result, **more} for name, result in results]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scored(folder: Path) -> dict[str, str]:
    """Sample to verdict of a run that is scored now."""
    config = read_info(folder).config
    benchmark = Bfcl(config.bfcl)
    score(benchmark, benchmark.samples(), folder)
    return {row.id: row.score.verdict for row in read_rows(folder) if row.score}


FACTORIAL = "[math.factorial(number=5)]"


def test_replies_of_one_turn_come_back(tmp_path: Path) -> None:
    results: list[tuple[str, Any]] = [("simple_1", FACTORIAL), ("simple_0", "Sure!")]
    path = write(
        tmp_path / "m", "simple", results, latency=2.5, input_token_count=7, output_token_count=3
    )
    import_run([path], tmp_path / "run", "m")
    info = read_info(tmp_path / "run")
    assert [*info.imported] == [path.name]
    assert (info.samples, info.config.bfcl.categories) == (400, ("simple",))
    assert info.config.model.model_name == "m"
    assert scored(tmp_path / "run") == {
        "simple_0": "ast_decoder:decoder_failed",
        "simple_1": "right",
    }
    row = read_rows(tmp_path / "run")[1]
    assert (row.raw, row.seconds, row.prompt_tokens, row.completion_tokens) == (
        (FACTORIAL,),
        2.5,
        7,
        3,
    )
    (written,) = export_run(tmp_path / "run", tmp_path / "out")
    assert written == tmp_path / "out" / "uiuc-convai_CoALM-8B" / path.name
    assert read(written) == [
        {
            "id": name,
            "result": result,
            "input_token_count": 7,
            "output_token_count": 3,
            "latency": 2.5,
        }
        for name, result in reversed(results)
    ]


def test_calls_of_an_engine_come_back(tmp_path: Path) -> None:
    good = [{"math_factorial": '{"number": 5}'}]
    results: list[tuple[str, Any]] = [
        ("simple_1", good),
        ("simple_0", [{"calculate_triangle_area": "{no json"}]),
        ("simple_2", []),
        ("simple_3", "I cannot."),
    ]
    write(tmp_path / "m", "simple", results)
    import_run([tmp_path / "m"], tmp_path / "run", "m")
    assert read_info(tmp_path / "run").config.bfcl.style == "calls"
    assert scored(tmp_path / "run") == {
        "simple_0": "ast_decoder:decoder_failed",
        "simple_1": "right",
        "simple_2": "simple_function_checker:wrong_count",
        "simple_3": "ast_decoder:decoder_failed",
    }
    conversation = read_rows(tmp_path / "run")[1].conversation
    assert conversation is not None
    assert conversation.messages[-1].tool_calls[0].arguments == {"number": 5}
    (written,) = export_run(tmp_path / "run", tmp_path / "out")
    assert {row["id"]: row["result"] for row in read(written)} == dict(results)


def _has_names_only(entry: Entry) -> bool:
    calls = (call for calls in entry.answer for call in calls)
    return all("=" in call or call.endswith("()") for call in calls)


@pytest.mark.parametrize("style", ["prompt", "calls"])
def test_dialogues_come_back(style: str, tmp_path: Path) -> None:
    def reply(call: str) -> Any:
        return f"[{call}]" if style == "prompt" else [{"pwd": "{}"}]

    # positional arguments are lost in the official decoding, so a dialogue without any
    entries = [e for e in load_category("multi_turn_base") if _has_names_only(e)][:3]
    results: list[tuple[str, Any]] = [
        (entries[0].id, [[*map(reply, calls), "Done."] for calls in entries[0].answer]),
        (entries[1].id, [[reply("ls()")]]),
        (entries[2].id, "Error during inference: no memory"),
    ]
    write(tmp_path / "m", "multi_turn_base", results, latency=[[1.0, 2.0], [0.5]])
    import_run([tmp_path / "m"], tmp_path / "run", "m")
    verdicts = scored(tmp_path / "run")
    assert verdicts[entries[1].id] == "multi_turn:force_terminated"
    assert verdicts[entries[2].id] == "multi_turn:inference_error"
    if style == "prompt":
        assert verdicts[entries[0].id] == "right"
    row = read_rows(tmp_path / "run")[0]
    assert row.seconds == 3.5
    assert row.conversation is not None
    roles = [message.role for message in row.conversation.messages]
    assert roles.count("user") == len(entries[0].answer)
    assert roles.count("tool") == sum(map(len, entries[0].answer))
    (written,) = export_run(tmp_path / "run", tmp_path / "out")
    assert {row["id"]: row["result"] for row in read(written)} == dict(results)


def test_the_entry_that_comes_twice_stays_two(tmp_path: Path) -> None:
    results = [(e.id, f"[f(n={n})]") for n, e in enumerate(load_category("live_relevance"))]
    write(tmp_path / "m", "live_relevance", results)
    import_run([tmp_path / "m"], tmp_path / "run", "m")
    assert len(scored(tmp_path / "run")) == 18
    (written,) = export_run(tmp_path / "run", tmp_path / "out", "a/b")
    assert written.parent.name == "a_b"
    assert [(row["id"], row["result"]) for row in read(written)] == results


def test_a_run_of_ours_goes_out_and_in_with_the_same_verdicts(tmp_path: Path) -> None:
    config = EvalConfig.model_validate(
        {
            "task": "bfcl",
            "bfcl": {"categories": ["simple", "irrelevance", "multi_turn_base"]},
            "limit": 12,
            "output_dir": str(tmp_path / "run"),
            "model": {"model_name": "scripted"},
        }
    )
    benchmark = Bfcl(config.bfcl)
    run = begin(config, benchmark)
    engine = ScriptedEngine(lambda prompt: "[ls()]" if prompt[-1].role == "user" else "Done.")
    for _ in generate(benchmark, run.pending, engine, run.folder, SamplingParams(), 4):
        pass
    score(benchmark, run.samples, run.folder)
    before = {row.id: row.score.verdict for row in read_rows(run.folder) if row.score}
    export_run(run.folder, tmp_path / "out", "m")
    import_run([tmp_path / "out" / "m"], tmp_path / "again", "m")
    assert scored(tmp_path / "again") == before


@pytest.mark.parametrize(
    ("category", "results", "kind", "message"),
    [
        ("simple", [("simple_0", "a"), ("simple_0", "b")], EvalError, "more than once"),
        ("simple", [("simple_9999", "a")], EvalError, "'simple_9999' is no BFCL entry"),
        ("sql", [("sql_0", "a")], EvalError, ":1: 'sql_0' is no BFCL entry that is scored"),
    ],
)
def test_files_that_cannot_be_a_run(
    category: str, results: Any, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, category, results)
    with pytest.raises(kind, match=message):
        import_run([path], tmp_path / "run", "m")


def test_lines_and_folders_that_hold_no_results(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"no file BFCL_v3_CATEGORY_result\.json"):
        import_run([tmp_path], tmp_path / "run", "m")
    path = tmp_path / "x.json"
    path.write_text('{"id": "simple_0"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"x.json:1: a line of results has `id` and `result`"):
        import_run([path], tmp_path / "run", "m")


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    path = write(tmp_path / "m", "simple", [("simple_0", "a")])
    import_run([path], tmp_path / "run", "m")
    with pytest.raises(EvalError, match="holds a run already; choose another --out"):
        import_run([path], tmp_path / "run", "m")


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, CoalmError):
        raise result.exception
    return result.stdout


def test_the_commands(tmp_path: Path) -> None:
    write(tmp_path / "org_m", "simple", [("simple_1", FACTORIAL)])
    said = call("import", tmp_path / "org_m", "--out", tmp_path / "run")
    assert "| simple   | run | 1       | 100.0 (100.0 to 100.0) |" in said
    assert read_info(tmp_path / "run").config.model.model_name == "org_m"
    said = call("export", tmp_path / "run", "--out", tmp_path / "out", "--model", "org/m")
    assert said == f"written: 1 files in {tmp_path / 'out' / 'org_m'}\n"
    said = call("score", tmp_path / "run", "bfcl.scoring=strict", "--out", tmp_path / "strict")
    assert "| simple   | strict | 1       | 100.0" in said
    assert read_info(tmp_path / "strict").config.bfcl.scoring == "strict"
    assert read_info(tmp_path / "run").config.bfcl.scoring == "compat"


def test_only_bfcl_has_result_files(tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "fixtures" / "apibank"
    given = {"model": {"model_name": "m"}, "apibank": {"data_dir": data}, "output_dir": tmp_path}
    config = EvalConfig.model_validate(given)
    begin(config, load_task(config))
    with pytest.raises(EvalError, match="a run of apibank; only bfcl has official files"):
        export_run(tmp_path, tmp_path / "out")
