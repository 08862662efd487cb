"""Result files of the official tool: write them from a run, make a run of them.

The official layout is `FOLDER/MODEL/BFCL_v3_CATEGORY_result.json`, a line per entry::

    {"id": "simple_0", "result": "[calculate_triangle_area(base=10, height=5)]", "latency": 1.5,
     "input_token_count": 411, "output_token_count": 18}

The name of the model's folder tells the official tool how to decode the replies, so a run is
written under the name of a model whose replies have the same form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from pydantic import JsonValue

from coalm import jsonl
from coalm.engines.config import ModelConfig
from coalm.errors import DataError, EvalError
from coalm.evals.base import Sample, SampleResult
from coalm.evals.bfcl.categories import CATEGORIES, PARTS
from coalm.evals.bfcl.dialogue import sound
from coalm.evals.bfcl.task import Bfcl, BfclConfig
from coalm.evals.config import EvalConfig
from coalm.evals.runs import INFO, describe, open_run, read_info, read_rows, write_rows

Style: TypeAlias = Literal["prompt", "calls"]

MODELS: dict[Style, str] = {
    "prompt": "uiuc-convai/CoALM-8B",
    "calls": "gpt-4o-2024-11-20-FC",
}
"""Style to a model that the official tool knows and whose replies have that form."""


def export_run(folder: Path, out: Path, model: str | None = None) -> list[Path]:
    """Write the replies of a BFCL run as official result files; the files.

    Args:
        folder: The run.
        out: Folder of results; the model's folder is made in it.
        model: A name that the official tool knows; None takes one of the same form of replies.

    Raises:
        EvalError: there is no run, or it is one of another benchmark.
        DataError: a row is damaged.
    """
    info = read_info(folder)
    if info.task["name"] != Bfcl.name:
        raise EvalError(f"{folder}: a run of {info.task['name']}; only bfcl has official files")
    config = info.config.bfcl
    task = Bfcl(config)
    lines: dict[str, list[dict[str, JsonValue]]] = {}
    order = {name: place for place, name in enumerate(task.entries)}
    for row in sorted(read_rows(folder), key=lambda row: order.get(row.id, len(order))):
        if row.id not in order:
            raise EvalError(f"{folder}: {row.id!r} is no sample of bfcl")
        lines.setdefault(task.entries[row.id].category.name, []).append(_line(task, row))
    target = out / (model or MODELS[config.style]).replace("/", "_")
    paths = {category: target / f"BFCL_v3_{category}_result.json" for category in lines}
    for category, path in paths.items():
        jsonl.write(path, lines[category])
    return [*paths.values()]


def _line(task: Bfcl, row: SampleResult) -> dict[str, JsonValue]:
    entry = task.entries[row.id]
    if row.conversation is None:
        result: JsonValue = f"Error during inference: {row.error}"
    else:
        result = task.dialogues.result(entry, row.conversation)
    return {
        "id": entry.id,
        "result": result,
        "input_token_count": row.prompt_tokens,
        "output_token_count": row.completion_tokens,
        "latency": row.seconds,
    }


class _Recorded(NamedTuple):
    """One line of a result file."""

    result: JsonValue
    seconds: float
    prompt_tokens: int
    completion_tokens: int


def import_run(paths: Sequence[Path], folder: Path, model: str, style: Style | None = None) -> None:
    """Make a run in `folder` of official result files; it has no scores yet.

    Args:
        paths: Result files, or folders of them.
        folder: Where the run goes; empty or not there.
        model: Named as the model of the run.
        style: The form of the replies; None finds out.

    Raises:
        EvalError: nothing to import, an unknown or repeated entry, or the folder is taken.
        DataError: a file cannot be read.
        AssetError: the wheel is not on this machine.
    """
    files = [*_result_files(paths)]
    recorded = _read(files)
    if style is None:
        style = "calls" if any(_holds_calls(one.result) for one in recorded.values()) else "prompt"
    found = {name.rpartition("_")[0] for name in recorded}
    categories = tuple(name for name in CATEGORIES if name in found)
    config = EvalConfig(
        task="bfcl",
        bfcl=BfclConfig(categories=_parts(categories), style=style),
        model=ModelConfig(model_name=model),
        output_dir=folder,
    )
    task = Bfcl(config.bfcl)
    if strangers := recorded.keys() - task.entries.keys():
        raise EvalError(f"{min(strangers)!r} is no BFCL entry, or it is there more than once")
    samples = task.samples()
    info = describe(config, task, len(samples))
    checksums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    if (folder / INFO).exists():
        raise EvalError(f"{folder}: holds a run already; choose another --out")
    open_run(folder, info.model_copy(update={"imported": checksums}))
    rows = (_row(task, s, recorded[s.id]) for s in samples if s.id in recorded)
    write_rows(folder, [*rows])


def _result_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            known = [path / f"BFCL_v3_{name}_result.json" for name in CATEGORIES]
            here = [file for file in known if file.is_file()]
            if not here:
                raise EvalError(f"{path}: no file BFCL_v3_CATEGORY_result.json of a known category")
            yield from here
        else:
            yield path


def _read(files: Iterable[Path]) -> dict[str, _Recorded]:
    """Sample id to what is recorded; the one entry that comes twice by its order."""
    recorded: dict[str, _Recorded] = {}
    for file in files:
        for number, row in jsonl.read(file):
            if not isinstance(row.get("id"), str) or "result" not in row:
                raise DataError(f"{file}:{number}: a line of results has `id` and `result`")
            name = row["id"]
            if name.rpartition("_")[0] not in CATEGORIES:
                raise EvalError(f"{file}:{number}: {name!r} is no BFCL entry that is scored")
            while name in recorded:
                name += "#2"
            recorded[name] = _Recorded(
                result=sound(row["result"]),
                seconds=round(_total(row.get("latency")), 3),
                prompt_tokens=round(_total(row.get("input_token_count"))),
                completion_tokens=round(_total(row.get("output_token_count"))),
            )
    return recorded


def _total(counted: JsonValue) -> float:
    """Sum of a number, or of the numbers of all turns and steps."""
    match counted:
        case list():
            return sum(map(_total, counted))
        case int() | float() if abs(counted) < 1e12:
            return float(counted)
        case _:
            return 0.0


def _holds_calls(result: JsonValue) -> bool:
    """Whether a result has replies that are calls, at any depth."""
    if isinstance(result, list):
        return any(isinstance(item, dict) or _holds_calls(item) for item in result)
    return False


def _parts(categories: Sequence[str]) -> tuple[str, ...]:
    """The categories, with the names of parts for those that are there in full."""
    whole = [part for part, names in PARTS.items() if {*names} <= {*categories}]
    covered = {name for part in whole for name in PARTS[part]}
    return (*whole, *(name for name in categories if name not in covered))


def _row(task: Bfcl, sample: Sample, recorded: _Recorded) -> SampleResult:
    entry, result = task.entries[sample.id], recorded.result
    return SampleResult(
        id=sample.id,
        groups=sample.groups,
        prompt_hash="",
        raw=tuple(_texts(entry.category.scoring == "multi_turn", result)),
        finish_reasons=(),
        conversation=task.dialogues.replay(entry, sample.conversation, result),
        error=None,
        score=None,
        seconds=recorded.seconds,
        prompt_tokens=recorded.prompt_tokens,
        completion_tokens=recorded.completion_tokens,
    )


def _texts(many_turns: bool, result: JsonValue) -> Iterator[str]:
    """The replies as text, in order."""
    replies = [result]
    if many_turns and isinstance(result, list):
        replies = [step for turn in result if isinstance(turn, list) for step in turn]
    for reply in replies:
        yield reply if isinstance(reply, str) else json.dumps(reply)
