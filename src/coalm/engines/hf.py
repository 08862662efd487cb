"""Transformers in this process: one machine, CPU or GPU, many prompts at once.

Answers are computed in one running batch that prompts enter and leave at any time (`hf_batch`);
keys and values of what prompts share, in one call or from call to call, are computed once
(`hf_cache`).
"""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from coalm.chat_template import encode_prompt
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams
from coalm.engines.config import InferConfig
from coalm.engines.hf_batch import LOOKAHEAD, Batch, Request
from coalm.engines.hf_cache import StripPool
from coalm.engines.hf_model import LoadedModel, load_model
from coalm.engines.hf_text import GrowingText
from coalm.engines.streams import Job, Piece
from coalm.errors import ContextError, EngineError, TemplateError
from coalm.types import GuidedPrompt, Prompt

_ATTENTION = (None, "sdpa")


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
        batch_size: int = 16,
        cache_tokens: int = 16_384,
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
        """Tokens of prompt and answer together."""
        self._batch_size = batch_size
        self._pool = StripPool(cache_tokens)

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

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in the order of `prompts`.

        Raises:
            ContextError: a prompt leaves no room in the context; nothing is generated then.
            EngineError: the chat template refuses a prompt, memory runs out, or the engine is
                closed.
        """
        loaded, copies = self._open(), Counter[tuple[int, ...]]()
        requests = [
            _request(loaded, place, prompt, params, copies, f"prompt {place + 1} of {len(prompts)}")
            for place, prompt in enumerate(prompts)
        ]
        requests.sort(key=lambda request: request.ids)  # neighbours share as much as they can
        found: dict[int, Completion] = {}
        for place, outcome in _whole(self._run(loaded, requests)):
            if isinstance(outcome, EngineError):
                raise outcome
            found[place] = outcome
        return [found[place] for place in range(len(prompts))]

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        """See `StreamingEngine.answers`."""
        loaded = self._open()
        return _whole(self._run(loaded, _requests(loaded, prompts, params)))

    def stream(self, jobs: Iterable[Job | None]) -> Iterator[Piece | Answer]:
        """See `TokenEngine.stream`."""
        loaded = self._open()
        return self._run(loaded, _job_requests(loaded, jobs))

    def _open(self) -> LoadedModel:
        if self._loaded is None:
            raise EngineError(f"the engine of {self.name} is closed; make a new one")
        return self._loaded

    def _run(
        self, loaded: LoadedModel, requests: Iterable[Request | Answer | None]
    ) -> Iterator[Piece | Answer]:
        """Answer requests as they come; what is an answer already is passed on."""
        batch = Batch(loaded, self._pool, self._batch_size)
        coming = iter(requests)
        try:
            while True:
                while len(batch) < self._batch_size + LOOKAHEAD:
                    request = next(coming, None)
                    if request is None:
                        break
                    if isinstance(request, Answer):
                        yield request
                    else:
                        batch.add(request)
                if not len(batch):
                    return
                yield from batch.step()
        finally:
            batch.close()

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self._loaded = None
        self._pool.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _whole(events: Iterator[Piece | Answer]) -> Iterator[Answer]:
    return (event for event in events if isinstance(event, Answer))


def _job_requests(
    loaded: LoadedModel, jobs: Iterable[Job | None]
) -> Iterator[Request | Answer | None]:
    place = 0
    for job in jobs:
        if job is None:
            yield None
            continue
        try:
            request = _request(loaded, place, job.prompt, job.params, Counter(), "the prompt")
        except EngineError as e:
            yield Answer(place, e)
        else:
            request.job = job
            request.text = GrowingText(loaded.tokenizer, len(request.ids), job.params.stop)
            yield request
        place += 1


def _requests(
    loaded: LoadedModel, prompts: Iterable[Prompt | None], params: SamplingParams
) -> Iterator[Request | Answer | None]:
    copies, place = Counter[tuple[int, ...]](), 0
    for prompt in prompts:
        if prompt is None:
            yield None
            continue
        try:
            yield _request(loaded, place, prompt, params, copies, "the prompt")
        except EngineError as e:
            yield Answer(place, e)
        place += 1


def _request(
    loaded: LoadedModel,
    place: int,
    prompt: Prompt,
    params: SamplingParams,
    copies: Counter[tuple[int, ...]],
    called: str,
) -> Request:
    try:
        ids = encode_prompt(loaded.tokenizer, prompt)
    except TemplateError as e:
        raise EngineError(str(e)) from e
    if len(ids) >= loaded.max_length:
        raise ContextError(
            f"{called} has {len(ids)} tokens and the context of {loaded.name} holds "
            f"{loaded.max_length}; shorten it or take a larger model"
        )
    copy = copies[key := tuple(ids)]
    copies[key] += 1
    seed = None if params.seed is None else f"{params.seed} {copy} {ids}"
    return Request(
        place=place,
        ids=ids,
        prompt_length=len(ids),
        end=min(len(ids) + params.max_new_tokens, loaded.max_length),
        numbers=random.Random(seed),
        params=params,
        guide=loaded.guides.make(prompt.grammar) if isinstance(prompt, GuidedPrompt) else None,
    )
