"""Transformers in this process: batches of prompts on one machine, CPU or GPU.

Prompts are sorted by length and run in left-padded batches. Greedy answers do not depend on the
batch but for rounding. Sampled answers neither: every prompt draws from random numbers of its own,
which follow from the seed and the prompt's ids.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from coalm.chat_template import encode_prompt, load_tokenizer, stop_token
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.engines.config import InferConfig
from coalm.engines.gguf import resolve_model
from coalm.engines.stops import find_stop
from coalm.errors import EngineError, MissingExtraError, TemplateError
from coalm.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_Model: TypeAlias = Any
"""What AutoModelForCausalLM loads; transformers has no one type for it."""

_DTYPES = ("float32", "bfloat16", "float16", "float64")
_RANKED = 1024
"""Tokens that `top_p` looks at first; to sort a whole vocabulary takes a CPU as long as a small
model takes to compute it."""
_LOAD_ERRORS = (OSError, ValueError, RuntimeError, SafetensorError)


class _Request(NamedTuple):
    """One prompt on its way through the model."""

    place: int
    """Its index in the caller's list."""
    token_ids: list[int]
    room: int
    """Tokens that may be generated."""
    numbers: random.Random
    """Where its samples come from."""


class HfEngine:
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
        batch_size: int = 8,
        batch_tokens: int = 32_768,
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
            attn_implementation: A name that transformers knows; None lets it choose.
            max_length: Tokens of prompt and answer together; None is what the model allows.
            batch_size: Prompts in one forward pass at most.
            batch_tokens: Tokens in one forward pass at most, the room for answers included.
            chat_template: As for `load_tokenizer`.
            trust_remote_code: Run code that comes with the model.

        Raises:
            EngineError: the model or the adapter cannot be loaded.
            TemplateError: the tokenizer or its chat template cannot be used.
            MissingExtraError: an adapter is asked for and peft is not installed.
        """
        if adapter is not None and not (adapter / "adapter_config.json").exists():
            raise EngineError(f"{adapter} is no LoRA adapter: it holds no adapter_config.json")
        path = resolve_model(model)
        self.name = str(model)
        self._tokenizer = load_tokenizer(
            _tokenizer_folder(path, adapter), chat_template, trust_remote_code=trust_remote_code
        )
        loaded = _load_model(path, _pick_dtype(dtype), attn_implementation, trust_remote_code)
        if adapter is not None:
            loaded = _merge_adapter(loaded, adapter)
        self._stop_ids = _stop_ids(loaded, self._tokenizer)
        # generate() fills gaps in the settings it is given from the checkpoint's own
        loaded.generation_config = GenerationConfig()
        self._model: _Model = loaded.eval()
        self.max_length = _context(loaded, max_length)
        """Tokens of prompt and answer together."""
        self._batch_size = batch_size
        self._batch_tokens = batch_tokens

    @classmethod
    def from_config(cls, config: InferConfig) -> HfEngine:
        """The engine that an inference file describes."""
        model, batch_size = config.model, config.generation.batch_size
        return cls(
            model.model_name,
            adapter=Path(model.adapter_model) if model.adapter_model else None,
            dtype=model.torch_dtype_str,
            attn_implementation=model.attn_implementation,
            max_length=model.model_max_length,
            chat_template=model.chat_template,
            trust_remote_code=model.trust_remote_code,
            **({} if batch_size is None else {"batch_size": batch_size}),
        )

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in the order of `prompts`.

        Raises:
            EngineError: a prompt leaves no room in the context (nothing is generated then), the
                chat template refuses it, memory runs out, or the engine is closed.
        """
        if self._model is None:
            raise EngineError(f"the engine of {self.name} is closed; make a new one")
        requests = self._requests(prompts, params)
        done: dict[int, Completion] = {}
        for batch in _batches(requests, self._batch_size, self._batch_tokens):
            answers = self._run(self._model, batch, params)
            done.update(zip((request.place for request in batch), answers, strict=True))
        return [done[place] for place in range(len(prompts))]

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _requests(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[_Request]:
        copies: Counter[tuple[int, ...]] = Counter()
        requests: list[_Request] = []
        for place, prompt in enumerate(prompts):
            try:
                ids = encode_prompt(self._tokenizer, prompt)
            except TemplateError as e:
                raise EngineError(str(e)) from e
            if len(ids) >= self.max_length:
                raise EngineError(
                    f"prompt {place + 1} of {len(prompts)} has {len(ids)} tokens and the context "
                    f"of {self.name} holds {self.max_length}; shorten it or take a larger model"
                )
            room = min(params.max_new_tokens, self.max_length - len(ids))
            copy = copies[key := tuple(ids)]
            copies[key] += 1
            seed = None if params.seed is None else f"{params.seed} {copy} {ids}"
            requests.append(_Request(place, ids, room, random.Random(seed)))
        return requests

    def _run(
        self, model: _Model, batch: Sequence[_Request], params: SamplingParams
    ) -> list[Completion]:
        width = max(len(request.token_ids) for request in batch)
        pad = [width - len(request.token_ids) for request in batch]
        pad_id = self._stop_ids[0]  # any would do: it is masked, or comes after the answer's end
        rows = [[pad_id] * n + r.token_ids for n, r in zip(pad, batch, strict=True)]
        mask = [[0] * n + [1] * (width - n) for n in pad]
        stops = _StopTexts(self._tokenizer, params.stop, width, len(batch))
        draw = _Draw(params, [request.numbers for request in batch])
        settings = GenerationConfig(
            max_new_tokens=batch[0].room,
            do_sample=False,  # _Draw leaves one token per row to choose
            eos_token_id=self._stop_ids,
            pad_token_id=pad_id,
        )
        try:
            output = model.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=settings,
                logits_processor=LogitsProcessorList([draw] if params.temperature else []),
                stopping_criteria=StoppingCriteriaList([stops] if params.stop else []),
            )
        except torch.OutOfMemoryError as e:
            raise EngineError(
                f"no memory left for {len(batch)} prompts of up to {width} tokens with "
                f"{batch[0].room} tokens to answer; lower batch_size (now {self._batch_size})"
            ) from e
        answers = output[:, width:].tolist()
        return [
            self._completion(request, answer[:end], params)
            for request, answer, end in zip(batch, answers, stops.ends, strict=True)
        ]

    def _completion(
        self, request: _Request, answer: list[int], params: SamplingParams
    ) -> Completion:
        ends = (count for count, token in enumerate(answer, 1) if token in self._stop_ids)
        ids = answer[: next(ends, len(answer))]
        text = _decode(self._tokenizer, ids)
        cut = find_stop(text, params.stop)
        ended = cut is not None or ids[-1] in self._stop_ids
        return Completion(
            text=text[:cut],
            token_ids=tuple(ids),
            finish_reason="stop" if ended else "length",
            usage=Usage(len(request.token_ids), len(ids)),
        )


def _batches(
    requests: Iterable[_Request], batch_size: int, batch_tokens: int
) -> Iterator[list[_Request]]:
    """Requests of similar length and equal room together, the longest first.

    Longest first, so that a lack of memory shows at once. Equal room, because a batch generates as
    many tokens for all, and past its room a row would leave the context.
    """
    batch: list[_Request] = []
    for request in sorted(requests, key=lambda r: len(r.token_ids), reverse=True):
        if batch:
            longest = len(batch[0].token_ids) + batch[0].room
            full = len(batch) == batch_size or (len(batch) + 1) * longest > batch_tokens
            if full or request.room != batch[0].room:
                yield batch
                batch = []
        batch.append(request)
    if batch:
        yield batch


class _Draw(LogitsProcessor):
    """Draws a token per row with that row's random numbers and leaves no other to choose."""

    def __init__(self, params: SamplingParams, numbers: Sequence[random.Random]) -> None:
        self._temperature = params.temperature
        self._top_p = params.top_p
        self._numbers = numbers

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary], all but the drawn token at minus infinity."""
        probabilities = torch.softmax(scores.double() / self._temperature, dim=-1)
        likely, tokens = _likely_first(probabilities, self._top_p)
        below = likely.cumsum(dim=-1)
        last = likely.shape[-1] - 1
        top_p = torch.full_like(below[:, :1], self._top_p)
        kept = below.gather(-1, torch.searchsorted(below, top_p).clamp(max=last))
        numbers = [[row.random()] for row in self._numbers]
        point = torch.tensor(numbers, dtype=below.dtype, device=below.device) * kept
        place = torch.searchsorted(below, point, right=True).clamp(max=last)
        drawn = tokens.gather(-1, place)
        return torch.full_like(scores, -torch.inf).scatter_(-1, drawn, 0.0)


def _likely_first(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities and their tokens, in the order in which `top_p` takes them."""
    count = probabilities.shape[-1]
    if top_p == 1.0:
        tokens = torch.arange(count, device=probabilities.device)
        return probabilities, tokens.expand_as(probabilities)
    likely, tokens = probabilities.topk(min(_RANKED, count), dim=-1)
    if bool((likely.sum(dim=-1) < top_p).any()):
        return probabilities.sort(dim=-1, descending=True, stable=True)
    return likely, tokens


class _StopTexts(StoppingCriteria):
    """Ends each row at its first stop text; `ends` says after how many new tokens."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], start: int, rows: int
    ) -> None:
        self.ends: list[int | None] = [None] * rows
        self._tokenizer = tokenizer
        self._stop = stop
        self._start = start
        # a token is at least a byte: a stop text that the last token completes lies within these
        self._window = max((len(text.encode()) for text in stop), default=0) + 1

    def __call__(
        self, input_ids: torch.LongTensor, scores: tuple[Tensor] | None, **kwargs: object
    ) -> torch.BoolTensor:
        """Which rows have ended: bool [rows]."""
        length = input_ids.shape[1]
        tails = input_ids[:, max(self._start, length - self._window) :].tolist()
        for row, tail in enumerate(tails):
            if self.ends[row] is None:
                text = _decode(self._tokenizer, tail)
                if find_stop(text, self._stop) is not None:
                    self.ends[row] = length - self._start
        ended = [end is not None for end in self.ends]
        return cast("torch.BoolTensor", torch.tensor(ended, device=input_ids.device))


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    # Llama 3's tokenizer asks for a clean-up that removes spaces the model wrote
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    return str(tokenizer.decode(ids, **options))


def _tokenizer_folder(model: str | Path, adapter: Path | None) -> str | Path:
    if adapter is not None and (adapter / "tokenizer_config.json").exists():
        return adapter
    return model


def _load_model(
    path: str | Path, dtype: torch.dtype, attention: str | None, trust_remote_code: bool
) -> _Model:
    gpus = torch.cuda.device_count()
    try:
        return AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=attention,
            device_map="auto" if gpus > 1 else "cuda" if gpus else None,
            trust_remote_code=trust_remote_code,
        )
    except _LOAD_ERRORS as e:
        raise EngineError(f"the model {path} cannot be loaded: {_first_line(e)}") from e


def _merge_adapter(model: _Model, adapter: Path) -> _Model:
    try:
        from peft import PeftModel
    except ModuleNotFoundError as e:
        raise MissingExtraError("peft", "hf") from e
    try:
        with warnings.catch_warnings():
            # peft calls parts of transformers by names that are going to be dropped
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except _LOAD_ERRORS as e:
        raise EngineError(
            f"the adapter {adapter} does not go with {model.name_or_path}: {_first_line(e)}"
        ) from e


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _pick_dtype(name: str) -> torch.dtype:
    if name == "auto":
        return _fast_dtype()
    if name not in _DTYPES:
        raise EngineError(f"no number type {name!r}; use auto or one of: {', '.join(_DTYPES)}")
    return getattr(torch, name)


def _fast_dtype() -> torch.dtype:
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if able else torch.float16
    # older releases of torch cannot tell; float32 is then right on every CPU, only slower on some
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    able = any(able for name, able in capabilities.items() if name.endswith("bf16"))
    return torch.bfloat16 if able else torch.float32


def _stop_ids(model: _Model, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    found = [stop_token(tokenizer), tokenizer.eos_token_id, *listed]
    return sorted({token for token in found if token is not None})


def _context(model: _Model, max_length: int | None) -> int:
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [limit for limit in (max_length, own) if limit is not None]
    if not limits:
        raise EngineError(
            f"{model.name_or_path} does not say how many tokens it can take; set model_max_length"
        )
    return min(limits)
