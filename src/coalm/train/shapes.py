"""The model a training file names, as a skeleton without weights.

The weights of Llama are behind a form, and so are their configuration files; their shapes are
public, like that of every other model of our recipes. So a run can be planned before anything has
been downloaded.
"""

from __future__ import annotations

import re

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from coalm.engines.config import ModelConfig
from coalm.errors import TrainError
from coalm.train.model import read_model_config

_LLAMA = {
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
_SIZES = {
    "1B": (2048, 16, 32, 8192, {"head_dim": 64, "tie_word_embeddings": True}),
    "3B": (3072, 28, 24, 8192, {"tie_word_embeddings": True}),
    "8B": (4096, 32, 32, 14_336, {}),
    "70B": (8192, 80, 64, 28_672, {}),
    "405B": (16_384, 126, 128, 53_248, {}),
}
"""Width, layers, heads, inner width, and what else differs (arXiv 2407.21783, table 3, and the
model cards of Llama 3.2)."""
_NAME = re.compile(
    r"meta-llama/(?:Meta-)?Llama-3\.[123]-(?P<llama>\w+?B)(?:-Instruct)?"
    r"|uiuc-convai/CoALM-(?P<coalm>\w+?B)",
    re.IGNORECASE,
)
_QWEN = re.compile(r"Qwen/Qwen2\.5-1\.5B(?:-Instruct)?", re.IGNORECASE)
_QWEN_SHAPE = {
    "vocab_size": 151_936,
    "hidden_size": 1536,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "intermediate_size": 8960,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
"""As the model card has it (arXiv 2412.15115, table 1): that of a recipe here."""


def read_shape(model: ModelConfig) -> PreTrainedConfig:
    """The configuration of a model: a published shape that is known here, else its own file.

    Raises:
        TrainError: there is no such model.
    """
    if _QWEN.fullmatch(model.model_name):
        return AutoConfig.for_model("qwen2", **_QWEN_SHAPE)
    name = _NAME.fullmatch(model.model_name)
    size = _SIZES.get((name["llama"] or name["coalm"]).upper()) if name else None
    if size is None:
        return read_model_config(model)
    hidden, layers, heads, inner, more = size
    shape = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }
    return AutoConfig.for_model("llama", **{**_LLAMA, **shape, **more})


def skeleton(shape: PreTrainedConfig, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """The model's layers on torch's meta device: sizes without storage.

    Raises:
        TrainError: transformers has no causal language model of this kind.
    """
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(shape, trust_remote_code=trust_remote_code)
    except ValueError as e:
        kind = getattr(shape, "model_type", "unknown")
        raise TrainError(f"no causal language model of type {kind!r} can be built: {e}") from e
