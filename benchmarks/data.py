"""How fast, how large and how steady a build of the training data is.

::

    python benchmarks/data.py full     the whole of configs/data/coalm_it.yaml: seconds, memory
    python benchmarks/data.py linear   SGD by a quarter, a half and all of its shards
    python benchmarks/data.py map      the same conversion written as `datasets.map`, same run
    python benchmarks/data.py same     the whole of it by one process and by two: the same bytes
    python benchmarks/data.py kill     killed at 20 random moments, and given again

The raw files come from COALM_DATA. `map` needs `pip install datasets`. Memory is the peak of all
processes together, shared pages counted once (Linux).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coalm import assets
from coalm.config import load_config
from coalm.data import DataConfig, build, load_sources
from coalm.data.base import Ledger, chance, draw
from coalm.data.files import Copy
from coalm.data.sgd import SgdSource
from coalm.data.sgd_records import Dialogue
from coalm.data.shapes import Renderer
from coalm.data.validate import Validator

RECIPE = Path(__file__).parents[1] / "configs" / "data" / "coalm_it.yaml"
SHAPES = ("alpaca", "messages", "parquet")


class Run(NamedTuple):
    """One build in processes of its own."""

    seconds: float
    cpu: float
    """Seconds of all its processes together."""
    megabytes: float
    samples: int


def build_apart(output: Path, *words: str) -> Run:
    """Run `coalm data build` and watch its memory."""
    command = [sys.executable, "-m", "coalm", "data", "build", "-c", str(RECIPE)]
    os.sync()  # what an earlier run wrote is not this one's business
    start, peak, before = time.monotonic(), 0, used()
    process = subprocess.Popen([*command, f"output_dir={output}", *words], stdout=subprocess.PIPE)
    while process.poll() is None:
        peak = max(peak, sum(map(proportional, family(process.pid))))
        time.sleep(0.1)
    process.communicate()
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"the build ended with {process.returncode}")
    manifest = json.loads((output / "manifest.json").read_text())
    return Run(
        seconds, used() - before, peak / 1024, sum(row["samples"] for row in manifest["rows"])
    )


def used() -> float:
    """Processor seconds of all processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def family(pid: int) -> Iterator[int]:
    """A process and all that it started."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def proportional(pid: int) -> int:
    """Kilobytes of a process, pages that several share divided among them; 0 when it is gone."""
    try:
        found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def full(folder: Path, workers: int) -> None:
    """The whole data set in all shapes."""
    run = build_apart(folder / "out", f"workers={workers}", f"outputs=[{','.join(SHAPES)}]")
    size = sum(path.stat().st_size for path in (folder / "out").iterdir())
    print(f"{run.samples:,} samples, {size / 1e9:.2f} GB in {run.seconds:.1f} s")
    print(f"{workers} processes, {run.cpu:.0f} s of processor time, peak {run.megabytes:,.0f} MB")


def unpacked(folder: Path) -> list[Path]:
    """The training shards of SGD as loose files in `folder`/all, by name."""
    copy = Copy(assets.locate("sgd"), "sgd")
    target = folder / "all"
    target.mkdir()
    for raw in copy.walk(re.compile(r"train/\w+\.json"), "train/schema.json", Ledger()):
        (target / Path(raw.path).name).write_bytes(raw.data)
    return sorted(target.glob("dialogues_*.json"))


def every(shards: list[Path], step: int, folder: Path) -> Path:
    """A root folder with every `step`-th shard."""
    root = folder / f"every{step}"
    train = root / "sgd" / "train"
    train.mkdir(parents=True)
    for path in [shards[0].with_name("schema.json"), *shards[::step]]:
        (train / path.name).symlink_to(path)
    return root


def linear(folder: Path, workers: int) -> None:
    """Cost by the size of the input."""
    shards = unpacked(folder)
    words = [f"workers={workers}", "sources=[sgd,sgd_calls]", "optional=[]"]
    print(f"{'shards':>8} {'samples':>9} {'seconds':>8} {'cpu':>6} {'cpu us each':>12} {'MB':>6}")
    for step in (4, 2, 1):
        root = every(shards, step, folder)
        run = build_apart(folder / "out", f"root={root}", f"outputs=[{','.join(SHAPES)}]", *words)
        count, each = len(shards[::step]), run.cpu / run.samples * 1e6
        print(
            f"{count:8} {run.samples:9,} {run.seconds:8.1f} {run.cpu:6.1f} {each:12.0f} "
            f"{run.megabytes:6.0f}"
        )


def compare_with_map(folder: Path, workers: int) -> None:
    """Our build of a quarter of SGD and the same as `datasets.map`, on the same files."""
    root = every(unpacked(folder), 4, folder)
    config = load_config(DataConfig, RECIPE, []).config.model_copy(
        update={
            "output_dir": folder / "ours",
            "root": root,
            "sources": ("sgd",),
            "optional": (),
            "outputs": SHAPES,
            "workers": workers,
        }
    )
    start = time.monotonic()
    build(config, load_sources(config))
    ours = time.monotonic() - start
    start = time.monotonic()
    build_with_map(config, folder / "theirs")
    theirs = time.monotonic() - start
    same = sum(compare(folder / "ours", folder / "theirs", split) for split in SPLITS)
    print(f"coalm data build   {ours:6.1f} s  ({workers} processes)")
    print(f"datasets.map       {theirs:6.1f} s  (default settings)")
    print(f"{theirs / ours:.1f} times as fast; {same:,} rows equal in all four shapes")


SPLITS = ("train", "validation")


def build_with_map(config: DataConfig, output: Path) -> None:
    """What a user of `datasets` would write, with our own conversion inside."""
    from datasets import Features, Json, List, Value, load_dataset

    [source] = load_sources(config)
    assert isinstance(source, SgdSource)
    renderer = Renderer({})
    validator = Validator(Ledger())
    text = Value("string")
    names = ("key", "split", "id", "source", "skill", "format", "group", "conversation")
    rows = Features(
        {
            **dict.fromkeys((*names, "instruction", "input", "output"), text),
            "messages": List(Json()),
            "tools": Json(),
        }
    )

    def convert(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {name: [] for name in rows}
        for values in zip(*batch.values(), strict=True):
            dialogue = Dialogue.model_validate(dict(zip(batch, values, strict=True)))
            for sample in source._samples(dialogue):
                if not validator.admits(sample):
                    continue
                shapes = renderer.render(sample)
                share = chance(config.seed, "split", sample.meta["group"])
                found["key"].append(f"{draw(config.seed, 'order', sample.id):016x}")
                found["split"].append(SPLITS[share < config.validation_share])
                found["id"].append(sample.id)
                for name in ("source", "skill", "format", "group"):
                    found[name].append(sample.meta[name])
                found["conversation"].append(shapes.conversation)
                for name in ("instruction", "input", "output"):
                    found[name].append(json.loads(getattr(shapes, name)))
                found["messages"].append([json.loads(text) for text in shapes.messages])
                found["tools"].append(json.loads(shapes.tools))
        return found

    shards = sorted(str(path) for path in config.root.glob("sgd/train/dialogues_*.json"))
    columns = Features({"dialogue_id": text, "services": List(text), "turns": List(Json())})
    cache = str(output / "cache")
    dialogues = load_dataset(
        "json", data_files=shards, split="train", features=columns, cache_dir=cache
    )
    samples = dialogues.map(
        convert, batched=True, remove_columns=dialogues.column_names, features=rows
    )
    for split in SPLITS:
        part = samples.filter(lambda row, split=split: row["split"] == split).sort("key")
        part = part.remove_columns(["key", "split"])
        with (output / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(f"{row['conversation']}\n" for row in part)
        part = part.remove_columns("conversation")
        alpaca = ["instruction", "input", "output"]
        part.select_columns(alpaca).to_json(str(output / f"{split}.alpaca.jsonl"))
        part.remove_columns(alpaca).to_json(str(output / f"{split}.messages.jsonl"))
        part.to_parquet(str(output / f"{split}.parquet"))


def compare(ours: Path, theirs: Path, split: str) -> int:
    """How many rows there are; stops at the first that differs."""
    count = 0
    for suffix in (".jsonl", ".alpaca.jsonl", ".messages.jsonl"):
        with (ours / (split + suffix)).open() as one, (theirs / (split + suffix)).open() as other:
            for count, lines in enumerate(zip(one, other, strict=True), start=1):
                if json.loads(lines[0]) != json.loads(lines[1]):
                    raise SystemExit(f"{split}{suffix}: row {count} differs")
    tables = [parquet_rows(folder / f"{split}.parquet") for folder in (ours, theirs)]
    for number, (one, other) in enumerate(zip(*tables, strict=True), start=1):
        if one != other:
            raise SystemExit(f"{split}.parquet: row {number} differs")
    return count


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, JSON as objects."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            row["messages"] = [json.loads(text) for text in row["messages"]]
            row["tools"] = json.loads(row["tools"])
            yield row


def kill(folder: Path, workers: int, moments: int, seed: int) -> None:
    """A build that is killed again and again ends with the same bytes as one that is not."""
    root = every(unpacked(folder), 8, folder)
    words = [f"workers={workers}", "sources=[sgd,sgd_calls]", "optional=[]", f"root={root}"]
    words.append(f"outputs=[{','.join(SHAPES)}]")
    output = folder / "out"
    seconds = build_apart(output, *words).seconds
    expected = contents(output)
    shutil.rmtree(output)
    command = [sys.executable, "-m", "coalm", "data", "build", "-c", str(RECIPE)]
    rng = random.Random(seed)
    finished = 0
    for _ in range(moments):
        process = subprocess.Popen(
            [*command, f"output_dir={output}", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.0, 1.05 * seconds))
        process.kill()
        process.wait()
        if (output / "manifest.json").exists():
            # it looks finished, so it has to be
            assert {n: c for n, c in contents(output).items() if not n.startswith(".")} == expected
            finished += 1
            shutil.rmtree(output)
    build_apart(output, *words)
    if contents(output) != expected:
        raise SystemExit("other bytes than without a kill")
    print(
        f"{moments} kills within {seconds:.0f} s, {finished} of them after the end: "
        "never half a build with a manifest, and the next one gives the same bytes"
    )


def same(folder: Path) -> None:
    """The number of processes changes no byte of any file."""
    found = []
    for workers in (1, 2):
        run = build_apart(folder / "out", f"workers={workers}", f"outputs=[{','.join(SHAPES)}]")
        print(f"{workers}: {run.seconds:.1f} s, {run.megabytes:,.0f} MB, {run.samples:,} samples")
        found.append(contents(folder / "out"))
    if found[0] != found[1]:
        raise SystemExit(f"these differ: {sorted(set(found[0].items()) ^ set(found[1].items()))}")
    print(f"{len(found[0])} files, all equal")


def contents(output: Path) -> dict[str, str]:
    """Every file of a folder with its checksum."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["full", "linear", "map", "same", "kill"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.what == "full":
            full(folder, chosen.workers)
        elif chosen.what == "linear":
            linear(folder, chosen.workers)
        elif chosen.what == "map":
            compare_with_map(folder, chosen.workers)
        elif chosen.what == "same":
            same(folder)
        else:
            kill(folder, chosen.workers, chosen.moments, chosen.seed)


if __name__ == "__main__":
    main()
