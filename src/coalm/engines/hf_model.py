"""Loading a model of transformers: weights, adapter, tokenizer, and what a run needs to know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from coalm.chat_template import load_tokenizer, stop_token
from coalm.engines.adapters import merge_adapter
from coalm.engines.hf_attention import use_packed_attention
from coalm.engines.hf_dtype import fast_dtype
from coalm.engines.hf_guide import Guides
from coalm.engines.hf_linear import block_weights
from coalm.engines.named import resolve_model
from coalm.errors import EngineError
from coalm.heap import give_back_heap, keep_heap_small

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Model: TypeAlias = Any
"""What AutoModelForCausalLM loads; transformers has no one type for it."""

_DTYPES = ("float32", "bfloat16", "float16", "float64")
_LOAD_ERRORS = (OSError, ValueError, RuntimeError, SafetensorError)


class LoadedModel(NamedTuple):
    """A model that is ready to generate."""

    name: str
    model: Model
    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]
    """Tokens that end an answer."""
    max_length: int
    """Tokens of prompt and answer together."""
    guides: Guides


def load_model(
    model: str | Path,
    *,
    adapter: Path | None,
    dtype: str,
    max_length: int | None,
    chat_template: str | None,
    trust_remote_code: bool,
) -> LoadedModel:
    """Load a model onto the GPU if there is one, else onto the CPU; see `HfEngine`.

    Raises:
        EngineError: the model or the adapter cannot be loaded, or not run by this engine.
        TemplateError: the tokenizer or its chat template cannot be used.
        MissingExtraError: an adapter is asked for and peft is not installed.
    """
    if adapter is not None and not (adapter / "adapter_config.json").exists():
        raise EngineError(f"{adapter} is no LoRA adapter: it holds no adapter_config.json")
    path = resolve_model(model)
    tokenizer = load_tokenizer(
        _tokenizer_folder(path, adapter), chat_template, trust_remote_code=trust_remote_code
    )
    if not torch.cuda.is_available():
        keep_heap_small()
    loaded = _load_weights(path, _pick_dtype(dtype), trust_remote_code)
    if adapter is not None:
        loaded = _merge_adapter(loaded, adapter)
    loaded.eval()
    block_weights(loaded)
    give_back_heap()
    use_packed_attention(loaded)
    stop_ids = _stop_ids(loaded, tokenizer)
    return LoadedModel(
        name=str(model),
        model=loaded,
        tokenizer=tokenizer,
        stop_ids=stop_ids,
        max_length=_context(loaded, max_length),
        guides=Guides(tokenizer, stop_ids, loaded.config.get_text_config().vocab_size),
    )


def _tokenizer_folder(model: str | Path, adapter: Path | None) -> str | Path:
    if adapter is not None and (adapter / "tokenizer_config.json").exists():
        return adapter
    return model


def _load_weights(path: str | Path, dtype: torch.dtype, trust_remote_code: bool) -> Model:
    gpus = torch.cuda.device_count()
    try:
        return AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            device_map="auto" if gpus > 1 else "cuda" if gpus else None,
            trust_remote_code=trust_remote_code,
        )
    except _LOAD_ERRORS as e:
        raise EngineError(f"the model {path} cannot be loaded: {_first_line(e)}") from e


def _merge_adapter(model: Model, adapter: Path) -> Model:
    try:
        return merge_adapter(model, adapter)
    except _LOAD_ERRORS as e:
        raise EngineError(
            f"the adapter {adapter} does not go with {model.name_or_path}: {_first_line(e)}"
        ) from e


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _pick_dtype(name: str) -> torch.dtype:
    if name == "auto":
        return fast_dtype()
    if name not in _DTYPES:
        raise EngineError(f"no number type {name!r}; use auto or one of: {', '.join(_DTYPES)}")
    return getattr(torch, name)


def _stop_ids(model: Model, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    found = [stop_token(tokenizer), tokenizer.eos_token_id, *listed]
    return frozenset(token for token in found if token is not None)


def _context(model: Model, max_length: int | None) -> int:
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [limit for limit in (max_length, own) if limit is not None]
    if not limits:
        raise EngineError(
            f"{model.name_or_path} does not say how many tokens it can take; set model_max_length"
        )
    return min(limits)
