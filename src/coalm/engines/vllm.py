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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from coalm.chat_template import encode_prompt, load_tokenizer, stop_token
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.engines.config import InferConfig, VllmConfig
from coalm.engines.gguf import resolve_model
from coalm.engines.stops import find_stop
from coalm.errors import ContextError, EngineError, TemplateError
from coalm.types import GuidedPrompt, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Before vLLM is imported: it reads these once. In one process, a run repeats and ends cleanly.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
vllm: Any = importlib.import_module("vllm")
_sampling: Any = importlib.import_module("vllm.sampling_params")
_lora: Any = importlib.import_module("vllm.lora.request")

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM makes room for."""
_WINDOW = 1024
"""Prompts handed to vLLM at a time; it takes of them what its memory allows."""


class _Request(NamedTuple):
    """One prompt on its way through vLLM."""

    place: int
    """Its index in the caller's prompts."""
    token_ids: list[int]
    room: int
    """Tokens that may be generated."""
    seed: int | None
    grammar: str | None
    """What the answer has to follow."""


class VllmEngine:
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
        settings = settings or VllmConfig()
        rank = None if adapter is None else _lora_rank(adapter)
        path = str(resolve_model(model))
        own_tokenizer = adapter is not None and (adapter / "tokenizer_config.json").exists()
        self.name = str(model)
        self._tokenizer = load_tokenizer(
            str(adapter) if own_tokenizer else path,
            chat_template,
            trust_remote_code=trust_remote_code,
        )
        self._adapter = None if adapter is None else _lora.LoRARequest("adapter", 1, str(adapter))
        options: dict[str, Any] = {"max_lora_rank": rank} if rank else {}
        try:
            self._llm = vllm.LLM(
                path,
                dtype=dtype,
                max_model_len=max_length,
                trust_remote_code=trust_remote_code,
                enable_prefix_caching=True,
                enable_lora=adapter is not None,
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
        self.max_length: int = self._llm.model_config.max_model_len
        """Tokens of prompt and answer together."""
        self._stop_ids = _stop_ids(self._llm, self._tokenizer)
        self._numbers = itertools.count()

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

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in the order of `prompts`.

        Raises:
            ContextError: a prompt leaves no room in the context; nothing is generated then.
            EngineError: the chat template refuses a prompt, vLLM fails, or the engine is closed.
        """
        engine, copies = self._open(), Counter[tuple[int, ...]]()
        requests = [
            self._request(at, prompt, params, copies, f"prompt {at + 1} of {len(prompts)}")
            for at, prompt in enumerate(prompts)
        ]
        found: dict[int, Completion] = {}
        for place, outcome in self._run(engine, requests, params):
            if isinstance(outcome, EngineError):
                raise outcome
            found[place] = outcome
        return [found[place] for place in range(len(prompts))]

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        """See `StreamingEngine.answers`."""
        return self._run(self._open(), self._requests(prompts, params), params)

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            gc.collect()

    def _open(self) -> Any:
        if self._llm is None:
            raise EngineError(f"the engine of {self.name} is closed; make a new one")
        return self._llm.llm_engine

    def _run(
        self, engine: Any, requests: Iterable[_Request | Answer | None], params: SamplingParams
    ) -> Iterator[Answer]:
        """Answer requests as they come; what is an answer already is passed on."""
        live: dict[str, _Request] = {}
        coming = iter(requests)
        try:
            while True:
                while len(live) < _WINDOW:
                    request = next(coming, None)
                    if request is None:
                        break
                    if isinstance(request, Answer):
                        yield request
                    else:
                        live[self._add(engine, request, params)] = request
                if not live:
                    return
                for output in self._step(engine):
                    request = live.pop(output.request_id)
                    yield Answer(
                        request.place, self._completion(request, output.outputs[0], params)
                    )
        finally:
            if live and self._llm is not None:
                engine.abort_request(list(live))

    def _add(self, engine: Any, request: _Request, params: SamplingParams) -> str:
        name = str(next(self._numbers))
        prompt = vllm.TokensPrompt(prompt_token_ids=request.token_ids)
        (rendered,) = engine.renderer.render_cmpl([prompt])
        engine.add_request(
            name, rendered, self._params(request, params), lora_request=self._adapter
        )
        return name

    def _step(self, engine: Any) -> list[Any]:
        try:
            return [output for output in engine.step() if output.finished]
        except RuntimeError as e:
            self.close()  # what is left in it would never end
            raise EngineError(f"vLLM failed on {self.name}: {_one_line(e)}; make a new one") from e

    def _requests(
        self, prompts: Iterable[Prompt | None], params: SamplingParams
    ) -> Iterator[_Request | Answer | None]:
        copies, place = Counter[tuple[int, ...]](), 0
        for prompt in prompts:
            if prompt is None:
                yield None
                continue
            try:
                yield self._request(place, prompt, params, copies, "the prompt")
            except EngineError as e:
                yield Answer(place, e)
            place += 1

    def _request(
        self,
        place: int,
        prompt: Prompt,
        params: SamplingParams,
        copies: Counter[tuple[int, ...]],
        called: str,
    ) -> _Request:
        try:
            ids = encode_prompt(self._tokenizer, prompt)
        except TemplateError as e:
            raise EngineError(str(e)) from e
        if len(ids) >= self.max_length:
            raise ContextError(
                f"{called} has {len(ids)} tokens and the context of {self.name} holds "
                f"{self.max_length}; shorten it or take a larger model"
            )
        copies[tuple(ids)] += 1
        return _Request(
            place,
            ids,
            min(params.max_new_tokens, self.max_length - len(ids)),
            _seed(params.seed, copies[tuple(ids)], ids),
            prompt.grammar if isinstance(prompt, GuidedPrompt) else None,
        )

    def _params(self, request: _Request, params: SamplingParams) -> Any:
        return vllm.SamplingParams(
            temperature=params.temperature,
            top_p=params.top_p,
            seed=request.seed,
            max_tokens=request.room,
            stop=list(params.stop),
            stop_token_ids=sorted(self._stop_ids),
            include_stop_str_in_output=True,
            output_kind=_sampling.RequestOutputKind.FINAL_ONLY,
            structured_outputs=request.grammar
            and _sampling.StructuredOutputsParams(grammar=request.grammar),
        )

    def _completion(self, request: _Request, output: Any, params: SamplingParams) -> Completion:
        ids = list(output.token_ids)
        text = str(
            self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )
        # vLLM cuts at the stop text that comes first in the list, not in the answer
        cut = find_stop(text, params.stop)
        return Completion(
            text=text[:cut],
            token_ids=tuple(ids),
            finish_reason="length" if output.finish_reason == "length" else "stop",
            usage=Usage(len(request.token_ids), len(ids)),
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _seed(seed: int | None, copy: int, ids: list[int]) -> int | None:
    """A seed per prompt, so that a sampled answer does not depend on what else is asked."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed} {copy} {ids}".encode()).digest()
    return int.from_bytes(digest[:7])


def _gpus() -> int:
    return max(1, torch.cuda.device_count())


def _lora_rank(adapter: Path) -> int:
    """The least that vLLM has to make room for."""
    path = adapter / "adapter_config.json"
    try:
        rank = int(json.loads(path.read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise EngineError(f"{adapter} is no LoRA adapter: {path.name} gives no rank") from e
    fitting = [size for size in _LORA_RANKS if size >= rank]
    if not fitting:
        raise EngineError(f"the adapter {adapter} has rank {rank}; vLLM takes at most 512")
    return fitting[0]


def _stop_ids(llm: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    own = llm.model_config.try_get_generation_config().get("eos_token_id")
    listed = own if isinstance(own, list) else [own]
    found = [stop_token(tokenizer), tokenizer.eos_token_id, *listed]
    return frozenset(int(token) for token in found if token is not None)
