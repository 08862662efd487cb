"""vLLM in this process: the fastest way to run many prompts on GPUs; its CPU build serves, too.

vLLM batches and caches prefixes itself. Token ids go in, made by `chat_template`; the text that
comes out is decoded here, as in the hf engine, so that stop texts end an answer in the same place.
The grammars of guided prompts go to llguidance, as they do there.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from coalm.chat_template import load_tokenizer, stop_token
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, Usage
from coalm.engines.config import InferConfig, VllmConfig
from coalm.engines.local import Asked, LocalEngine
from coalm.engines.named import resolve_model
from coalm.engines.stops import find_stop
from coalm.engines.streams import Piece, abandoned
from coalm.engines.token_text import GrowingText, decode
from coalm.errors import EngineError, GrammarError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Before vLLM is imported: it reads these once. In one process, a run repeats and ends cleanly.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
vllm: Any = importlib.import_module("vllm")
_sampling: Any = importlib.import_module("vllm.sampling_params")
_lora: Any = importlib.import_module("vllm.lora.request")
_exceptions: Any = importlib.import_module("vllm.exceptions")

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM makes room for."""
_WINDOW = 1024
"""Prompts handed to vLLM at a time; it takes of them what its memory allows."""
_NUMBERS = itertools.count()
"""Names of requests."""


class _Loaded(NamedTuple):
    """A model that is ready to generate."""

    name: str
    engine: Any
    """vLLM's `LLMEngine`."""
    tokenizer: PreTrainedTokenizerBase
    stop_ids: list[int]
    """Tokens that end an answer."""
    adapter: Any | None
    """vLLM's `LoRARequest`."""


class VllmEngine(LocalEngine):
    """A causal language model of vLLM, with an optional LoRA adapter.

    The checkpoint's own generation settings (sampling, penalties) do not apply; only its end tokens
    do, beside the one that ends a turn in the chat template.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        adapter: Path | None = None,
        dtype: str = "auto",
        max_length: int | None = None,
        chat_template: str | None = None,
        trust_remote_code: bool = False,
        settings: VllmConfig | None = None,
    ) -> None:
        """Load the model onto the GPUs, or onto the CPU where vLLM is built for it.

        Args:
            model: Folder, hub name, or `smollm2-135m-instruct`, which is fetched on first use.
            adapter: Folder of a LoRA adapter. A tokenizer in it takes the place of the model's,
                because training chose its chat template.
            dtype: A torch name, or `auto`: as vLLM chooses for the checkpoint.
            max_length: Tokens of prompt and answer together; None is what the model allows.
            chat_template: As for `load_tokenizer`.
            trust_remote_code: Run code that comes with the model.
            settings: How to spread the model, and memory.

        Raises:
            EngineError: the model or the adapter cannot be loaded.
            TemplateError: the tokenizer or its chat template cannot be used.
        """
        options = _adapter_options(adapter)
        path = str(resolve_model(model))
        own_tokenizer = adapter is not None and (adapter / "tokenizer_config.json").exists()
        self.name = str(model)
        self._tokenizer = load_tokenizer(
            str(adapter) if own_tokenizer else path,
            chat_template,
            trust_remote_code=trust_remote_code,
        )
        llm = _load(
            path,
            settings or VllmConfig(),
            dtype=dtype,
            max_model_len=max_length,
            trust_remote_code=trust_remote_code,
            **options,
        )
        self.max_length = llm.model_config.max_model_len
        self._loaded: _Loaded | None = _Loaded(
            name=self.name,
            engine=llm.llm_engine,
            tokenizer=self._tokenizer,
            stop_ids=_stop_ids(llm, self._tokenizer),
            adapter=adapter and _lora.LoRARequest("adapter", 1, str(adapter)),
        )

    @classmethod
    def from_config(cls, config: InferConfig) -> VllmEngine:
        """The engine that an inference file describes."""
        model = config.model
        return cls(
            model.model_name,
            adapter=Path(model.adapter_model) if model.adapter_model else None,
            dtype=model.torch_dtype_str,
            max_length=model.model_max_length,
            chat_template=model.chat_template,
            trust_remote_code=model.trust_remote_code,
            settings=config.vllm,
        )

    def _batch(self) -> _Batch:
        if self._loaded is None:
            raise EngineError(f"the engine of {self.name} is closed; make a new one")
        return _Batch(self._loaded, self.close)

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if self._loaded is not None:
            self._loaded.engine.engine_core.shutdown()
            self._loaded = None
            gc.collect()


@dataclass(eq=False)
class _Running:
    """A job that vLLM has."""

    asked: Asked
    text: GrowingText | None
    """What there is to read so far, where somebody does."""
    ids: list[int] = field(default_factory=list)
    """The answer so far."""


class _Batch:
    """The jobs that vLLM has; of these it runs at once what its memory allows."""

    def __init__(self, loaded: _Loaded, fail: Callable[[], None]) -> None:
        """Empty.

        Args:
            loaded: The model.
            fail: Called when vLLM has failed.
        """
        self._loaded = loaded
        self._fail = fail
        self._live: dict[str, _Running] = {}

    def __len__(self) -> int:
        return len(self._live)

    @property
    def has_room(self) -> bool:
        """See `Batch` of `coalm.engines.local`, as for the other methods."""
        return len(self) < _WINDOW

    def add(self, asked: Asked) -> None:
        """Hand a job to vLLM."""
        loaded, name = self._loaded, str(next(_NUMBERS))
        prompt = vllm.TokensPrompt(prompt_token_ids=asked.ids)
        (rendered,) = loaded.engine.renderer.render_cmpl([prompt])
        params = _params(asked, loaded.stop_ids)
        try:
            loaded.engine.add_request(name, rendered, params, lora_request=loaded.adapter)
        except (ValueError, _exceptions.VLLMValidationError) as e:
            if asked.grammar is None:
                raise EngineError(f"vLLM refuses the prompt: {_one_line(e)}") from e
            raise GrammarError(f"the grammar cannot be used: {_one_line(e)}") from e
        text = GrowingText(loaded.tokenizer, 0, asked.job.params.stop) if asked.is_read else None
        self._live[name] = _Running(asked, text)

    def step(self) -> Iterator[Piece | Answer]:
        """Let vLLM go on by a token."""
        yield from self._drop_abandoned()
        for output in self._outputs():
            running = self._live[output.request_id]
            running.ids += output.outputs[0].token_ids
            if output.finished:
                del self._live[output.request_id]
                reason = output.outputs[0].finish_reason
                yield Answer(running.asked.place, self._outcome(running, reason))
            elif running.text and (said := running.text.grown(running.ids)):
                yield Piece(running.asked.place, said)

    def close(self) -> None:
        """Take all jobs back."""
        self._abort(self._live)
        self._live.clear()

    def _drop_abandoned(self) -> Iterator[Answer]:
        gone = {name: one for name, one in self._live.items() if one.asked.job.abandoned}
        self._abort(gone)
        for name, running in gone.items():
            del self._live[name]
            yield Answer(running.asked.place, abandoned())

    def _abort(self, names: Iterable[str]) -> None:
        if listed := [*names]:
            self._loaded.engine.abort_request(listed)

    def _outputs(self) -> list[Any]:
        try:
            return self._loaded.engine.step() if self._live else []
        except RuntimeError as e:
            self._live.clear()
            self._fail()  # what is left in it would never end
            name = self._loaded.name
            raise EngineError(f"vLLM failed on {name}: {_one_line(e)}; make a new one") from e

    def _outcome(self, running: _Running, reason: str) -> Completion | EngineError:
        if reason not in ("stop", "length"):
            return EngineError(f"vLLM gave this answer up: {reason}")
        text = decode(self._loaded.tokenizer, running.ids)
        # vLLM cuts at the stop text that comes first in the list, not in the answer
        cut = find_stop(text, running.asked.job.params.stop)
        return Completion(
            text=text[:cut],
            token_ids=tuple(running.ids),
            finish_reason="length" if reason == "length" else "stop",
            usage=Usage(len(running.asked.ids), len(running.ids)),
        )


def _params(asked: Asked, stop_ids: list[int]) -> Any:
    params, kinds = asked.job.params, _sampling.RequestOutputKind
    return vllm.SamplingParams(
        temperature=params.temperature,
        top_p=params.top_p,
        seed=None if asked.draws is None else _seed(asked.draws),
        max_tokens=asked.room,
        stop=list(params.stop),
        stop_token_ids=stop_ids,
        include_stop_str_in_output=True,
        output_kind=kinds.DELTA if asked.is_read else kinds.FINAL_ONLY,
        structured_outputs=asked.grammar
        and _sampling.StructuredOutputsParams(grammar=asked.grammar),
    )


def _seed(draws: str) -> int:
    return int.from_bytes(hashlib.sha256(draws.encode()).digest()[:7])


def _load(path: str, settings: VllmConfig, **options: Any) -> Any:
    try:
        return vllm.LLM(
            path,
            enable_prefix_caching=True,
            tensor_parallel_size=settings.tensor_parallel_size or _gpus(),
            pipeline_parallel_size=settings.pipeline_parallel_size,
            distributed_executor_backend=settings.distributed_executor_backend,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            quantization=settings.quantization,
            enforce_eager=settings.enforce_eager,
            structured_outputs_config={"backend": "guidance"},
            **options,
        )
    except (OSError, ValueError, RuntimeError) as e:
        raise EngineError(f"vLLM cannot load the model {path}: {_one_line(e)}") from e


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _gpus() -> int:
    return max(1, torch.cuda.device_count())


def _adapter_options(adapter: Path | None) -> dict[str, Any]:
    """The least room that vLLM has to make for an adapter."""
    if adapter is None:
        return {}
    path = adapter / "adapter_config.json"
    try:
        rank = int(json.loads(path.read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise EngineError(f"{adapter} is no LoRA adapter: {path.name} gives no rank") from e
    fitting = [size for size in _LORA_RANKS if size >= rank]
    if not fitting:
        raise EngineError(f"the adapter {adapter} has rank {rank}; vLLM takes at most 512")
    return {"enable_lora": True, "max_lora_rank": fitting[0]}


def _stop_ids(llm: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    own = llm.model_config.try_get_generation_config().get("eos_token_id")
    listed = own if isinstance(own, list) else [own]
    found = [stop_token(tokenizer), tokenizer.eos_token_id, *listed]
    return sorted({int(token) for token in found if token is not None})
