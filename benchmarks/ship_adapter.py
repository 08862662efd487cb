"""Put the adapter of a run into the package, as `coalm-135m`.

Usage:
    python benchmarks/ship_adapter.py runs/results/trained/tuned
    python benchmarks/ship_adapter.py output/coalm_135m --share 0.6

Weights are rounded to bfloat16, and get a checksum that is compared before every use. With a
`--share` they lie between those of the run and of the adapter that it started from, which is the
one in the package: what the run learned stays, and less is forgotten (Wortsman et al.,
arXiv 2109.01903).
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
    (ADAPTER / "adapter_config.json").write_text(f"{text}\n", encoding="utf-8")
    shutil.copy(adapter / "README.md", ADAPTER)
    weights = load_file(adapter / WEIGHTS)
    if share < 1:
        before = load_file(ADAPTER / WEIGHTS)
        weights = {
            name: share * w + (1 - share) * before[name].float() for name, w in weights.items()
        }
        mixed = f"The weights are {share:g} of this run's and {1 - share:g} of those before it."
        with (ADAPTER / "README.md").open("a", encoding="utf-8") as card:
            card.write(f"\n{mixed}\n")
    weights = {name: w.to(torch.bfloat16) for name, w in weights.items()}
    save_file(weights, ADAPTER / WEIGHTS, metadata={"format": "pt"})
    checksum = sha256((ADAPTER / WEIGHTS).read_bytes()).hexdigest()
    (ADAPTER / f"{WEIGHTS}.sha256").write_text(f"{checksum}  {WEIGHTS}\n", encoding="utf-8")
    print(f"{ADAPTER}: {sum(file.stat().st_size for file in ADAPTER.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
