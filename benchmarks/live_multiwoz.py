"""How many turns of live MultiWOZ dialogues does a second take, one at a time and in step?

Usage:
    python benchmarks/live_multiwoz.py [--count 16] [--max-new-tokens 48] [--model NAME]

Three ways to hold the same dialogues, the users of the corpus replayed, greedy, bfloat16:

    generate   one dialogue at a time, every prompt read from its beginning by transformers'
               `generate`: a plain loop around a model
    alone      one dialogue at a time with the hf engine, which keeps what prompts share
    together   all of them in step with the hf engine, as `coalm eval run` does

A turn is one of the user's, with all the calls that the agent makes before it answers. Needs
SmolLM2-135M-Instruct and MultiWOZ (`coalm fetch`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from coalm.agent.rollout import run_many
from coalm.chat_template import encode_prompt, load_tokenizer, stop_token
from coalm.engines.base import Completion, Engine, SamplingParams, Usage
from coalm.engines.hf import HfEngine
from coalm.engines.named import resolve_model
from coalm.engines.stops import find_stop
from coalm.evals.multiwoz.task import MultiWoz, MultiWozConfig
from coalm.types import Prompt

WANTED = 4.0
"""Times the turns of `generate` that dialogues in step have to reach."""


class PlainEngine:
    """`generate`, a prompt at a time."""

    def __init__(self, name: str) -> None:
        path = resolve_model(name)
        self._tokenizer = load_tokenizer(path)
        self._model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
        self._stop = stop_token(self._tokenizer)

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`."""
        return [self._answer(prompt, params) for prompt in prompts]

    def close(self) -> None:
        """See `Engine.close`."""

    def _answer(self, prompt: Prompt, params: SamplingParams) -> Completion:
        ids = torch.tensor([encode_prompt(self._tokenizer, prompt)])
        output = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=params.max_new_tokens,
            do_sample=False,
            eos_token_id=self._stop,
            pad_token_id=self._stop,
            stop_strings=[*params.stop] or None,
            tokenizer=self._tokenizer,
        )
        answer = output[0, ids.shape[1] :].tolist()
        text = self._tokenizer.decode(answer, skip_special_tokens=True)
        if (at := find_stop(text, params.stop)) is not None:
            text = text[:at]
        return Completion(text, tuple(answer), "stop", Usage(ids.shape[1], len(answer)))


def turns_a_second(
    engine: Engine, task: MultiWoz, count: int, params: SamplingParams, batch_size: int
) -> float:
    """Hold the first `count` dialogues."""
    samples = task.samples()[:count]
    engine.generate([next(task.rollout(samples[0]))], params)  # what loads at first use
    start, turns = time.perf_counter(), 0
    rollouts = ((sample.id, task.rollout(sample)) for sample in samples)
    for finished in run_many(rollouts, engine, params, batch_size=batch_size):
        if finished.conversation is None:
            sys.exit(f"{finished.id} failed: {finished.error}")
        turns += sum(message.role == "user" for message in finished.conversation.messages)
    seconds = time.perf_counter() - start
    engine.close()
    print(f"{turns} turns in {seconds:.0f} s: {turns / seconds:.3f} a second", flush=True)
    return turns / seconds


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=16, help="dialogues")
    parser.add_argument("--max-new-tokens", type=int, default=48)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    options = parser.parse_args()
    task = MultiWoz(MultiWozConfig())
    params = SamplingParams(max_new_tokens=options.max_new_tokens, stop=task.stop)
    found: dict[str, float] = {}
    for name in ("together", "alone", "generate"):
        print(f"{name:10}", end="", flush=True)
        batch_size = options.count if name == "together" else 1
        engine: Engine
        if name == "generate":
            engine = PlainEngine(options.model)
        else:
            engine = HfEngine(options.model, dtype="bfloat16", batch_size=batch_size)
        found[name] = turns_a_second(engine, task, options.count, params, batch_size)
    for name in ("alone", "generate"):
        print(f"together is {found['together'] / found[name]:.1f} times as fast as {name}")
    return int(found["together"] < WANTED * found["generate"])


if __name__ == "__main__":
    sys.exit(main())
