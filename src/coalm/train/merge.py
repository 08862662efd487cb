"""An adapter and its base become one model folder that needs neither peft nor coalm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from coalm.chat_template import load_tokenizer
from coalm.engines.adapters import merge_adapter
from coalm.engines.named import resolve_model
from coalm.errors import TrainError
from coalm.train.folder import ADAPTER, MODEL

_ADAPTER_CONFIG = "adapter_config.json"


def merge(
    run: Path, out: Path, *, base: str | None = None, trust_remote_code: bool = False
) -> Path:
    """Add the adapter of `run` to its base model; write the sum, with the tokenizer, to `out`.

    The sum is taken in float32 and rounded once, to the type that the base model is stored in.

    Args:
        run: a run folder, one of its checkpoints, or any LoRA adapter.
        out: folder to make.
        base: base model, in place of the one that the adapter names.
        trust_remote_code: run model code that comes with the base.

    Raises:
        TrainError: there is no adapter, its base cannot be loaded or does not fit, or `out` exists.
    """
    if out.exists():
        raise TrainError(f"{out} exists; give --out a new folder")
    adapter = _adapter(run)
    base_path = resolve_model(base or _base_of(adapter))
    model = _merged(base_path, adapter, trust_remote_code)
    own_tokenizer = (adapter / "tokenizer_config.json").exists()
    tokenizer = load_tokenizer(
        adapter if own_tokenizer else base_path, trust_remote_code=trust_remote_code
    )
    scratch = out.with_name(f".unfinished-{out.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    model.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    scratch.rename(out)
    return out


def _adapter(run: Path) -> Path:
    for folder in (run, run / ADAPTER):
        if (folder / _ADAPTER_CONFIG).is_file():
            return folder
    if (run / MODEL).is_dir():
        raise TrainError(f"{run / MODEL} is a whole model already; there is nothing to merge")
    raise TrainError(
        f"{run} holds no adapter; give a run folder that `coalm train` finished, or a folder with "
        f"{_ADAPTER_CONFIG}"
    )


def _base_of(adapter: Path) -> str:
    try:
        config = json.loads((adapter / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
        return str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise TrainError(f"{adapter / _ADAPTER_CONFIG} names no base model; give --base") from e


def _merged(base: str | Path, adapter: Path, trust_remote_code: bool) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype="auto", trust_remote_code=trust_remote_code
        )
        stored = model.dtype
        merged = merge_adapter(model.float(), adapter, safe=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        reason = str(e).strip().partition("\n")[0]
        raise TrainError(
            f"adapter {adapter} cannot be merged into {base}: {reason}; name its base model with "
            "--base"
        ) from e
    return merged.to(stored)
