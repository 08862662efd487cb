"""Do guided calls always fit their tools, and what do they cost?

Usage:
    python benchmarks/guided.py [--count 500] [--cost 48] [--model smollm2-135m-instruct]

Real prompts in coalm's `json_calls` format: single-turn BFCL V3 entries, live and not, and
API-Bank, half each, spread over the whole of both. The hf engine answers each free and guided. A
call fits when it can be read, its function is on offer, and `check_arguments` finds nothing to
refuse or to convert. Exit status 1 if a guided call does not fit.

The cost is that of a token that is generated: time for the first `--cost` prompts, less the time to
read them (the same prompts with one new token), for each token of the answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from coalm.engines.base import Completion, SamplingParams
from coalm.engines.hf import HfEngine
from coalm.errors import ToolError
from coalm.evals.apibank.task import ApiBank, ApiBankConfig
from coalm.evals.base import Task
from coalm.evals.bfcl.task import Bfcl, BfclConfig
from coalm.formats import get_format
from coalm.tools import check_arguments
from coalm.types import GuidedPrompt, ToolCall, ToolSchema

FORMAT = get_format("json_calls")


class Case(NamedTuple):
    """A prompt and the functions on offer."""

    prompt: GuidedPrompt
    tools: dict[str, ToolSchema]


def cases(count: int) -> list[Case]:
    """So many prompts, half of each benchmark."""
    tasks: list[Task] = [
        Bfcl(BfclConfig(style="calls", categories=("non_live", "live")), guided=True),
        ApiBank(ApiBankConfig(form="original"), guided=True),
    ]
    found: list[Case] = []
    for task in tasks:
        samples = task.samples()
        share = count // len(tasks)
        for at in range(share):
            sample = samples[at * len(samples) // share]
            prompt = next(task.rollout(sample))
            assert isinstance(prompt, GuidedPrompt)
            found.append(Case(prompt, {tool.name: tool for tool in sample.conversation.tools}))
    return found


def fits(call: ToolCall, tools: dict[str, ToolSchema]) -> bool:
    """Whether a call can be run as it stands."""
    if call.error is not None or call.name not in tools:
        return False
    try:
        checked = check_arguments(tools[call.name], call.arguments)
    except ToolError:
        return False
    # 1, 1.0 and True are equal in Python, not in JSON
    return json.dumps(checked) == json.dumps(call.arguments)


def count_calls(name: str, asked: Sequence[Case], answers: Sequence[Completion]) -> bool:
    """Print how many calls can be read and fit; whether all do."""
    calls = [
        (call, case.tools)
        for case, answer in zip(asked, answers, strict=True)
        for call in FORMAT.parse(answer.text).tool_calls
    ]
    read = sum(call.error is None for call, _ in calls)
    good = sum(fits(*one) for one in calls)
    cut = sum(answer.finish_reason == "length" for answer in answers)
    for call, tools in calls:
        if name == "guided" and not fits(call, tools):
            print(f"does not fit: {call}")
    every = max(1, len(calls))
    print(f"{name:7}{len(calls):7}{read:7} ({read / every:.1%}){good:7}", end="")
    print(f" ({good / every:.1%}){cut:6}")
    return good == len(calls)


def cost(model: str, asked: Sequence[Case], *, guided: bool, params: SamplingParams) -> float:
    """Seconds of a generated token."""
    prompts = [case.prompt if guided else tuple(case.prompt) for case in asked]
    seconds: list[float] = []
    tokens = 0
    for limit in (1, params.max_new_tokens):
        engine = HfEngine(model, dtype="bfloat16")
        engine.generate(prompts[:1], SamplingParams(max_new_tokens=2))  # what loads at first use
        start = time.perf_counter()
        answers = engine.generate(prompts, SamplingParams(max_new_tokens=limit))
        seconds.append(time.perf_counter() - start)
        tokens = sum(len(answer.token_ids) for answer in answers)
        engine.close()
    return (seconds[1] - seconds[0]) / (tokens - len(prompts))


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--cost", type=int, default=48, help="prompts that are timed")
    parser.add_argument("--max-new-tokens", type=int, default=160)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    options = parser.parse_args()
    asked, params = cases(options.count), SamplingParams(max_new_tokens=options.max_new_tokens)
    print(f"{len(asked)} prompts, {options.model}, {params.max_new_tokens} new tokens at most")
    print("         calls  can be read          fit          cut", flush=True)
    engine, ok = HfEngine(options.model, dtype="bfloat16"), True
    for name in ("free", "guided"):
        prompts = [case.prompt if name == "guided" else tuple(case.prompt) for case in asked]
        ok = count_calls(name, asked, engine.generate(prompts, params))
    engine.close()
    some = asked[:: max(1, len(asked) // options.cost)][: options.cost]
    free, guided = (cost(options.model, some, guided=one, params=params) for one in (False, True))
    print(f"a token, {len(some)} prompts: free {free * 1000:.1f} ms, guided {guided * 1000:.1f} ms")
    print(f"guided costs {guided / free:.2f} times as much")
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
