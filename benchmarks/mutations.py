"""Does the validation find false samples? Damages sound ones, one fault each, and counts.

Usage:
    python benchmarks/mutations.py [--root DIR] [--samples 1000] [--split train] [--seed 1]

Reads `snips`, `sgd`, `sgd_calls` and `sealtools` from COALM_DATA, or from a folder such as
`coalm world` writes. A faulty value is one that another sample has for the same argument (another
member of its enum, the other boolean), and that the conversation does not hold; where a thought
names what was damaged, it follows, as it would in a sample that a model made up. Prints, for every
kind of damage, how many were found and how many of them by the right criterion; exit status 1 when
that is less than 99 % of all, or when an undamaged sample is found faulty.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from coalm.data import DataConfig, load_sources
from coalm.data.base import draw, pick
from coalm.data.validate import Criterion, validate
from coalm.formats.text import write_value
from coalm.types import Conversation, Message, ToolCall, ToolSchema

FLOOR = 0.99


class Pools(NamedTuple):
    """What other samples have, to make faults of."""

    values: dict[str, dict[str, JsonValue]]
    """Argument to the values that it has somewhere, by their text."""
    call_thoughts: list[str]
    reply_thoughts: list[str]


class Case(NamedTuple):
    """A sample to damage."""

    sample: Conversation
    pools: Pools
    seed: int

    @property
    def target(self) -> Message:
        """What the sample teaches."""
        return self.sample.messages[-1]

    @property
    def call(self) -> ToolCall:
        """The call to damage."""
        return self.target.tool_calls[0]

    @property
    def schema(self) -> ToolSchema:
        """The function that it calls."""
        return next(tool for tool in self.sample.tools if tool.name == self.call.name)

    def choose(self, items: Sequence[str], purpose: str) -> str:
        """One of them, by sample and seed."""
        return pick(items, self.seed, purpose, self.sample.id)

    def with_target(self, **changes: object) -> Conversation:
        """The sample with a changed last message."""
        target = self.target.model_copy(update=changes)
        return self.sample.model_copy(update={"messages": (*self.sample.messages[:-1], target)})

    def with_call(self, call: ToolCall, thought: str | None) -> Conversation:
        """The sample with another first call."""
        calls = (call, *self.target.tool_calls[1:])
        return self.with_target(tool_calls=calls, thought=thought)

    def is_new(self, value: JsonValue) -> bool:
        """Whether neither the conversation nor the schema has the value."""
        text = "\n".join(message.content for message in self.sample.messages[:-1]).lower()
        return str(value).lower() not in text


Damage = Callable[[Case], Conversation | None]


def rename_function(case: Case) -> Conversation | None:
    """A function that is not on offer."""
    names = {tool.name for tool in case.sample.tools}
    name = case.choose([f"{case.call.name}s", f"Get{case.call.name}", case.call.name[:-1]], "name")
    if name in names:
        return None
    thought = case.target.thought and case.target.thought.replace(case.call.name, name)
    return case.with_call(case.call.model_copy(update={"name": name}), thought)


def rename_argument(case: Case) -> Conversation | None:
    """An argument that the function does not have."""
    if not case.call.arguments:
        return None
    old = case.choose(sorted(case.call.arguments), "argument")
    new = case.choose([f"{old}_name", f"the_{old}", old[:-1] + "_"], "new argument")
    if new in case.schema.properties:
        return None
    arguments = {new if k == old else k: v for k, v in case.call.arguments.items()}
    thought = case.target.thought and case.target.thought.replace(f"{old} ", f"{new} ")
    return case.with_call(case.call.model_copy(update={"arguments": arguments}), thought)


def change_type(case: Case) -> Conversation | None:
    """A value of another type."""
    typed = ("string", "integer", "number", "boolean")
    names = [k for k in case.call.arguments if case.schema.properties[k].get("type") in typed]
    if not names:
        return None
    name = case.choose(names, "argument")
    value = case.call.arguments[name]
    changed: JsonValue = [value] if isinstance(value, str) else str(value)
    return _with_value(case, name, changed)


def drop_required(case: Case) -> Conversation | None:
    """A required argument is missing."""
    given = [name for name in case.schema.required if name in case.call.arguments]
    if not given:
        return None
    gone = case.choose(given, "argument")
    arguments = {k: v for k, v in case.call.arguments.items() if k != gone}
    return case.with_call(
        case.call.model_copy(update={"arguments": arguments}), case.target.thought
    )


def invent_value(case: Case) -> Conversation | None:
    """An argument with a value that nobody gave."""
    names = [k for k in case.call.arguments if _invented(case, k) is not None]
    if not names:
        return None
    name = case.choose(names, "argument")
    return _with_value(case, name, _invented(case, name))


def invent_argument(case: Case) -> Conversation | None:
    """An argument that nobody asked for."""
    free = [k for k in case.schema.properties if k not in case.call.arguments]
    names = [k for k in free if _invented(case, k) is not None]
    if not names:
        return None
    name = case.choose(names, "argument")
    return _with_value(case, name, _invented(case, name))


def blame_other_function(case: Case) -> Conversation | None:
    """A thought that names another function than the one that is called."""
    others = [tool.name for tool in case.sample.tools if tool.name != case.call.name]
    thought = case.target.thought
    if not others or not thought:
        return None
    return case.with_target(thought=thought.replace(case.call.name, case.choose(others, "other")))


def claim_other_value(case: Case) -> Conversation | None:
    """A thought that has another value than the call."""
    thought = case.target.thought
    names = [k for k in case.call.arguments if _invented(case, k) is not None]
    if not names or not thought:
        return None
    name = case.choose(names, "argument")
    old = f"{name} {write_value(case.call.arguments[name])}"
    new = f"{name} {write_value(_invented(case, name))}"
    return case.with_target(thought=thought.replace(old, new)) if old in thought else None


def think_of_replying(case: Case) -> Conversation | None:
    """A call after a thought that ends in a reply."""
    if not case.target.thought or not case.pools.reply_thoughts:
        return None
    return case.with_target(thought=case.choose(case.pools.reply_thoughts, "thought"))


def think_of_calling(case: Case) -> Conversation | None:
    """A reply after a thought that ends in a call."""
    if not case.target.thought or not case.pools.call_thoughts:
        return None
    return case.with_target(thought=case.choose(case.pools.call_thoughts, "thought"))


WITH_CALL: dict[Damage, Criterion] = {
    rename_function: "function",
    rename_argument: "arguments",
    change_type: "arguments",
    drop_required: "arguments",
    invent_value: "evidence",
    invent_argument: "evidence",
    blame_other_function: "thought",
    claim_other_value: "thought",
    think_of_replying: "thought",
}
WITHOUT_CALL: dict[Damage, Criterion] = {think_of_calling: "thought"}


def _with_value(case: Case, name: str, value: JsonValue) -> Conversation:
    arguments = {**case.call.arguments, name: value}
    thought = case.target.thought
    if thought and name in case.call.arguments:
        old = f"{name} {write_value(case.call.arguments[name])}"
        thought = thought.replace(old, f"{name} {write_value(value)}")
    elif thought:
        thought = f"{thought} I add {name} {write_value(value)}."
    return case.with_call(case.call.model_copy(update={"arguments": arguments}), thought)


def _invented(case: Case, name: str) -> JsonValue:
    """A value of the right type that the conversation does not hold; None without one."""
    spec = case.schema.properties[name]
    old = case.call.arguments.get(name)
    if spec.get("type") == "boolean":
        new = not old if isinstance(old, bool) else True
        return None if "default" in spec and spec["default"] == new else new
    enum = spec.get("enum")
    known = enum if isinstance(enum, list) else list(case.pools.values.get(name, {}).values())
    fitting = [
        value
        for value in known
        if value not in (old, spec.get("default"), "")
        and (old is None or type(value) is type(old))
        and not isinstance(value, list | dict)
        and case.is_new(value)
    ]
    return pick(fitting, case.seed, name, case.sample.id) if fitting else None


def read(config: DataConfig, number: int, seed: int) -> tuple[list[Conversation], Pools]:
    """As many samples of each source, drawn evenly, and what all samples of the sources have."""
    pools = Pools(defaultdict(dict), [], [])
    chosen: list[Conversation] = []
    for source in load_sources(config):
        drawn: list[tuple[int, str, Conversation]] = []
        for sample in source.conversations():
            _fill(pools, sample)
            if not sample.messages[-1].tool_calls and not sample.messages[-1].thought:
                continue
            heapq.heappush(drawn, (-draw(seed, sample.id), sample.id, sample))
            if len(drawn) > number:
                heapq.heappop(drawn)
        chosen += [sample for _, _, sample in sorted(drawn)]
    return chosen, pools


def _fill(pools: Pools, sample: Conversation) -> None:
    target = sample.messages[-1]
    for call in target.tool_calls:
        for name, value in call.arguments.items():
            if isinstance(value, str | int | float) and len(pools.values[name]) < 200:
                pools.values[name].setdefault(str(value), value)
    if target.thought:
        thoughts = pools.call_thoughts if target.tool_calls else pools.reply_thoughts
        if len(thoughts) < 2_000:
            thoughts.append(target.thought)


def damaged(
    samples: Sequence[Conversation], pools: Pools, number: int, seed: int
) -> Iterator[tuple[Damage, Criterion, Conversation]]:
    """Damaged samples, of all kinds alike, each with the criterion that it violates."""
    given: Counter[Damage] = Counter()
    for sample in sorted(samples, key=lambda sample: draw(seed, "turn", sample.id)):
        case = Case(sample, pools, seed)
        table = WITH_CALL if case.target.tool_calls else WITHOUT_CALL
        # the kind that was given least: few samples can bear some of them
        for damage in sorted(table, key=lambda damage: given[damage]):
            result = damage(case)
            if result is not None and result != sample:
                given[damage] += 1
                yield damage, table[damage], result
                break
        if given.total() == number:
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage, check and print; 0 when enough is found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, help="Folder with snips/, sgd/, ...")
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--split", default="train", help="Part of SGD to read.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sources", nargs="+", default=["snips", "sgd", "sgd_calls", "sealtools"])
    options = parser.parse_args(arguments)
    settings = {name: {"split": options.split} for name in ("sgd", "sgd_calls")}
    config = DataConfig.model_validate(
        {
            "output_dir": ".",
            "sources": options.sources,
            "root": options.root,
            "sealtools": {"parts": ["dev", "test_in_domain", "test_out_domain"]},
            **settings,
        }
    )
    samples, pools = read(config, options.samples, options.seed)
    sound = [sample for sample in samples if not validate(sample)]
    counts = check(damaged(sound, pools, options.samples, options.seed))
    dropped = Counter(str(sample.meta["source"]) for sample in samples)
    dropped.subtract(str(sample.meta["source"]) for sample in sound)
    return report(counts, {source: n for source, n in dropped.items() if n})


class Count(NamedTuple):
    """Damaged samples of one kind."""

    all: int
    found: int
    named: int
    """Found by the criterion that the damage violates."""


def check(cases: Iterator[tuple[Damage, Criterion, Conversation]]) -> dict[str, Count]:
    """What the validation finds, by kind of damage; prints the first that it does not."""
    counts: dict[str, Count] = {}
    for damage, criterion, sample in cases:
        violations = validate(sample)
        named = any(violation.criterion == criterion for violation in violations)
        name = f"{damage.__name__.replace('_', ' ')} ({criterion})"
        before = counts.get(name, Count(0, 0, 0))
        counts[name] = Count(before.all + 1, before.found + bool(violations), before.named + named)
        if not named:
            target = sample.messages[-1]
            print(f"not found: {name} in {sample.id}: {target.thought} {target.tool_calls}")
    return counts


def report(counts: Mapping[str, Count], unsound: Mapping[str, int]) -> int:
    """Print the table; the exit status."""
    print(f"{'damage (criterion)':44} {'samples':>8} {'found':>8} {'by that criterion':>18}")
    rows = [*sorted(counts.items()), ("all", Count(*map(sum, zip(*counts.values(), strict=True))))]
    for name, count in rows:
        print(f"{name:44} {count.all:8,} {count.found:8,} {count.named:18,}")
    share = rows[-1][1].named / rows[-1][1].all
    print(f"{share:.2%} found by the right criterion")
    for source, number in unsound.items():
        print(f"{source}: {number:,} drawn samples were faulty before, and left out")
    grounded = any(source in unsound for source in ("snips", "sgd", "sgd_calls"))
    return 0 if share >= FLOOR and not grounded else 1


if __name__ == "__main__":
    sys.exit(main())
