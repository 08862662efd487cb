from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import DataError
from coalm.world.files import SPLITS, Volume, write_world
from coalm.world.utterances import intents

SMALL = Volume(
    train=140, dev=20, test=30, utterances=40, validation=10, xlam=30, irrelevant=10, toolace=15
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("worlds") / "small"
    counts = write_world(directory, seed=4, volume=SMALL)
    assert counts == json.loads((directory / "world.json").read_text())["records"]
    return directory


def digest(directory: Path) -> str:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(directory)}"
        for path in sorted(directory.rglob("*.json"))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_files_stand_where_readers_look(world: Path) -> None:
    found = {str(path.relative_to(world)) for path in world.rglob("*") if path.is_file()}
    assert found == {
        "world.json",
        "xlam/xlam_function_calling_60k.json",
        "xlam/XLAM-7.5k-Irrelevance.json",
        "toolace/data.json",
        *(f"sgd/{split}/schema.json" for split in SPLITS),
        *(f"sgd/{split}/dialogues_001.json" for split in SPLITS),
        "sgd/train/dialogues_002.json",
        *(f"snips/{intent}/train_{intent}_full.json" for intent in intents()),
        *(f"snips/{intent}/validate_{intent}.json" for intent in intents()),
    }
    assert read(world / "world.json")["today"] == "2019-03-01"


def test_as_many_records_as_asked_for(world: Path) -> None:
    for split in SPLITS:
        shards = [read(path) for path in sorted((world / "sgd" / split).glob("dialogues_*.json"))]
        assert sum(map(len, shards)) == getattr(SMALL, split)
        assert all(len(shard) <= 128 for shard in shards)
    assert len(read(world / "xlam" / "xlam_function_calling_60k.json")) == SMALL.xlam
    assert len(read(world / "xlam" / "XLAM-7.5k-Irrelevance.json")) == SMALL.irrelevant
    assert len(read(world / "toolace" / "data.json")) == SMALL.toolace
    assert read(world / "world.json")["records"]["snips/train"] == 40 * len(intents())


def test_splits_share_no_dialogue_and_ids_are_unique(world: Path) -> None:
    said: list[str] = []
    for split in SPLITS:
        dialogues = [
            dialogue
            for path in sorted((world / "sgd" / split).glob("dialogues_*.json"))
            for dialogue in read(path)
        ]
        said += ["\n".join(turn["utterance"] for turn in d["turns"]) for d in dialogues]
        ids = [dialogue["dialogue_id"] for dialogue in dialogues]
        assert len(set(ids)) == len(ids)
        services = [len(dialogue["services"]) for dialogue in dialogues]
        assert [n > 1 for n in services] == sorted(n > 1 for n in services)
        schema = {
            service["service_name"] for service in read(world / "sgd" / split / "schema.json")
        }
        assert {name for d in dialogues for name in d["services"]} <= schema == set(SPLITS[split])
    assert len(set(said)) == len(said)


def test_snips_files_share_no_sentence(world: Path) -> None:
    for intent in intents():
        folder = world / "snips" / intent
        rows = [
            row
            for name in (f"train_{intent}_full", f"validate_{intent}")
            for row in read(folder / f"{name}.json")[intent]
        ]
        texts = ["".join(piece["text"] for piece in row["data"]).lower() for row in rows]
        assert len(set(texts)) == len(texts) == 50
        assert all(any("entity" in piece for piece in row["data"]) for row in rows)
        assert not any("{" in text or "[" in text or "  " in text for text in texts)


def test_same_seed_same_bytes_whatever_the_hash_seed(world: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from coalm.world.files import Volume, write_world; "
        f"write_world(Path(sys.argv[1]), seed=4, volume=Volume(*{tuple(SMALL)}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "w")], env=environment, check=True
    )
    assert digest(tmp_path / "w") == digest(world)
    write_world(tmp_path / "other", seed=5, volume=SMALL)
    assert digest(tmp_path / "other") != digest(world)


def test_an_earlier_world_is_replaced_whole(tmp_path: Path) -> None:
    few = Volume(*[1] * len(Volume._fields))
    write_world(tmp_path / "w", volume=few._replace(train=129))
    (tmp_path / ".w.tmp").mkdir()  # what a killed run leaves behind
    (tmp_path / ".w.tmp" / "half.json").write_text("[")
    write_world(tmp_path / "w", volume=few)
    assert not (tmp_path / "w" / "sgd" / "train" / "dialogues_002.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds files that are not a mini world; name a new dir"):
        write_world(tmp_path, volume=SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/w: the mini world cannot be written there: "):
        write_world(tmp_path / "file" / "w", volume=SMALL)
    with pytest.raises(DataError, match=r"file: the mini world cannot be written there: "):
        write_world(tmp_path / "file", volume=SMALL)


# -- the layouts, beside the original files


def shape(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all keys, with the types of their values; slot names count as one key."""
    if isinstance(value, dict):
        named = path.endswith(
            (".optional_slots", ".slot_values", ".parameters", ".service_results[]")
        )
        for key, inner in value.items():
            yield from shape(inner, f"{path}.{'*' if named else key}")
    elif isinstance(value, list):
        for inner in value:
            yield from shape(inner, f"{path}[]")
    else:
        yield f"{path}: {type(value).__name__}"


@cache
def real_sgd(name: str) -> Any:
    with tarfile.open(Path(os.environ["COALM_DATA"]) / "sgd" / "sgd-sample.tar.xz") as archive:
        file = archive.extractfile(name)
        assert file is not None
        return json.load(file)


@pytest.mark.real
def test_schemas_have_the_shape_of_sgd(world: Path) -> None:
    ours = read(world / "sgd" / "test" / "schema.json")
    theirs = real_sgd("train/schema.json")
    assert set(shape(ours)) == set(shape(theirs))
    assert list(ours[0]) == list(theirs[0])
    assert list(ours[0]["slots"][0]) == list(theirs[0]["slots"][0])
    assert list(ours[0]["intents"][0]) == list(theirs[0]["intents"][0])


@pytest.mark.real
def test_dialogues_have_the_shape_of_sgd(world: Path) -> None:
    ours = read(world / "sgd" / "train" / "dialogues_002.json")
    theirs = [*real_sgd("train/dialogues_001.json"), *real_sgd("train/dialogues_127.json")]
    assert set(shape(ours)) == set(shape(theirs))
    text = (world / "sgd" / "train" / "dialogues_001.json").read_text()
    assert text.startswith('[\n  {\n    "dialogue_id": "1_00000",\n    "services": [\n')


@pytest.mark.real
def test_acts_are_those_of_sgd(world: Path) -> None:
    def acts(dialogues: list[Any]) -> set[tuple[str, str, bool]]:
        return {
            (turn["speaker"], action["act"], bool(action["values"]))
            for dialogue in dialogues
            for turn in dialogue["turns"]
            for frame in turn["frames"]
            for action in frame["actions"]
        }

    ours = acts(read(world / "sgd" / "train" / "dialogues_001.json"))
    ours |= acts(read(world / "sgd" / "train" / "dialogues_002.json"))
    assert ours <= acts(real_sgd("train/dialogues_001.json") + real_sgd("train/dialogues_127.json"))


@pytest.mark.real
def test_utterances_have_the_shape_of_snips(world: Path) -> None:
    archive = zipfile.ZipFile(
        Path(os.environ["COALM_DATA"]) / "snips" / "nlu-benchmark-custom-intents.zip"
    )
    (name,) = [n for n in archive.namelist() if n.endswith("train_BookRestaurant_full.json")]
    theirs = json.loads(archive.read(name))["BookRestaurant"]
    assert name.split("/")[-2] == "BookRestaurant"
    ours = read(world / "snips" / "ReserveTable" / "train_ReserveTable_full.json")["ReserveTable"]
    assert set(shape(ours)) == set(shape(theirs))
