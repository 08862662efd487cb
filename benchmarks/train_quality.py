"""Does training in groups cost quality? Held-out loss after the same samples, laid out three ways.

Usage:
    python benchmarks/train_quality.py output/coalm_it --rows quality.jsonl --seed 1 --way tree
    python benchmarks/train_quality.py output/coalm_it --rows quality.jsonl     # all, one by one
    python benchmarks/train_quality.py --rows quality.jsonl                     # the table

Ways: `tree`; `padded`, the samples of each of the tree's steps padded, so in the same order of
groups; `shuffled`, padded as well, every step drawn from all samples. Each trains a LoRA adapter on
the first layers of SmolLM2-135M over 2,000 samples once (SNIPS, and SGD dialogues as far as their
turns are short), in steps of 8 as in the recipes (`--step`), and measures the loss on 300 samples
of the validation part.
Seeds decide the adapter's first weights and the order; the samples are always the same.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from train_samples import encode, keys_of, read_groups

from coalm.config import load_config
from coalm.engines.gguf import base_model
from coalm.train.attention import prepare_for_trees
from coalm.train.batches import Batch, forest_batch, padded_batch
from coalm.train.config import TrainConfig
from coalm.train.dataset import TrainingSample
from coalm.train.loss import SkillTotals, target_losses
from coalm.train.model import Loaded, load_model
from coalm.train.order import training_order
from coalm.train.schedule import learning_rate

WAYS = ("tree", "padded", "shuffled")
SEEDS = (1, 2, 3)
LAYERS, LENGTH = 2, 900
PASS = 8
"""Samples in a padded batch."""
SAMPLES = {"train": {"snips": 1200, "sgd": 800}, "validation": {"snips": 180, "sgd": 120}}


def read(folder: Path, part: str) -> list[TrainingSample]:
    """So many samples of each source, dialogues in one piece."""
    groups = read_groups(folder / f"{part}.jsonl")
    found: list[TrainingSample] = []
    for source, wanted in SAMPLES[part].items():
        some: list[TrainingSample] = []
        for key in keys_of(groups, source):
            lines = groups[key]
            if len(lines) > wanted:
                lines = random.Random(5).sample(lines, wanted)
            some += encode(lines, LENGTH)
            if len(some) >= wanted:
                break
        found += some[:wanted]
    return found


def small_model(seed: int, step: int) -> tuple[TrainConfig, Loaded]:
    """The first layers of SmolLM2 below its output layer, with a new adapter."""
    words = [
        f"model.model_name={base_model()}",
        "model.torch_dtype_str=bfloat16",
        "training.use_peft=true",
        "training.batching=tree",
        "training.learning_rate=0.002",
        "training.warmup_steps=6",
        f"training.per_device_train_batch_size={step}",
        "training.row_tokens=2048",
    ]
    config = load_config(TrainConfig, None, words).config
    torch.manual_seed(seed)
    loaded = load_model(config)
    backbone = loaded.model.get_base_model().model
    backbone.layers = backbone.layers[:LAYERS]
    return config, loaded


def passes(way: str, rows: Sequence[Sequence[TrainingSample]]) -> Iterator[Batch]:
    """The batches of one step."""
    if way == "tree":
        yield from map(forest_batch, rows)
        return
    samples = sorted((one for row in rows for one in row), key=lambda one: len(one.token_ids))
    for start in range(0, len(samples), PASS):
        yield padded_batch(samples[start : start + PASS])


def held_out_loss(loaded: Loaded, samples: Sequence[TrainingSample]) -> SkillTotals:
    """Loss over all validation samples, padded."""
    totals = SkillTotals()
    with torch.no_grad(), loaded.computing():
        for batch in passes("padded", [samples]):
            totals.add(target_losses(loaded.model, batch), batch)
    return totals


def run(folder: Path, way: str, seed: int, step: int) -> dict[str, object]:
    """Train once over the samples; the loss before and after."""
    samples, held_out = read(folder, "train"), read(folder, "validation")
    config, loaded = small_model(seed, step)
    training = config.training
    if way == "tree":
        prepare_for_trees(loaded.model, asked=None, longest=LENGTH)
    layout = "padded" if way == "shuffled" else "tree"
    order = training_order(training.model_copy(update={"batching": layout}), samples, seed=seed)
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
    before = held_out_loss(loaded, held_out).mean()
    started = time.perf_counter()
    for number in range(order.steps_per_epoch):
        rows = [[samples[index] for index in row] for row in order.step(number)]
        targets = sum(int(one.trainable.sum()) for row in rows for one in row)
        for batch in passes(way, rows):
            with loaded.computing():
                losses = target_losses(loaded.model, batch)
            (losses.sum() / targets).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, number + 1, order.steps_per_epoch)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - started
    totals = held_out_loss(loaded, held_out)
    return {
        "way": way,
        "seed": seed,
        "samples": len(samples),
        "steps": order.steps_per_epoch,
        "before": before,
        "loss": totals.mean(),
        "by_skill": totals.mean_by_skill(),
        "seconds": seconds,
    }


def show(rows: Sequence[dict[str, float]]) -> None:
    """Losses of all seeds, their mean and spread."""
    print("| way | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean | spread | s |")
    print("|---" * (len(SEEDS) + 4) + "|")
    for way in WAYS:
        found = {row["seed"]: row for row in rows if row["way"] == way}
        losses = [found[seed]["loss"] for seed in SEEDS if seed in found]
        if len(losses) < len(SEEDS):
            continue
        seconds = statistics.mean(row["seconds"] for row in found.values())
        figures = [*losses, statistics.mean(losses), statistics.stdev(losses)]
        print(f"| {way} | {' | '.join(f'{x:.4f}' for x in figures)} | {seconds:.0f} |")


def main() -> None:
    """Train what is asked for, then show all rows that the file holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder of `coalm data build`")
    parser.add_argument("--rows", type=Path, required=True, help="file that gets a row each")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--seed", type=int, choices=SEEDS, action="append")
    parser.add_argument("--step", type=int, default=8, help="samples in a step")
    asked = parser.parse_args()
    for way in asked.way or WAYS if asked.data else ():
        for seed in asked.seed or SEEDS:
            with asked.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run(asked.data, way, seed, asked.step)) + "\n")
    show([json.loads(line) for line in asked.rows.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main()
