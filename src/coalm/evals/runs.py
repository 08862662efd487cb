"""A run folder: what was asked of which model under which versions, and one row per sample.

``run.json`` says what the run is, ``samples.jsonl`` holds a `SampleResult` per line, and
``metrics.json`` the figures that follow from them. All of it is readable without the model.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coalm import __version__, jsonl
from coalm.config import load_config
from coalm.engines.named import weights_checksum
from coalm.errors import DataError, EvalError
from coalm.evals.base import SampleResult, Task
from coalm.evals.config import EvalConfig, TaskName

INFO, ROWS, METRICS = "run.json", "samples.jsonl", "metrics.json"

_PACKAGES = ("torch", "transformers", "peft", "vllm", "jieba", "nltk", "numpy", "pydantic")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
_SPEED_ONLY = (
    "settings.generation.batch_size",
    "settings.generation.cache_tokens",
    "settings.remote_params",
)
"""Keys that may change when a run is resumed: they decide how fast it goes, not what it says."""


class RunInfo(BaseModel):
    """What makes a run what it is; a folder never mixes two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, JsonValue]
    """The `EvalConfig`, its folder and the sections of other tasks left out."""
    task: dict[str, JsonValue]
    """Name, version, format and data checksums."""
    weights: dict[str, str]
    """Directory of model and adapter to a fingerprint of the weight files in it; name of a model
    that comes with coalm to their checksum."""
    samples: int
    """How many samples the whole run has."""
    environment: dict[str, str]
    """Versions of coalm, Python and the packages involved, when the run began."""
    started: str
    imported: dict[str, str] = {}
    """Result files that the replies come from, with their sha256; empty for a run of ours."""

    @property
    def config(self) -> EvalConfig:
        """The configuration of the run; the folder is not known to it.

        Raises:
            EvalError: this coalm does not know such settings.
        """
        try:
            return EvalConfig.model_validate({**self.settings, "output_dir": "."})
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            made = self.environment.get("coalm")
            raise EvalError(
                f"the settings of this run cannot be read by coalm {__version__}: {key}: "
                f"{first['msg']} (made with coalm {made})"
            ) from e


class ScoredRun(NamedTuple):
    """A run whose rows have scores."""

    name: str
    info: RunInfo
    rows: list[SampleResult]


def describe(config: EvalConfig, task: Task, samples: int) -> RunInfo:
    """What a run of `task` under `config` is.

    Raises:
        AssetError, DataError: the data of the task is missing or damaged.
    """
    model = config.model.model_name
    places = filter(None, (model, config.model.adapter_model))
    weights = {place: _fingerprint(Path(place)) for place in places if Path(place).is_dir()}
    if checksum := weights_checksum(model):
        weights[model] = checksum
    return RunInfo(
        settings=describe_settings(config),
        task={"name": task.name, "version": task.version, **task.provenance()},
        weights=weights,
        samples=samples,
        environment=_environment(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def describe_settings(config: EvalConfig) -> dict[str, JsonValue]:
    """The configuration as a run records it: its folder and other tasks' sections left out."""
    other_tasks = {*get_args(TaskName)} - {config.task}
    return config.model_dump(mode="json", exclude={"output_dir", *other_tasks})


def open_run(folder: Path, info: RunInfo) -> list[SampleResult]:
    """Make `folder` the place of this run, or go on with it; the rows that are done.

    Rows of samples that failed are taken out, so that they are tried again; those of dialogues that
    outgrew the context stay.

    Raises:
        EvalError: another run is in the folder, or it cannot be written.
    """
    try:
        if (folder / INFO).exists():
            _refuse_other(folder, read_info(folder), info)
        else:
            _refuse_strangers(folder)
            write_json(folder / INFO, info.model_dump(mode="json"))
        if not (folder / ROWS).exists():
            return []
        jsonl.recover(folder / ROWS)
        rows = read_rows(folder)
        done = [row for row in rows if row.conversation is not None or row.too_long]
        if len(done) < len(rows):
            write_rows(folder, done)
    except OSError as e:
        raise EvalError(f"{folder}: cannot hold a run: {e.strerror}; choose another --out") from e
    return done


def adopt_task(folder: Path, info: RunInfo, task: Task) -> None:
    """Note the version of `task` that the run is about to be scored with.

    Raises:
        EvalError: the run was made from other data or prompts.
    """
    now: dict[str, JsonValue] = {"name": task.name, "version": task.version, **task.provenance()}
    before = {**info.task, "version": task.version}
    if changed := [key for key in now if now[key] != before.get(key)]:
        key = changed[0]
        raise EvalError(
            f"{folder}: cannot be scored again: {key} was {before.get(key)} and is {now[key]}"
        )
    write_json(folder / INFO, info.model_copy(update={"task": now}).model_dump(mode="json"))


def with_scoring(info: RunInfo, words: Sequence[str]) -> RunInfo:
    """The run with keys of its settings changed that decide nothing but scores.

    Args:
        info: The run as it is.
        words: Overrides such as `bfcl.scoring=strict`.

    Raises:
        ConfigError: a word is no override, or its key or value cannot be.
        EvalError: a key decides more than scores.
    """
    if not words:
        return info
    given = [f"{key}={json.dumps(value)}" for key, value in info.settings.items()]
    config = load_config(EvalConfig, None, [*given, "output_dir=.", *words]).config
    changed = describe_settings(config)
    section = getattr(config, config.task)
    allowed = [f"{config.task}.{key}" for key in getattr(section, "scoring_only", ())]
    before, now = (dict(_flat(s)) for s in (describe_settings(info.config), changed))
    for key in before.keys() | now.keys():
        if before.get(key) != now.get(key) and key not in allowed:
            raise EvalError(
                f"{key} decides what the model is asked: run it again. Scores alone depend on: "
                f"{', '.join(allowed) or 'no key of this task'}"
            )
    return info.model_copy(update={"settings": changed})


def copy_run(folder: Path, out: Path) -> None:
    """Copy the record and the rows of a run into an empty folder.

    Raises:
        EvalError: the folder is taken, or there are no rows.
    """
    if out.exists() and any(out.iterdir()):
        raise EvalError(f"{out}: not empty; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (INFO, ROWS):
            shutil.copyfile(folder / name, out / name)
    except OSError as e:
        raise EvalError(f"{folder}: cannot be copied to {out}: {e.strerror}") from e


def read_info(folder: Path) -> RunInfo:
    """What the run in `folder` is.

    Raises:
        EvalError: there is no run, or its `run.json` is not one of ours.
    """
    try:
        return RunInfo.model_validate_json((folder / INFO).read_bytes())
    except OSError as e:
        raise EvalError(f"{folder}: not a run folder: {INFO} cannot be read: {e.strerror}") from e
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        raise EvalError(f"{folder / INFO}: not the record of a run: {first['msg']}") from e


def read_rows(folder: Path) -> list[SampleResult]:
    """All rows, in the order they were written.

    Raises:
        DataError: the file is missing or a row is damaged.
    """
    path, rows = folder / ROWS, list[SampleResult]()
    for number, row in jsonl.read(path):
        try:
            rows.append(SampleResult.model_validate(row))
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"{path}:{number}: no result row: {where}: {first['msg']}") from e
    return rows


def write_rows(folder: Path, rows: Sequence[SampleResult]) -> None:
    """Replace all rows at once."""
    jsonl.write(folder / ROWS, (row.model_dump(mode="json") for row in rows))


def write_json(path: Path, value: Mapping[str, JsonValue]) -> None:
    """Write a JSON file for people to read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _refuse_strangers(folder: Path) -> None:
    # hidden files are what a run that was killed at its first step leaves behind
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise EvalError(f"{folder}: not empty and no run folder; choose another --out")


def _refuse_other(folder: Path, old: RunInfo, new: RunInfo) -> None:
    before, now = (dict(_flat(_identity(info))) for info in (old, new))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise EvalError(
            f"{folder}: holds another run: {key} is {before.get(key)} there and {now.get(key)} "
            f"now{more}; choose another --out or remove the folder"
        )


def _identity(info: RunInfo) -> dict[str, JsonValue]:
    # read and written anew: a key that this version has in addition has its default in old runs
    settings = describe_settings(info.config)
    return {
        **info.model_dump(mode="json", exclude={"environment", "started"}),
        "settings": settings,
    }


def _flat(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    if path in _SPEED_ONLY:
        return
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _fingerprint(folder: Path) -> str:
    """Changes when a weight file is written anew; the files themselves may be too big to read."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS)
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def _environment() -> dict[str, str]:
    found = {"coalm": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
