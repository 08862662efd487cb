"""What a built data set says about itself: a card for people and hubs, a snippet for a trainer.

`README.md` has the header that the Hugging Face hub and `datasets` read: licences, and which file
holds which split in which shape. `dataset_info.json` is what LLaMA-Factory wants to find beside the
rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from coalm import assets
from coalm.data.base import SPLITS, Split
from coalm.data.config import Output
from coalm.data.manifest import Manifest
from coalm.data.stats import PAPER, Counted
from coalm.data.tally import Rows
from coalm.data.writers import file_name

CARD = "README.md"
SNIPPET = "dataset_info.json"


class _About(NamedTuple):
    """What to say about a source."""

    title: str
    asset: str | None
    """Whose licence it is under; None is our own work."""


_ABOUT = {
    "snips": _About("SNIPS sentences as dialogue states", "snips"),
    "sgd": _About("Schema-Guided Dialogue as ReAct turns", "sgd"),
    "sgd_calls": _About("Schema-Guided Dialogue as function calls", "sgd"),
    "sgd_requests": _About("Schema-Guided Dialogue's requests as function calls", "sgd"),
    "sgd_states": _About("Schema-Guided Dialogue as dialogue states", "sgd"),
    "world": _About("The mini world's dialogues as ReAct turns", None),
    "hammer": _About("xLAM and irrelevance rows, masked as by Hammer", "xlam"),
    "toolace": _About("ToolACE conversations", "toolace"),
    "sealtools": _About("Seal-Tools requests", "sealtools"),
    "toolalpaca": _About("ToolAlpaca requests", "toolalpaca"),
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
_JSON: dict[str, dict[str, str]] = {
    "messages": {"list": "json"},
    "tools": {"dtype": "json"},
}
_ABOUT_ROW = ("id", "source", "skill", "format", "group")
_COLUMNS: dict[Output, tuple[str, ...]] = {
    "messages": (*_ABOUT_ROW, "messages", "tools"),
    "alpaca": ("instruction", "input", "output"),
}
"""Columns of each shape; the first shape that was written is the one that `datasets` opens."""


def write_card(folder: Path, manifest: Manifest, counted: Counted | None = None) -> None:
    """Write card and snippet for the data set in `folder`.

    Args:
        folder: holds the files that the manifest names.
        manifest: what was built.
        counted: its tokens, where somebody counted them.
    """
    header = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True, width=100)
    text = "\n".join(_text(manifest, counted))
    (folder / CARD).write_text(f"---\n{header}---\n\n{text}\n", encoding="utf-8")
    entries = _snippet(manifest)
    if entries:
        (folder / SNIPPET).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _splits(manifest: Manifest) -> list[Split]:
    """Splits that hold something; an empty file cannot be loaded by most readers."""
    return [split for split in SPLITS if any(row.split == split for row in manifest.rows)]


def _header(manifest: Manifest) -> dict[str, object]:
    total = sum(row.samples for row in manifest.rows)
    shapes = _shapes(manifest)
    size = next((name for most, name in _SIZES if total < most), "1M<n<10M")
    return {
        "pretty_name": "CoALM-IT, rebuilt",
        "license": sorted({licence.lower() for licence in _licences(manifest).values()}),
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["tool-use", "function-calling", "task-oriented-dialogue", "react"],
        "size_categories": [size],
        "configs": [_config(manifest, shape) for shape in shapes],
        "dataset_info": [_features(shape) for shape in shapes],
    }


def _shapes(manifest: Manifest) -> list[Output]:
    return [s for s in _COLUMNS if _has(manifest, s) or _has(manifest, "parquet")]


def _config(manifest: Manifest, shape: Output) -> dict[str, object]:
    """Where `datasets` finds a shape; all shapes in files of one kind, or it can read none."""
    kind: Output = "parquet" if _has(manifest, "parquet") else shape
    files = [{"split": s, "path": file_name(s, kind)} for s in _splits(manifest)]
    columns = {"columns": [*_COLUMNS[shape]]} if kind == "parquet" else {}
    first = {"default": True} if shape == _shapes(manifest)[0] else {}
    return {"config_name": shape, "data_files": files, **columns, **first}


def _features(shape: Output) -> dict[str, object]:
    columns = [{"name": n, **_JSON.get(n, {"dtype": "string"})} for n in _COLUMNS[shape]]
    return {"config_name": shape, "features": columns}


def _has(manifest: Manifest, shape: Output) -> bool:
    return file_name("train", shape) in manifest.files


def _licences(manifest: Manifest) -> dict[str, str]:
    """Source to licence, for the sources that gave rows."""
    used = {row.source for row in manifest.rows}
    return {name: _licence(about) for name, about in _ABOUT.items() if name in used}


def _licence(about: _About) -> str:
    return assets.get(about.asset).licence if about.asset else "Apache-2.0"


def _snippet(manifest: Manifest) -> dict[str, object]:
    """LLaMA-Factory's table of data sets, for the Alpaca rows."""
    if not _has(manifest, "alpaca"):
        return {}
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    return {
        f"coalm_it_{split}": {"file_name": file_name(split, "alpaca"), "columns": columns}
        for split in _splits(manifest)
    }


def _text(manifest: Manifest, counted: Counted | None) -> Iterator[str]:
    yield "# CoALM-IT, rebuilt from the raw files"
    yield (
        "\nInstruction data for conversational agents: dialogue states, function calls and ReAct "
        "turns. Every call is the annotation of its source, and was held against the schema of "
        "its function and against what was said before. Built with "
        f"coalm {manifest.versions['coalm']}, after arXiv 2502.08820.\n"
    )
    yield "## Sources and licences\n"
    licences = _licences(manifest)
    yield from _table(
        ["source", "what it is", "licence"],
        [[name, _ABOUT[name].title, licence] for name, licence in licences.items()],
    )
    if any("-SA-" in licence for licence in licences.values()):
        yield "\nRows of a share-alike source stay under its licence, alone and in any mixture."
    yield "\n## Size\n"
    yield from _figures(manifest.rows)
    if counted is not None:
        yield f"\nIn tokens of `{counted.tokenizer}`, beside table 1 of the paper:\n"
        yield from _tokens(counted.rows)
    yield "\n## Left out\n"
    yield from _losses(manifest)
    yield "\n## Recipe\n"
    yield "```yaml"
    yield yaml.safe_dump(manifest.config, sort_keys=False, allow_unicode=True).strip()
    yield "```\n"
    yield "Versions: " + ", ".join(f"{k} {v}" for k, v in manifest.versions.items()) + "."
    yield "\n## Files\n"
    yield from _table(
        ["file", "sha256"], [[name, f"`{checksum}`"] for name, checksum in manifest.files.items()]
    )


def _figures(rows: Sequence[Rows]) -> Iterator[str]:
    lines = [
        [
            *(row.split, row.source, row.skill, row.format, f"{row.samples:,}"),
            f"{(row.prompt_characters + row.reply_characters) / row.samples:,.0f}",
            f"{row.reply_characters / row.samples:,.0f}",
        ]
        for row in rows
    ]
    lines.append(["all", "", "", "", f"{sum(row.samples for row in rows):,}", "", ""])
    head = ["split", "source", "skill", "format", "samples", "characters each", "of these learned"]
    yield from _table(head, lines)


def _tokens(rows: Sequence[Rows]) -> Iterator[str]:
    lines = []
    for row in rows:
        paper = PAPER.get(row.source) if row.split == "train" else None
        tokens = row.tokens or 0
        lines.append(
            [
                *(row.split, row.source, f"{row.samples:,}", f"{tokens:,}"),
                f"{tokens / row.samples:,.1f}",
                *((f"{paper.samples:,}", f"{paper.each:,.1f}") if paper else ("", "")),
            ]
        )
    head = ["split", "source", "samples", "tokens", "tokens each", "paper: samples", "tokens each"]
    yield from _table(head, lines)


def _losses(manifest: Manifest) -> Iterator[str]:
    lines = [
        [name, f"{count:,}", reason]
        for name, source in manifest.sources.items()
        for reason, count in source.rejected.items()
    ]
    absent = [[name, "all", reason] for name, s in manifest.sources.items() for reason in s.absent]
    if not lines and not absent:
        yield "Nothing."
        return
    yield from _table(["source", "count", "reason"], lines + absent)
    yield "\n`rejected.jsonl` names every one."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
