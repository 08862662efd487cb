from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from coalm.cli.contamination import _bfcl_calls
from coalm.cli.data import app
from coalm.data.contamination import ExpectedCall
from coalm.errors import AssetError, CoalmError, DataError
from coalm.evals.apibank.data import gold_calls, load_level
from coalm.types import Conversation, Message

SAID = "I need a taxi from the museum to the harbour at a quarter past nine on Monday morning."


@pytest.fixture
def multiwoz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release with one dialogue, and no other benchmark."""
    folder = tmp_path / "raw" / "multiwoz"
    folder.mkdir(parents=True)
    state = {"taxi": {"book": {"booked": []}, "semi": {"destination": "harbour"}}}
    log = [{"text": SAID}, {"text": "What car type do you want to book now?", "metadata": state}]
    (folder / "data_2.4_test.json").write_text(json.dumps({"SNG01.json": {"goal": {}, "log": log}}))
    (folder / "testListFile.json").write_text("SNG01.json\n")
    monkeypatch.setenv("COALM_DATA", str(tmp_path / "raw"))
    monkeypatch.setenv("COALM_HOME", str(tmp_path / "home"))
    return folder


def write(path: Path, *messages: Message) -> Path:
    target = Message(role="assistant", content="Hm.")
    sample = Conversation(id="s/1", messages=(*messages, target), meta={"source": "mine"})
    path.write_text(sample.model_dump_json() + "\n")
    return path


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, ["contamination", *map(str, words)])
    if isinstance(result.exception, CoalmError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_what_is_shared_is_counted_and_shown(multiwoz: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", Message(role="user", content=f"Hello. {SAID}"))
    result = run(path, "--json", tmp_path / "found.json")
    rows = [line.split() for line in result.output.splitlines()]
    assert ["mine", "multiwoz", *["1", "1", "0", "0", "1", "1", "0", "0"]] in rows
    assert "words: s/1, multiwoz sng01: i need a taxi from the museum" in result.output
    assert "apibank: not looked for: " in result.output
    assert "bfcl: not looked for: " in result.output
    (overlap,) = json.loads((tmp_path / "found.json").read_text())
    assert overlap["found"]["words"]["samples"] == 1


def test_the_order_of_the_words_matters(multiwoz: Path, tmp_path: Path) -> None:
    words = " ".join(reversed(SAID.split()))
    result = run(write(tmp_path / "train.jsonl", Message(role="user", content=words)))
    rows = [line.split() for line in result.output.splitlines()]
    assert ["mine", "multiwoz", *["1", "0", "0", "0", "1", "0", "0", "0"]] in rows


def test_what_cannot_be_done_is_said(multiwoz: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match="--test sgd: there are multiwoz, apibank, bfcl"):
        run(path, "--test", "sgd")
    with pytest.raises(AssetError, match="coalm fetch apibank"):
        run(path, "--test", "apibank")
    with pytest.raises(DataError, match=r"nowhere/found\.json: cannot be written: No such file"):
        run(path, "--json", tmp_path / "nowhere" / "found.json")


def test_without_any_benchmark_there_is_nothing_to_look_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COALM_DATA", raising=False)
    monkeypatch.setenv("COALM_HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match="no benchmark is on this machine: see `coalm fetch`"):
        run(write(tmp_path / "train.jsonl"))


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        (
            {"find": {"city": ["Oslo"], "size": [2, ""]}},
            [ExpectedCall("i", "find", {"city": ["Oslo"], "size": [2, ""]}, frozenset({"size"}))],
        ),
        (
            ["cd(folder='a')", "sort('b')", "open.file(name='c', n=1)"],
            [
                ExpectedCall("i", "cd", {"folder": ["a"]}),
                ExpectedCall("i", "open.file", {"name": ["c"], "n": [1]}),
            ],
        ),
        (None, []),
    ],
)
def test_answers_of_bfcl_as_calls(answer: object, calls: list[ExpectedCall]) -> None:
    assert list(_bfcl_calls("i", answer)) == calls


@pytest.mark.real
def test_a_row_of_api_bank_in_the_training_data_is_found(tmp_path: Path) -> None:
    rows = load_level(1).rows
    row = next(r for r in rows if any(len(t.content.split()) > 16 for t in r.original.query))
    messages = [Message(role="user", content=turn.content) for turn in row.original.query]
    call = Message(role="assistant", tool_calls=gold_calls(row))
    result = run(write(tmp_path / "train.jsonl", *messages, call), "--test", "apibank")
    found = next(line.split() for line in result.output.splitlines() if "mine" in line)
    assert found[:2] == ["mine", "apibank"]
    assert (found[2], found[3], found[5]) == ("1", "1", "1")
    name = gold_calls(row)[0].name
    assert f"functions that mine calls and apibank expects: {name}" in result.output
    assert int(found[7]) >= 1
    assert int(found[9]) >= 1
