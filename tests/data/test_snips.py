from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from coalm.data.config import SnipsConfig
from coalm.data.files import Copy
from coalm.data.snips import SnipsSource
from coalm.formats import get_format
from coalm.tools import check_arguments
from coalm.types import Conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "snips"
TRAIN = "2017-06-custom-intent-engines/PlaySong/train_PlaySong_full.json"


def read(root: Path) -> tuple[SnipsSource, list[Conversation]]:
    source = SnipsSource(Copy(root), SnipsConfig(), 7)
    return source, list(source.conversations())


def texts(samples: list[Conversation]) -> dict[str, str]:
    return {sample.id: sample.messages[0].content for sample in samples}


def answer(sample: Conversation) -> tuple[str, dict[str, object]]:
    (call,) = sample.messages[-1].tool_calls
    return call.name, dict(call.arguments)


def test_white_space_is_squeezed_in_sentence_and_values() -> None:
    _, samples = read(FIXTURE)
    sample = next(s for s in samples if s.id == "snips/PlaySong/train/00001")
    assert sample.messages[0].content == "play Café del Mar on radio"
    assert answer(sample) == ("PlaySong", {"album": "Café del Mar", "service": "radio"})


def test_an_emoji_written_as_two_surrogates_is_joined() -> None:
    _, samples = read(FIXTURE)
    sample = next(s for s in samples if s.id == "snips/PlaySong/train/00002")
    assert sample.messages[0].content == "play \U0001f355 time now"
    sample.messages[0].content.encode()


def test_a_slot_that_occurs_twice_keeps_both_values() -> None:
    _, samples = read(FIXTURE)
    sample = next(s for s in samples if s.id == "snips/PlaySong/train/00003")
    assert answer(sample)[1] == {"artist": ["Nena", "Falco"]}
    reply = get_format("dst").render_reply(sample.messages[-1])
    assert reply == 'System: {"domain": "PlaySong", "slot_values": {"artist": ["Nena", "Falco"]}}'


def test_all_samples_share_one_list_of_intents_and_fit_it() -> None:
    _, samples = read(FIXTURE)
    for sample in samples:
        assert sample.tools == samples[0].tools
        (call,) = sample.messages[-1].tool_calls
        schema = next(tool for tool in sample.tools if tool.name == call.name)
        assert check_arguments(schema, call.arguments) == call.arguments
    shown = {tool.name: list(tool.properties) for tool in samples[0].tools}
    assert shown == {
        "OpenDoor": ["colour"],
        "PlaySong": ["album", "artist", "item", "service", "track"],
    }


def test_parts_are_kept_and_validation_sentences_are_not_trained_on() -> None:
    source, samples = read(FIXTURE)
    assert {(s.id, s.meta["split"]) for s in samples} == {
        ("snips/OpenDoor/train/00001", "train"),
        ("snips/OpenDoor/validation/00001", "validation"),
        ("snips/PlaySong/train/00001", "train"),
        ("snips/PlaySong/train/00002", "train"),
        ("snips/PlaySong/train/00003", "train"),
        ("snips/PlaySong/validation/00001", "validation"),
    }
    assert source.ledger.rejected == [
        (f"{TRAIN}: row 4", "sentence is in the validation files too", "")
    ]


@pytest.mark.parametrize("indent", [None, 4])
def test_folders_without_the_upstream_folder_are_read_too(
    tmp_path: Path, indent: int | None
) -> None:
    row = {"data": [{"text": "say "}, {"text": "hello", "entity": "word"}]}
    for name in ("train_Speak_full.json", "validate_Speak.json"):
        path = tmp_path / "Speak" / name
        path.parent.mkdir(exist_ok=True)
        data = row if name.startswith("train") else {"data": [{"text": "say it"}]}
        path.write_text(json.dumps({"Speak": [data]}, indent=indent))
    _, samples = read(tmp_path)
    assert sorted(texts(samples).values()) == ["say hello", "say it"]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"data": [{"text": 3}]}, "not a sentence", "data.0.text: Input should be a valid string"),
        ({"date": []}, "not a sentence", "data: Field required"),
        ([], "not a sentence", "Input should be a valid dictionary or instance of _Row"),
        ({"data": [{"text": " \n"}]}, "empty sentence or slot value", "''"),
        (
            {"data": [{"text": "play"}, {"text": " ", "entity": "x"}]},
            "empty sentence or slot value",
            "'play'",
        ),
    ],
)
def test_a_bad_row_is_named_and_the_rest_is_built(
    tmp_path: Path, row: object, reason: str, detail: str
) -> None:
    shutil.copytree(FIXTURE, tmp_path / "snips")
    path = tmp_path / "snips" / TRAIN
    data = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    data["PlaySong"].insert(1, row)
    path.write_text(json.dumps(data))
    source, samples = read(tmp_path / "snips")
    assert source.ledger.rejected[0] == (f"{TRAIN}: row 2", reason, detail)
    assert len(samples) == 6


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b'{"PlaySong": [{"data": [{"te', ": row 1", "not JSON"),
        (b'{"PlaySong": [{"data": [{"text": "\xe9"}]}]}', ": row 1", "not UTF-8"),
        (b"", "", "empty file"),
        (b'{"PlayMusic": []}', "", "not a list of rows"),
        (b'[{"data": []}]', "", "not a list of rows"),
    ],
)
def test_a_bad_file_is_named_and_what_it_should_hold_is_missing(
    tmp_path: Path, data: bytes, place: str, reason: str
) -> None:
    shutil.copytree(FIXTURE, tmp_path / "snips")
    (tmp_path / "snips" / TRAIN).write_bytes(data)
    source, samples = read(tmp_path / "snips")
    assert [(r.where, r.reason) for r in source.ledger.rejected] == [(TRAIN + place, reason)]
    assert source.ledger.missing == ["PlaySong/train_PlaySong_full.json"]
    assert len(samples) == 3
