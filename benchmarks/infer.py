"""How fast are the engines, and do they answer alike? Real prompts, greedy, one machine.

Usage:
    python benchmarks/infer.py speed apibank [--count 48] [--max-new-tokens 64] [--vllm PYTHON]
    python benchmarks/infer.py speed multiwoz [--count 8]
    python benchmarks/infer.py same [--dtype float32] [--start 0] [--count 40]

`speed` runs each contender in a process of its own, one after the other: padded `generate` of
transformers in batches of 4, as LLaMA-Factory's evaluation runs; the hf engine; and vLLM, if an
interpreter that has it is named. `apibank` are COUNT samples in their order; `multiwoz` are all
turns of COUNT dialogues with the corpus' own history, each prompt with the one before it in it.
The peak of memory is that of generating, weights included.

`same` compares the hf engine with `generate`, prompt by prompt, on a mix of API-Bank, MultiWOZ and
BFCL; exit status 1 if an answer differs.

Needs SmolLM2-135M-Instruct and the data sets (`coalm fetch`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from coalm.agent.rollout import Rollout, run_many
from coalm.engines.base import Completion, Engine, SamplingParams, Usage
from coalm.evals.apibank.task import ApiBank, ApiBankConfig
from coalm.evals.base import Task
from coalm.evals.bfcl.task import Bfcl, BfclConfig
from coalm.evals.multiwoz.task import MultiWoz, MultiWozConfig
from coalm.types import ChatTurn, Conversation, Prompt

MODEL = "smollm2-135m-instruct"
PADDED_BATCH = 4
SILENCE = Completion("", (), "stop", Usage(0, 0))

Dialogue: TypeAlias = Sequence[Prompt]
"""Prompts of one dialogue; each is asked when the one before is answered."""
Job: TypeAlias = Mapping[str, Any]
"""What a contender's process gets to know."""


# prompts


def prompts_of(rollout: Rollout) -> Iterator[Prompt]:
    """Every prompt of a dialogue that does not depend on the model's answers."""
    prompt = next(rollout)
    while True:
        yield prompt
        try:
            prompt = rollout.send(SILENCE)
        except StopIteration:
            return


def dialogues(task: Task, count: int) -> list[Dialogue]:
    """The first `count` dialogues of a benchmark."""
    return [[*prompts_of(task.rollout(sample))] for sample in task.samples()[:count]]


def tasks() -> dict[str, Task]:
    """Benchmarks whose prompts are known beforehand."""
    single_turn = BfclConfig(categories=("non_live", "live"))
    return {
        "apibank": ApiBank(ApiBankConfig()),
        "multiwoz": MultiWoz(MultiWozConfig(mode="states")),
        "bfcl": Bfcl(single_turn),
    }


def mixed_prompts() -> list[Prompt]:
    """200 prompts: 80 of API-Bank, 60 turns of MultiWOZ, 60 of BFCL, spread over each."""
    found: list[Prompt] = []
    for name, count in (("apibank", 80), ("multiwoz", 60), ("bfcl", 60)):
        task = tasks()[name]
        samples = task.samples()[: 10 if name == "multiwoz" else None]
        every = [*itertools.chain.from_iterable(prompts_of(task.rollout(s)) for s in samples)]
        found += every[:: len(every) // count][:count]
    return found


# contenders, each in a process of its own


def run_padded(job: Job) -> dict[str, Any]:
    """`generate` of transformers over left-padded batches, dialogue by dialogue in step."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    from coalm.chat_template import encode_prompt, load_tokenizer, stop_token
    from coalm.engines.named import resolve_model

    path = resolve_model(MODEL)
    tokenizer = load_tokenizer(path)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, job["dtype"]))
    model.eval()
    stop = stop_token(tokenizer)
    settings = GenerationConfig(
        max_new_tokens=job["max_new_tokens"], do_sample=False, eos_token_id=stop, pad_token_id=stop
    )
    answers: dict[str, list[int]] = {}

    def ask(batch: Sequence[tuple[str, Prompt]]) -> None:
        ids = [encode_prompt(tokenizer, prompt) for _, prompt in batch]
        width = max(map(len, ids))
        rows = torch.tensor([[stop] * (width - len(one)) + one for one in ids])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
        output = model.generate(input_ids=rows, attention_mask=mask, generation_config=settings)
        for (name, _), answer in zip(batch, output[:, width:].tolist(), strict=True):
            answers[name] = answer[: [*answer, stop].index(stop) + 1]

    def ask_all() -> None:
        named = [*read_dialogues(job).items()]
        for at in range(0, len(named), PADDED_BATCH):
            group = named[at : at + PADDED_BATCH]
            for turn in range(max(len(prompts) for _, prompts in group)):
                ask([(f"{n}/{turn}", p[turn]) for n, p in group if turn < len(p)])

    return measured(ask_all, answers)


def run_engine(job: Job) -> dict[str, Any]:
    """An engine of ours, with as many dialogues at once as it takes."""
    engine: Engine
    if job["name"] == "vllm":
        from coalm.engines.vllm import VllmEngine

        engine = VllmEngine(MODEL, dtype=job["dtype"])
    else:
        from coalm.engines.hf import HfEngine

        engine = HfEngine(MODEL, dtype=job["dtype"])
    answers: dict[str, list[int]] = {}

    def replay(name: str, prompts: Dialogue) -> Rollout:
        for turn, prompt in enumerate(prompts):
            answers[f"{name}/{turn}"] = [*(yield prompt).token_ids]
        return Conversation(id=name)

    def ask_all() -> None:
        params = SamplingParams(max_new_tokens=job["max_new_tokens"])
        rollouts = ((name, replay(name, p)) for name, p in read_dialogues(job).items())
        for finished in run_many(rollouts, engine, params, batch_size=16):
            if finished.error:
                raise finished.error

    return measured(ask_all, answers)


def read_dialogues(job: Job) -> dict[str, Dialogue]:
    """The dialogues of a job by a name."""
    return {
        str(number): [tuple(ChatTurn(*turn) for turn in prompt) for prompt in prompts]
        for number, prompts in enumerate(job["dialogues"])
    }


def measured(ask_all: Any, answers: dict[str, list[int]]) -> dict[str, Any]:
    """Time and peak of memory of one call, and the answers it collected."""
    loaded = peak_mib()
    # from here on the peak counts anew (Linux only)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    start = time.perf_counter()
    ask_all()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "loaded": loaded, "peak": peak_mib(), "answers": answers}


def peak_mib() -> int:
    """Most memory that this process and those it started had at once, each for itself."""
    total, family = 0, {os.getpid()}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            lines = (folder / "status").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue  # it has ended meanwhile
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if int(folder.name) in family or int(status["PPid"]) in family:
            family.add(int(folder.name))
            total += int(status.get("VmHWM", "0 kB").split()[0]) // 1024
    return total


CONTENDERS = {"padded": run_padded, "hf": run_engine, "vllm": run_engine}


# what is printed


def speed(options: argparse.Namespace) -> int:
    """Run the contenders one after the other and compare."""
    asked = dialogues(tasks()[options.task], options.count)
    prompts = sum(map(len, asked))
    job = {
        "dialogues": asked,
        "dtype": options.dtype,
        "max_new_tokens": options.max_new_tokens,
    }
    print(
        f"{options.task}: {prompts} prompts, {options.dtype}, {options.max_new_tokens} new tokens"
    )
    interpreters = {"padded": sys.executable, "hf": sys.executable, "vllm": options.vllm}
    first: dict[str, Any] | None = None
    print(f"{'':8}{'prompts/s':>10}{'times':>7}{'peak MiB':>10}{'tokens':>8}  same answers")
    for name, interpreter in interpreters.items():
        if interpreter is None or name not in options.only:
            continue
        found = in_own_process(interpreter, {**job, "name": name})
        first = first or found
        same = sum(found["answers"][at] == ids for at, ids in first["answers"].items())
        print(
            f"{name:8}{prompts / found['seconds']:10.3f}{first['seconds'] / found['seconds']:7.2f}"
            f"{found['peak']:10}{sum(map(len, found['answers'].values())):8}"
            f"{same:6} of {prompts}",
            flush=True,
        )
    return 0


def in_own_process(interpreter: str, job: Job) -> dict[str, Any]:
    """Run one contender and read what it found."""
    with tempfile.TemporaryDirectory() as folder:
        work, result = Path(folder) / "job.json", Path(folder) / "result.json"
        work.write_text(json.dumps(job), encoding="utf-8")
        command = [interpreter, __file__, "contender", str(work), str(result)]
        log = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if log.returncode:
            sys.exit(f"{job['name']} failed:\n{log.stdout[-4000:]}")
        return json.loads(result.read_text(encoding="utf-8"))


def contender(options: argparse.Namespace) -> int:
    """The process of one contender."""
    job = json.loads(options.job.read_text(encoding="utf-8"))
    found = CONTENDERS[job["name"]](job)
    options.result.write_text(json.dumps(found), encoding="utf-8")
    return 0


def same(options: argparse.Namespace) -> int:
    """Compare answers of the hf engine with those of `generate`, each prompt alone."""
    import torch
    from transformers import AutoModelForCausalLM

    from coalm.chat_template import encode_prompt, load_tokenizer, stop_token
    from coalm.engines.hf import HfEngine
    from coalm.engines.named import resolve_model

    prompts = mixed_prompts()[options.start :][: options.count]
    engine = HfEngine(MODEL, dtype=options.dtype)
    found = engine.generate(prompts, SamplingParams(max_new_tokens=options.max_new_tokens))
    engine.close()
    path = resolve_model(MODEL)
    tokenizer = load_tokenizer(path)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, options.dtype))
    stop, equal = stop_token(tokenizer), 0
    for number, (prompt, answer) in enumerate(zip(prompts, found, strict=True), options.start):
        ids = torch.tensor([encode_prompt(tokenizer, prompt)])
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=options.max_new_tokens,
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=stop,
        )
        expected = output[0, ids.shape[1] :].tolist()
        equal += expected == [*answer.token_ids]
        if expected != [*answer.token_ids]:
            pairs = enumerate(zip(expected, answer.token_ids, strict=False))
            at = next((at for at, (a, b) in pairs if a != b), "the end")
            print(f"prompt {number} ({ids.shape[1]} tokens) differs at {at}")
    print(f"same answers: {equal} of {len(prompts)} ({options.dtype})")
    return int(equal < len(prompts))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("speed")
    one.add_argument("task", choices=["apibank", "multiwoz", "bfcl"])
    one.add_argument("--count", type=int, default=48, help="dialogues")
    one.add_argument("--vllm", help="interpreter that has vLLM")
    one.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    one.set_defaults(run=speed)
    two = commands.add_parser("same")
    two.add_argument("--start", type=int, default=0)
    two.add_argument("--count", type=int, default=200)
    two.set_defaults(run=same)
    for parsed, dtype in ((one, "bfloat16"), (two, "float32")):
        parsed.add_argument("--dtype", default=dtype)
        parsed.add_argument("--max-new-tokens", type=int, default=64)
    three = commands.add_parser("contender")
    three.add_argument("job", type=Path)
    three.add_argument("result", type=Path)
    three.set_defaults(run=contender)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
