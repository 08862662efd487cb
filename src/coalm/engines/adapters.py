"""Adding a LoRA adapter to the weights of its model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from coalm.errors import MissingExtraError


def merge_adapter(model: Any, adapter: Path, *, safe: bool = False) -> Any:
    """The model with the adapter added to its weights; the model given is used up.

    Args:
        model: of transformers.
        adapter: folder of a LoRA adapter.
        safe: refuse weights that are not finite.

    Raises:
        MissingExtraError: peft is not installed.
        Exception: as of peft, where the two do not fit.
    """
    try:
        from peft import PeftModel
    except ModuleNotFoundError as e:
        raise MissingExtraError("peft", "hf") from e
    with warnings.catch_warnings():
        # peft calls parts of transformers by names that are going to be dropped
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=safe)
