from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import EvalError, MissingExtraError
from coalm.evals.apibank.task import ApiBank
from coalm.evals.compare import compare, compare_runs, load_runs
from coalm.evals.config import EvalConfig
from coalm.evals.picture import draw, make_figure
from coalm.evals.report import markdown, summary
from coalm.evals.runner import begin, generate, score
from coalm.evals.runs import INFO, ROWS, ScoredRun
from coalm.types import Prompt

FIXTURES = Path(__file__).parents[1] / "fixtures" / "apibank"
ALARM = '```\n[{"name": "SetAlarm", "arguments": {"token": "t-42", "time": "07:00"}}]\n```'
TODAY = '```\n[{"name": "GetToday", "arguments": {}}]\n```'


def weak(prompt: Prompt) -> str:
    return TODAY if "What day" in prompt[-1].content else "I do not know."


def strong(prompt: Prompt) -> str:
    return ALARM if "token is t-42" in prompt[-1].content else weak(prompt).replace("[]", "[")


def run(folder: Path, answer: Callable[[Prompt], str], **changes: Any) -> ApiBank:
    config = EvalConfig.model_validate(
        {
            "model": {"model_name": "some|model"},
            "apibank": {"data_dir": FIXTURES},
            "output_dir": folder,
            **changes,
        }
    )
    task = ApiBank(config.apibank)
    ready = begin(config, task)
    for _ in generate(task, ready.pending, ScriptedEngine(answer), folder, SamplingParams(), 4):
        pass
    score(task, ready.samples, folder)
    return task


@pytest.fixture
def two(tmp_path: Path) -> tuple[ApiBank, list[ScoredRun]]:
    run(tmp_path / "base", weak)
    task = run(tmp_path / "tuned", strong)
    return task, load_runs([tmp_path / "base", tmp_path / "tuned"])


def test_what_changed_between_two_runs(two: tuple[ApiBank, list[ScoredRun]]) -> None:
    task, (base, tuned) = two
    change = compare(task, base, tuned, "l1")
    assert change is not None
    assert change.samples == 6
    assert change.better == ["apibank-l1-000", "apibank-l1-003"]
    assert change.worse == []
    gain = change.figures["exact call"]
    assert gain.value == pytest.approx(100 / 3)
    assert gain.low == 0
    back = compare(task, tuned, base, "l1")
    assert back is not None
    assert back.worse == change.better
    assert back.figures["exact call"].value == pytest.approx(-100 / 3)


def test_runs_without_a_common_sample_are_not_compared(tmp_path: Path) -> None:
    run(tmp_path / "a", weak, apibank={"data_dir": FIXTURES, "levels": (1,)})
    task = run(tmp_path / "b", weak, apibank={"data_dir": FIXTURES, "levels": (2,)})
    runs = load_runs([tmp_path / "a", tmp_path / "b"])
    assert compare(task, *runs, "l1") is None
    lines = map(_cells, markdown(compare_runs(task, runs)).splitlines())
    level_1, level_1_clean, level_2, _ = (line for line in lines if line[0] == "rouge-l")
    assert level_1[2:] == level_1_clean[2:] == ["-", "-"]
    assert level_2[1] == level_2[3] == "-"


def test_the_report(two: tuple[ApiBank, list[ScoredRun]]) -> None:
    task, runs = two
    text = markdown(compare_runs(task, runs))
    lines = text.splitlines()
    assert lines[0] == "# apibank"
    assert "## Level 1: call an API that is given" in lines
    cells = next(_cells(line) for line in lines if line.startswith("| exact call"))
    assert cells[1].startswith("16.7 (0.0 to ")
    assert cells[2].startswith("50.0 (")
    assert cells[3].startswith("+33.3 (+0.0 to ")
    assert ["verdict", "base", "tuned"] in map(_cells, lines)
    assert ["no call", "5", "3"] in map(_cells, lines)
    assert ["SetAlarm.time", "0 of 3", "2 of 3"] in map(_cells, lines)
    assert "- better in 2 of 6 samples: apibank-l1-000, apibank-l1-003" in lines
    assert "- worse in 0 of 6 samples" in lines
    assert any(
        line.startswith("Task apibank version 1, prompts hammer version 1") for line in lines
    )
    assert any("original/apibank_l1.json " in line for line in lines)
    assert any(r"some\|model" in line for line in lines)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_tables_line_up_as_plain_text(two: tuple[ApiBank, list[ScoredRun]]) -> None:
    blocks = markdown(compare_runs(*two)).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) > 8
    assert all(len({len(line) for line in table}) == 1 for table in tables)


def test_a_difference_is_bold_when_it_is_sure(tmp_path: Path) -> None:
    data = thirty_rows(tmp_path / "data")
    given = {"apibank": {"data_dir": data, "levels": (1,)}}
    run(tmp_path / "base", lambda prompt: "", **given)
    task = run(tmp_path / "tuned", lambda prompt: TODAY, **given)
    runs = load_runs([tmp_path / "base", tmp_path / "tuned"])
    rows = map(_cells, markdown(compare_runs(task, runs)).splitlines())
    assert next(cells for cells in rows if cells[0] == "rouge-1")[3].startswith("**+")
    difference = _cells(summary(task, runs).splitlines()[4])
    assert difference[:3] == ["l1", "tuned - base", "30"]
    assert difference[3].startswith("**+")


def thirty_rows(folder: Path) -> Path:
    for form in ("original", "hammer"):
        (folder / form).mkdir(parents=True)
        rows = json.loads((FIXTURES / form / "apibank_l1.json").read_text(encoding="utf-8"))
        text = json.dumps([rows[3]] * 30)
        (folder / form / "apibank_l1.json").write_text(text, encoding="utf-8")
    return folder


def test_the_summary_has_a_line_per_group_run_and_difference(
    two: tuple[ApiBank, list[ScoredRun]],
) -> None:
    lines = [_cells(line) for line in summary(*two).splitlines()]
    assert lines[0] == ["group", "run", "samples", "rouge-l", "bleu-4", "f1 param", "exact call"]
    assert [line[:3] for line in lines[2:]] == [
        [group, name, count]
        for group, count in (("l1", "6"), ("l1-clean", "3"), ("l2", "3"), ("l2-clean", "1"))
        for name in ("base", "tuned", "tuned - base")
    ]
    # few samples: the difference may be large, it is not sure
    assert lines[4][6] == "+33.3 (+0.0 to +66.7)"
    assert not any("**" in cell for line in lines for cell in line)


def test_one_run_alone_is_a_report(tmp_path: Path) -> None:
    task = run(tmp_path / "base", weak)
    text = markdown(compare_runs(task, load_runs([tmp_path / "base"])))
    assert "better in" not in text
    assert "| figure          | base" in text


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    for folder in folders:
        run(folder, weak)
    assert [run.name for run in load_runs(folders)] == [str(folder) for folder in folders]


def test_a_run_without_scores_says_how_to_get_them(tmp_path: Path) -> None:
    run(tmp_path / "base", weak)
    (tmp_path / "base" / ROWS).write_text("", encoding="utf-8")
    with pytest.raises(
        EvalError, match=r"base: no scores yet; run `coalm eval score .*base` first"
    ):
        load_runs([tmp_path / "base"])


def test_scores_of_different_versions_are_not_mixed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, weak)
    record = json.loads((tmp_path / "b" / INFO).read_text(encoding="utf-8"))
    record["task"]["version"] = "0"
    (tmp_path / "b" / INFO).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(
        EvalError, match="a and b do not belong in one table: task version is 1 and 0"
    ):
        load_runs([tmp_path / "a", tmp_path / "b"])


def test_the_picture_is_a_png_with_a_panel_per_group(
    two: tuple[ApiBank, list[ScoredRun]], tmp_path: Path
) -> None:
    task, runs = two
    draw(compare_runs(task, runs), tmp_path / "four.png")
    draw(compare_runs(task, runs[:1]), tmp_path / "one.png")
    for name in ("four.png", "one.png"):
        data = (tmp_path / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert width > 3 * height > 0


def test_the_picture_names_groups_runs_and_figures(two: tuple[ApiBank, list[ScoredRun]]) -> None:
    figure = make_figure(compare_runs(*two))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "tuned"]
    assert [panel.get_title() for panel in figure.axes] == ["l1", "l1-clean", "l2", "l2-clean"]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights[3] == pytest.approx(100 / 6)
    assert heights[7] == pytest.approx(50)


def test_without_matplotlib_the_install_line_is_named(
    two: tuple[ApiBank, list[ScoredRun]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib is not installed.*coalm\[eval\]"):
        draw(compare_runs(*two), tmp_path / "none.png")
