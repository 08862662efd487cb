from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from coalm.cli.data import app
from coalm.errors import CoalmError, ConfigError, DataError

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "data.yaml"
    path.write_text(
        f"output_dir: {tmp_path / 'out'}\n"
        f"root: {FIXTURES}\n"
        "sources: [snips, sgd]\n"
        "validation_share: 0.0\n"
    )
    return path


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, CoalmError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_build_prints_what_there_is_and_what_was_lost(recipe: Path, tmp_path: Path) -> None:
    output = run("build", "-c", recipe).output
    table = [line.split() for line in output.splitlines()]
    assert ["train", "sgd", "CRA", "react", "27"] in [row[:5] for row in table]
    assert ["all", "33"] in [row[:2] for row in table]
    assert "sgd: missing 1 (train/dialogues_003.json)" in output
    assert "sgd: left out, offer that no result holds: 1 (sgd/train/2_00000/01/reply)" in output
    assert "dropped: 5 (sgd/train/2_00000/03/reply, sgd/train/2_00000/05/call, ...)" in output
    assert f"written to {tmp_path / 'out'} in " in " ".join(output.split())
    assert (tmp_path / "out" / "manifest.json").exists()


def test_build_takes_keys_after_the_options(recipe: Path, tmp_path: Path) -> None:
    output = run("build", "-c", recipe, "sources=[snips]", f"--output_dir={tmp_path / 'b'}").output
    assert "sgd" not in output
    assert (tmp_path / "b" / "train.jsonl").exists()


def test_a_wrong_key_is_an_error_of_one_line(recipe: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'seeds'; did you mean 'seed'\?"):
        run("build", "-c", recipe, "seeds=3")


def test_inspect_marks_what_is_learned(recipe: Path, tmp_path: Path) -> None:
    run("build", "-c", recipe, "sources=[sgd]")
    rows = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    number = [json.loads(row)["id"] for row in rows].index("sgd/train/1_00000/13/call")
    output = run("inspect", tmp_path / "out", "--index", number).output
    lines = output.splitlines()
    assert lines[0] == "sgd/train/1_00000/13/call"
    assert "system: Today is Friday, 2019-03-01." in lines
    assert "user: Right. Can one sit outside?" in lines
    assert any(line.startswith("result of FindTable: [{") for line in lines)
    assert [line.split(":")[0] for line in lines if line.startswith(">")] == ["> thought", "> call"]


def test_inspect_shows_several_samples_and_the_exact_text(recipe: Path, tmp_path: Path) -> None:
    run("build", "-c", recipe, "sources=[snips]")
    output = run("inspect", tmp_path / "out" / "train.jsonl", "--count", 2, "--prompt").output
    alpaca = (tmp_path / "out" / "train.alpaca.jsonl").read_text().splitlines()
    for row in map(json.loads, alpaca[:2]):
        assert f"{row['instruction']}\n\n{row['input']}\n{row['output']}\n" in output


def test_inspect_shows_control_characters_as_text(tmp_path: Path) -> None:
    row = {"id": "a", "messages": [{"role": "assistant", "content": "\x1b[2J [red]x"}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    assert r"> assistant: \x1b[2J [red]x" in run("inspect", tmp_path / "x.jsonl").output


def test_inspect_beyond_the_end_says_how_many_there_are(recipe: Path, tmp_path: Path) -> None:
    run("build", "-c", recipe, "sources=[snips]")
    with pytest.raises(DataError, match="no sample 4; there are 4, counted from 0"):
        run("inspect", tmp_path / "out", "--index", 4)


def test_stats_counts_again(recipe: Path, tmp_path: Path) -> None:
    run("build", "-c", recipe)
    output = run("stats", tmp_path / "out").output
    assert ["train", "snips", "TOD", "dst", "4"] in [r.split()[:5] for r in output.splitlines()]
    assert "tokens" not in output


def test_stats_counts_tokens_with_a_tokenizer(
    recipe: Path, tmp_path: Path, tiny_model: Path
) -> None:
    run("build", "-c", recipe, "sources=[snips]")
    output = run("stats", tmp_path / "out", "--tokenizer", tiny_model).output
    header, *rows = [line.split() for line in output.splitlines()]
    assert "in table 1 of the paper: snips 13,028 samples of 942.5 tokens" in output
    assert header[-4:] == ["samples", "tokens", "tokens", "each"]
    samples, tokens, each = int(rows[0][4]), rows[0][-2].replace(",", ""), float(rows[0][-1])
    assert int(tokens) / samples == pytest.approx(each, abs=0.05)
    assert each > 100


def test_stats_of_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(DataError, match="no sample in it"):
        run("stats", tmp_path / "x.jsonl")


def test_inspect_writes_a_page(recipe: Path, tmp_path: Path) -> None:
    run("build", "-c", recipe)
    page = tmp_path / "page.html"
    output = run("inspect", tmp_path / "out", "--html", page, "--count", 7).output
    assert output == f"7 samples written to {page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_inspect_shows_the_loss_mask_of_a_tokenizer(
    recipe: Path, tmp_path: Path, tiny_model: Path
) -> None:
    run("build", "-c", recipe, "sources=[snips]")
    page = tmp_path / "page.html"
    run("inspect", tmp_path / "out", "--html", page, "--tokenizer", tiny_model)
    found = re.search(r'id="records">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    data = json.loads(found[1])
    for record in data["records"]:
        pieces = record["parts"][0][1]["pieces"]
        learned = [data["texts"][text] for text, marked in pieces if marked]
        assert len(learned) == 1
        assert learned[0].startswith('System: {"domain": ')
        assert learned[0].endswith("}<|im_end|>")
        assert data["texts"][pieces[0][0]].startswith("<|im_start|>")


@pytest.mark.parametrize(
    ("target", "message"),
    [("missing/page.html", "cannot be written: No such file"), ("", "cannot be written: Is a dir")],
)
def test_a_page_that_cannot_be_written_is_an_error(
    recipe: Path, tmp_path: Path, target: str, message: str
) -> None:
    run("build", "-c", recipe, "sources=[snips]")
    with pytest.raises(DataError, match=message):
        run("inspect", tmp_path / "out", "--html", tmp_path / target)


def test_a_page_of_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(DataError, match="no sample in it"):
        run("inspect", tmp_path / "x.jsonl", "--html", tmp_path / "page.html")


def test_stats_can_go_into_the_card(recipe: Path, tmp_path: Path, tiny_model: Path) -> None:
    run("build", "-c", recipe, "sources=[snips,sgd]")
    card = tmp_path / "out" / "README.md"
    before = card.read_text(encoding="utf-8")
    output = run("stats", tmp_path / "out", "--tokenizer", tiny_model, "--card").output
    assert f"tokens of {tiny_model}" in " ".join(output.split())
    assert "82,236" in output
    after = card.read_text(encoding="utf-8")
    assert f"In tokens of `{tiny_model.name}`, beside table 1 of the paper" in after
    assert "| 13,028 | 942.5 |" in after
    head = after.partition("\nIn tokens")[0]
    assert before.startswith(head)
    run("stats", tmp_path / "out", "--card")
    assert card.read_text(encoding="utf-8") == before


def test_only_a_built_data_set_has_a_card(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        run("stats", tmp_path, "--card")
