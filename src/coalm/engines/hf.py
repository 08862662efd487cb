"""Transformers in this process: one machine, CPU or GPU, many prompts at once.

Answers are computed in one running batch that prompts enter and leave at any time (`hf_batch`);
keys and values of what prompts share, in one call or from call to call, are computed once
(`hf_cache`, `hf_pool`).
"""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from coalm.engines.config import InferConfig
from coalm.engines.hf_batch import Batch
from coalm.engines.hf_model import LoadedModel, load_model
from coalm.engines.hf_pool import StripPool
from coalm.engines.local import LocalEngine
from coalm.errors import EngineError

_ATTENTION = (None, "sdpa")


class HfEngine(LocalEngine):
    """A causal language model of transformers, with an optional LoRA adapter.

    The checkpoint's own generation settings (sampling, penalties, forced tokens) do not apply;
    only its end tokens do, beside the one that ends a turn in the chat template.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        adapter: Path | None = None,
        dtype: str = "auto",
        attn_implementation: str | None = None,
        max_length: int | None = None,
        batch_size: int = 16,
        cache_tokens: int = 12_288,
        chat_template: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model onto the GPU if there is one, else onto the CPU.

        Args:
            model: Folder, hub name, or `smollm2-135m-instruct`, which is fetched on first use.
            adapter: Folder of a LoRA adapter; it is merged into the weights. A tokenizer in it
                takes the place of the model's, because training chose its chat template.
            dtype: A torch name, or `auto`: bfloat16 where the hardware computes in it, else float16
                on a GPU and float32 on a CPU. SmolLM2-135M on a CPU with avx512_bf16 answers twice
                as fast in bfloat16 as in float32, but its answers then vary with the batch.
            attn_implementation: `sdpa` or None; this engine has no other.
            max_length: Tokens of prompt and answer together; None is what the model allows.
            batch_size: Answers under way at once at most.
            cache_tokens: Tokens whose keys and values are kept at most, those of answers under way
                included; a prompt that needs more runs alone.
            chat_template: As for `load_tokenizer`.
            trust_remote_code: Run code that comes with the model.

        Raises:
            EngineError: the model or the adapter cannot be loaded, or not run by this engine.
            TemplateError: the tokenizer or its chat template cannot be used.
            MissingExtraError: an adapter is asked for and peft is not installed.
        """
        if attn_implementation not in _ATTENTION:
            raise EngineError(
                f"the hf engine attends by sdpa, not by {attn_implementation!r}; set "
                "attn_implementation to sdpa or leave it out"
            )
        self.name = str(model)
        self._loaded: LoadedModel | None = load_model(
            model,
            adapter=adapter,
            dtype=dtype,
            max_length=max_length,
            chat_template=chat_template,
            trust_remote_code=trust_remote_code,
        )
        self.max_length = self._loaded.max_length
        self._tokenizer = self._loaded.tokenizer
        self._batch_size = batch_size
        self._pool = StripPool(cache_tokens, batch_size)

    @classmethod
    def from_config(cls, config: InferConfig) -> HfEngine:
        """The engine that an inference file describes."""
        model, generation = config.model, config.generation
        given = {"batch_size": generation.batch_size, "cache_tokens": generation.cache_tokens}
        return cls(
            model.model_name,
            adapter=Path(model.adapter_model) if model.adapter_model else None,
            dtype=model.torch_dtype_str,
            attn_implementation=model.attn_implementation,
            max_length=model.model_max_length,
            chat_template=model.chat_template,
            trust_remote_code=model.trust_remote_code,
            **{name: value for name, value in given.items() if value is not None},
        )

    def _batch(self) -> Batch:
        if self._loaded is None:
            raise EngineError(f"the engine of {self.name} is closed; make a new one")
        return Batch(self._loaded, self._pool, self._batch_size)

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self._loaded = None
        self._pool.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
