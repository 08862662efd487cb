"""Put the adapter of a run into the package, as `coalm-135m`.

Usage:
    python benchmarks/ship_adapter.py runs/results/trained/tuned
    python benchmarks/ship_adapter.py output/coalm_135m --share 0.6

Weights are rounded to bfloat16, and get a checksum that is compared before every use. With a
`--share` they lie between those of the run and of the adapter that it started from (its
`model.adapter_model`, a copy outside of the package): what the run learned stays, and less is
forgotten (Wortsman et al., arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
import json
import shutil
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from coalm.engines.named import ADAPTER, WEIGHTS
from coalm.train.folder import RunFolder


def main() -> None:
    """Copy settings and card, round the weights, write their checksum."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder that `coalm train` finished")
    parser.add_argument("--share", type=float, default=1.0, help="of the run in the weights")
    asked = parser.parse_args()
    adapter, share = asked.run / "adapter", asked.share
    ADAPTER.mkdir(parents=True, exist_ok=True)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    settings["target_modules"].sort()
    text = json.dumps(settings, indent=2, sort_keys=True)
    weights = load_file(adapter / WEIGHTS)
    before = load_file(started_from(asked.run) / WEIGHTS) if share < 1 else {}
    (ADAPTER / "adapter_config.json").write_text(f"{text}\n", encoding="utf-8")
    shutil.copyfile(adapter / "README.md", ADAPTER / "README.md")
    if before:
        weights = {
            name: share * w + (1 - share) * before[name].float() for name, w in weights.items()
        }
        mixed = f"The weights are {share:g} of this run's and {1 - share:g} of those before it."
        with (ADAPTER / "README.md").open("a", encoding="utf-8") as card:
            card.write(f"\n{mixed}\n")
    weights = {name: w.to(torch.bfloat16) for name, w in weights.items()}
    save_file(weights, ADAPTER / WEIGHTS, metadata={"format": "pt"})
    (ADAPTER / WEIGHTS).chmod(0o644)  # it is written for its owner alone
    checksum = sha256((ADAPTER / WEIGHTS).read_bytes()).hexdigest()
    (ADAPTER / f"{WEIGHTS}.sha256").write_text(f"{checksum}  {WEIGHTS}\n", encoding="utf-8")
    print(f"{ADAPTER}: {sum(file.stat().st_size for file in ADAPTER.iterdir()):,} bytes")


def started_from(run: Path) -> Path:
    """The adapter whose training a run went on with."""
    named = RunFolder(run).read()["config"]["model"]["adapter_model"]
    if named is None:
        raise SystemExit(f"{run} started from no adapter: there is none to --share with")
    before = Path(named)
    if not (before / WEIGHTS).exists() or before.resolve() == ADAPTER.resolve():
        raise SystemExit(f"{run} started from {named!r}: --share needs it, in a folder of its own")
    return before


if __name__ == "__main__":
    main()
