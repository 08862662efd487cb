"""Put the adapter of a run into the package, as `coalm-135m`.

Usage:
    python benchmarks/ship_adapter.py runs/results/trained/tuned

Weights are rounded to bfloat16, and get a checksum that is compared before every use.
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
    adapter = parser.parse_args().run / "adapter"
    ADAPTER.mkdir(parents=True, exist_ok=True)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    settings["target_modules"].sort()
    text = json.dumps(settings, indent=2, sort_keys=True)
    (ADAPTER / "adapter_config.json").write_text(f"{text}\n", encoding="utf-8")
    shutil.copy(adapter / "README.md", ADAPTER)
    weights = {name: w.to(torch.bfloat16) for name, w in load_file(adapter / WEIGHTS).items()}
    save_file(weights, ADAPTER / WEIGHTS, metadata={"format": "pt"})
    checksum = sha256((ADAPTER / WEIGHTS).read_bytes()).hexdigest()
    (ADAPTER / f"{WEIGHTS}.sha256").write_text(f"{checksum}  {WEIGHTS}\n", encoding="utf-8")
    print(f"{ADAPTER}: {sum(file.stat().st_size for file in ADAPTER.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
