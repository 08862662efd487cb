"""How fast do prefix trees train, and in how much memory, against TRL's trainer?

Usage:
    python benchmarks/train.py output/coalm_it/train.jsonl --rows trees.jsonl
    python benchmarks/train.py output/coalm_it/train.jsonl --rows trees.jsonl --case sgd --way tree
    python benchmarks/train.py --rows trees.jsonl        # the table once more

Cases: `snips` (sentences below one long instruction), `sgd` (whole dialogues, a sample a turn),
`mix` (every source in the proportion of the file). Ways to train a LoRA adapter of rank 16 on
SmolLM2-135M, bfloat16, on the CPU, with gradient checkpointing and four samples a padded pass (of
the sixteen of Oumi's 8B recipe, only those of `snips` fit here):

    tree, packed, padded   `coalm train` with that training.batching
    tree-kept              trees without gradient checkpointing
    trl-full               TRL's SFTTrainer, padded, logits of every token: what Oumi's recipes run
    trl-full-16            with sixteen samples a pass, as Oumi's 8B recipe says
    trl                    the same with the fused loss of newer releases of TRL
    trl-packed             the same with TRL's own packing

TRL is no extra of coalm; an environment of its own, beside this one, keeps this one as it is:

    python -m venv trl && trl/bin/pip install -e '.[train]' trl datasets -c constraints.txt
    trl/bin/python benchmarks/train.py ...

All load a copy of the model in bfloat16: read from its float32 file, loading takes more memory
than some ways to train. Every measurement is a process of its own, which reads no other samples:
samples a second without the first step, which warms up, and the largest resident set of the whole
process. The ways of coalm train every sample of a case, in whole groups; TRL a random part of them
(`--samples`), since its rate depends on lengths only.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train_samples import encode, keys_of, read_groups

from coalm import jsonl
from coalm.chat_template import load_tokenizer
from coalm.config import load_config
from coalm.engines.gguf import base_model
from coalm.train.config import TrainConfig

WAYS = ("tree", "tree-kept", "packed", "padded", "trl-full", "trl-full-16", "trl", "trl-packed")
TRL_PASS = {"trl-full": (4, 2), "trl-full-16": (16, 1), "trl": (4, 2), "trl-packed": (1, 1)}
"""Samples of a pass, and passes of a step."""
CASES = {"snips": 256, "sgd": 140, "mix": 140}
"""Samples to draw, but for the last group, which stays whole; `mix` is of all sources, in the
proportion of the file."""
WANTED = {"snips": 5.0, "sgd": 3.0, "mix": 3.5}
"""Times the samples per second of TRL, padded, that trees have to reach."""
PASS, ACCUMULATED, LENGTH = 4, 8, 4096
TREE = {"snips": (14, 1300), "sgd": (16, 4096), "mix": (16, 4096)}
"""Most samples of a group in a step (`sgd`, `mix`: the default), and tokens of a row of trees:
little more than the largest tree that a case has."""
TRL_SAMPLES = {"snips": 48, "sgd": 16, "mix": 16}


def draw(data: Path, case: str) -> list[str]:
    """Lines of `data` that make up a case: whole groups, always the same."""
    groups = read_groups(data)
    sizes: dict[str, int] = defaultdict(int)
    for (source, _), lines in groups.items():
        sizes[source] += len(lines)
    sources = sorted(sizes) if case == "mix" else [case]
    every = sum(sizes[source] for source in sources)
    chance = random.Random(7)
    drawn: list[str] = []
    for source in sources:
        wanted = len(drawn) + max(1, round(CASES[case] * sizes[source] / every))
        keys = keys_of(groups, source)
        chance.shuffle(keys)
        for key in keys:
            missing = wanted - len(drawn)
            if missing <= 0:
                break
            few = len(groups[key]) <= CASES[case]
            drawn += groups[key] if few else chance.sample(groups[key], missing)
    return drawn


def bfloat16_copy() -> Path:
    """The base model in the type that it is trained in, beside the original."""
    import torch
    import transformers

    original = base_model()
    copy = original.with_name(f"{original.name}-bfloat16")
    if not copy.exists():
        transformers.AutoModelForCausalLM.from_pretrained(
            original, dtype=torch.bfloat16
        ).save_pretrained(copy)
        load_tokenizer(original).save_pretrained(copy)
    return copy


def measure_coalm(model: Path, way: str, lines: Sequence[str], case: str) -> dict[str, Any]:
    """`coalm train` over all the lines, once."""
    from coalm.train.run import train

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        data.write_text("".join(lines), encoding="utf-8")
        samples, tokens = TREE[case]
        rows = [f"training.row_tokens={tokens}", f"training.group_samples={samples}"]
        words = [
            f"model.model_name={model}",
            f"model.model_max_length={LENGTH}",
            "model.torch_dtype_str=bfloat16",
            f"data.train.datasets.0.dataset_path={data}",
            f"training.output_dir={folder}/run",
            "training.use_peft=true",
            "training.num_train_epochs=1",
            f"training.per_device_train_batch_size={PASS}",
            f"training.gradient_accumulation_steps={ACCUMULATED}",
            f"training.enable_gradient_checkpointing={str(way != 'tree-kept').lower()}",
            f"training.batching={way.partition('-')[0]}",
            *(rows if way != "padded" else ()),
        ]
        config = load_config(TrainConfig, None, words).config
        result = train(config)
        log = [row for _, row in jsonl.read(result.folder / "log.jsonl")]
    first, last = log[0], log[-1]
    share = 1 - first["tokens"] / last["tokens"]  # tokens of samples: the rest is after the first
    return {"samples": len(lines), "seconds": (last["seconds"] - first["seconds"]) / share}


def measure_trl(path: Path, way: str, lines: Sequence[str], count: int) -> dict[str, Any]:
    """TRL's trainer over `count` of the lines."""
    import torch
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    tokenizer = load_tokenizer(path)
    samples = encode(random.Random(7).sample(list(lines), min(count, len(lines))), LENGTH)
    rows = {
        "input_ids": [sample.token_ids.tolist() for sample in samples],
        "labels": [
            sample.token_ids.masked_fill(~sample.trainable, -100).tolist() for sample in samples
        ],
    }
    ended: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.perf_counter())

    class Trainer(SFTTrainer):
        def compute_loss(self, *args: Any, **options: Any) -> Any:
            if not way.startswith("trl-full"):
                return super().compute_loss(*args, **options)
            return transformers.Trainer.compute_loss(self, *args, **options)

    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=TRL_PASS[way][0],
            gradient_accumulation_steps=TRL_PASS[way][1],
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            packing=way == "trl-packed",
            max_length=LENGTH,
            bf16=True,
            use_cpu=True,
            optim="adamw_torch_fused",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
        trainer = Trainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[Clock()],
        )
        trainer.train()
    steps = len(ended)
    timed = len(samples) * (steps - 1) / steps
    return {"samples": timed, "seconds": ended[-1] - ended[0], "steps": steps}


def measure(drawn: Path, case: str, way: str, count: int) -> dict[str, Any]:
    """One measurement in this process."""
    lines, model = drawn.read_text(encoding="utf-8").splitlines(keepends=True), bfloat16_copy()
    if way.startswith("trl"):
        result = measure_trl(model, way, lines, count)
    else:
        result = measure_coalm(model, way, lines, case)
    rate = result["samples"] / result["seconds"]
    return {"case": case, "way": way, **result, "rate": rate, "gigabytes": peak_gigabytes()}


def peak_gigabytes() -> float:
    """The largest resident set (Linux); that of `resource` begins with the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM"))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The newest measurement of each case and way, against TRL with the largest padded passes."""
    newest = {(row["case"], row["way"]): row for row in rows}
    print("| case | way | samples/s | of TRL | peak GB | of TRL |")
    print("|---" * 6 + "|")
    for case in CASES:
        base = newest.get((case, "trl-full-16")) or newest.get((case, "trl-full"))
        kept = []
        for way in WAYS:
            if row := newest.get((case, way)):
                times = row["rate"] / base["rate"] if base else float("nan")
                share = row["gigabytes"] / base["gigabytes"] if base else float("nan")
                kept += [way.startswith("tree") and times >= WANTED[case] and share <= 0.5]
                figures = f"{row['rate']:.3f} | {times:.2f}x | {row['gigabytes']:.2f} | {share:.0%}"
                print(f"| {case} | {way} | {figures} |")
        if base and kept:
            goal = f"{WANTED[case]}x in half"
            print(f"| {case} | {'reached' if any(kept) else 'MISSED'}: {goal} | | | | |")


def main() -> None:
    """Measure what is asked for, each in a process of its own, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="train.jsonl of `coalm data build`")
    parser.add_argument("--rows", type=Path, required=True, help="file that gets a row each")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--samples", type=int, help="samples that TRL trains")
    parser.add_argument("--here", action="store_true", help="DATA are the samples of one case")
    asked = parser.parse_args()
    if asked.here:
        case, way = asked.case[0], asked.way[0]
        row = measure(asked.data, case, way, asked.samples or TRL_SAMPLES[case])
        with asked.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        for case in asked.case or CASES if asked.data else ():
            drawn = Path(folder) / f"{case}.jsonl"
            drawn.write_text("".join(draw(asked.data, case)), encoding="utf-8")
            fitting = [way for way in WAYS if way != "trl-full-16" or case == "snips"]
            for way in asked.way or fitting:
                words = [sys.argv[0], str(drawn), "--rows", str(asked.rows), "--here"]
                words += ["--case", case, "--way", way]
                words += ["--samples", str(asked.samples)] if asked.samples else []
                subprocess.run([sys.executable, *words], check=True)
    show([json.loads(line) for line in asked.rows.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main()
