"""Writes the mini world as files, each kind in the layout of the data set that it stands in for.

::

    DIR/sgd/{train,dev,test}/schema.json, dialogues_001.json, ...
    DIR/snips/<Intent>/train_<Intent>_full.json, validate_<Intent>.json
    DIR/xlam/xlam_function_calling_60k.json, XLAM-7.5k-Irrelevance.json
    DIR/toolace/data.json
    DIR/world.json    seed, today's date in the dialogues, number of records

The same seed and volume give the same bytes, on every machine.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from coalm.errors import DataError
from coalm.world.dialogues import play
from coalm.world.goals import GoalMaker
from coalm.world.rows import irrelevant_rows, xlam_rows
from coalm.world.rules import TODAY
from coalm.world.schema import services, sgd_schema
from coalm.world.toolace import toolace_rows
from coalm.world.tools import world_database
from coalm.world.utterances import intents, utterances

TRAIN = ("Dining_1", "Stays_1", "Rail_1", "Forecast_1", "Bank_1", "Cabs_1")
SPLITS = {
    "train": TRAIN,
    "dev": (*TRAIN, "Cinema_1"),
    "test": (*TRAIN, "Cinema_1", "Clinic_1"),
}
"""The services of each split: what only dev and test have measures unseen tools."""

_SHARD = 128
"""Dialogues a file, as in SGD."""
_ONE_SERVICE = 0.5
"""Share of dialogues with a single service."""


class Volume(NamedTuple):
    """How many records to write."""

    train: int = 1200
    dev: int = 100
    test: int = 200
    utterances: int = 300
    """Training utterances of each SNIPS intent."""
    validation: int = 50
    """Validation utterances of each SNIPS intent."""
    xlam: int = 1200
    irrelevant: int = 150
    toolace: int = 300


def write_world(directory: Path, seed: int = 0, volume: Volume | None = None) -> dict[str, int]:
    """Write all files below `directory`, which is new or an earlier world; it is replaced whole.

    Returns:
        Records by kind (`sgd/train`, `snips/train`, ..., `toolace`).

    Raises:
        DataError: the directory holds something else, which stays as it is.
    """
    volume = volume or Volume()
    try:
        return _write_all(directory.absolute(), seed, volume)
    except OSError as e:
        raise DataError(f"{directory}: the mini world cannot be written there: {e}") from e


def _write_all(directory: Path, seed: int, volume: Volume) -> dict[str, int]:
    replaced = directory.exists()
    if replaced and any(directory.iterdir()) and not (directory / "world.json").exists():
        raise DataError(f"{directory}: holds files that are not a mini world; name a new directory")
    # Written aside and renamed, so that a killed run leaves no half world behind.
    scratch = directory.with_name(f".{directory.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    counts = {
        **_write_sgd(scratch / "sgd", seed, volume),
        **_write_snips(scratch / "snips", seed, volume),
        **_write_rows(scratch, seed, volume),
    }
    facts = {"seed": seed, "today": TODAY.isoformat(), "records": counts}
    _write(scratch / "world.json", facts)
    if replaced:
        shutil.rmtree(directory)
    scratch.rename(directory)
    return counts


def _write_sgd(directory: Path, seed: int, volume: Volume) -> dict[str, int]:
    counts: dict[str, int] = {}
    seen: set[str] = set()
    for split, names in SPLITS.items():
        wanted: int = getattr(volume, split)
        _write(directory / split / "schema.json", [sgd_schema(services()[name]) for name in names])
        found = list(islice(_new_dialogues(seed, split, seen), wanted))
        # As in SGD, dialogues with one service come first.
        found.sort(key=lambda dialogue: len(dialogue["services"]) > 1)
        for number, start in enumerate(range(0, wanted, _SHARD), start=1):
            shard = found[start : start + _SHARD]
            for index, dialogue in enumerate(shard):
                dialogue["dialogue_id"] = f"{number}_{index:05}"
            _write(directory / split / f"dialogues_{number:03}.json", shard, sort_keys=True)
        counts[f"sgd/{split}"] = wanted
    return counts


def _new_dialogues(seed: int, split: str, seen: set[str]) -> Iterator[dict[str, Any]]:
    for dialogue in dialogues(seed, split):
        said = "\n".join(turn["utterance"] for turn in dialogue["turns"])
        if said not in seen:
            seen.add(said)
            yield dialogue


def dialogues(seed: int, split: str) -> Iterator[dict[str, Any]]:
    """Ever new dialogues of a split, in SGD's layout; a few repeat each other word by word."""
    names = SPLITS[split]
    database = world_database(seed)
    maker = GoalMaker(database)
    number = 0
    while True:
        rng = random.Random(f"{seed}/{split}/{number}")
        count = 1 if rng.random() < _ONE_SERVICE else rng.choice((2, 2, 3))
        goal = maker.draw(rng, f"{split}_{number:05}", rng.sample(names, count))
        yield play(goal, database.copy(), rng)
        number += 1


def _write_snips(directory: Path, seed: int, volume: Volume) -> dict[str, int]:
    counts = {"snips/train": 0, "snips/validate": 0}
    for intent in intents():
        rows = utterances(intent, random.Random(f"{seed}/{intent}"))
        train = list(islice(rows, volume.utterances))
        validation = list(islice(rows, volume.validation))
        _write(directory / intent / f"train_{intent}_full.json", {intent: train})
        _write(directory / intent / f"validate_{intent}.json", {intent: validation})
        counts["snips/train"] += len(train)
        counts["snips/validate"] += len(validation)
    return counts


def _write_rows(directory: Path, seed: int, volume: Volume) -> dict[str, int]:
    database = world_database(seed)
    kinds = {
        "xlam": ("xlam/xlam_function_calling_60k.json", xlam_rows, volume.xlam),
        "irrelevant": ("xlam/XLAM-7.5k-Irrelevance.json", irrelevant_rows, volume.irrelevant),
        "toolace": ("toolace/data.json", toolace_rows, volume.toolace),
    }
    for kind, (name, rows, wanted) in kinds.items():
        found = list(islice(rows(database, random.Random(f"{seed}/{kind}")), wanted))
        _write(directory / name, found)
    return {kind: wanted for kind, (_, _, wanted) in kinds.items()}


def _write(path: Path, value: object, *, sort_keys: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=sort_keys)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
