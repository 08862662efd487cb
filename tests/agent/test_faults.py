"""Whatever tools and models do: a turn ends in a defined state, on disk, within its limits."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coalm.agent.functions import tool_from_function
from coalm.agent.react import Limits, is_open, stop_reason
from coalm.agent.session import AgentSession, load_session
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import EngineError
from coalm.formats import FORMATS
from coalm.tools import Tool, Toolbox
from coalm.types import Conversation, Prompt, ToolSchema

LIMITS = Limits(max_steps=6, max_repeats=3, max_calls=8, max_seconds=1.0, max_tokens=4000)


def raises() -> None:
    raise RuntimeError("out of order")


def hangs() -> None:
    time.sleep(5)


async def hangs_politely() -> None:
    await asyncio.sleep(600)


async def blocks_the_loop() -> None:
    time.sleep(0.5)


def huge() -> str:
    return "x" * 10_000_000


def not_json() -> object:
    return object()


def circular() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def leaves() -> None:
    raise SystemExit(1)


def picky(number: int, name: str = "") -> int:
    return number


def surrogate() -> str:
    return "\ud83d\x00\x1b[2J"


TOOLS = [
    *(raises, hangs, hangs_politely, blocks_the_loop, huge),
    *(not_json, circular, leaves, picky, surrogate),
]
BOX = Toolbox(
    [
        *(tool_from_function(tool, timeout=0.2) for tool in TOOLS),
        Tool(ToolSchema(name="raw"), lambda: {1, 2}),
    ]
)
NAMES = [*(tool.__name__ for tool in TOOLS), "raw"]


def held(
    replies: Iterator[str] | Callable[[Prompt], str],
    path: Path,
    form: str = "react",
    limits: Limits = LIMITS,
) -> Conversation:
    """The conversation after one turn, checked: it has ended, in time, and its file says so."""
    session = AgentSession(
        ScriptedEngine(replies),
        BOX,
        prompt_format=form,
        params=SamplingParams(max_new_tokens=200),
        limits=limits,
        path=path,
    )
    started = time.monotonic()
    try:
        answer = session.send("Go!")
    except EngineError:
        assert stop_reason(session.conversation) == "error"
    else:
        assert answer.stop == stop_reason(session.conversation)
    done = session.conversation
    assert time.monotonic() - started < (limits.max_seconds or 0) + 2.0
    assert load_session(path) == done
    assert not is_open(done)
    said = [m for m in done.messages if m.role == "assistant"]
    assert len(said) <= limits.max_steps
    calls = sum(len(m.tool_calls) for m in said)
    assert sum(m.role == "tool" for m in done.messages) == calls
    ended = bool(said) and not said[-1].tool_calls and done.messages[-1] is said[-1]
    assert ended or stop_reason(done) not in (None, "length")
    assert max(len(m.content) for m in done.messages) < 30_000
    json.dumps(done.model_dump(mode="json"), ensure_ascii=False).encode("utf-8")
    return done


def action(*calls: str) -> str:
    return f"Thought: I act.\nAction: {', '.join(calls)}"


@pytest.mark.parametrize(
    ("call", "observed"),
    [
        ("raises()", "raises failed: RuntimeError: out of order"),
        ("hangs()", "hangs gave no result within 0.2 seconds"),
        ("hangs_politely()", "hangs_politely gave no result within 0.2 seconds"),
        ("blocks_the_loop()", "blocks_the_loop gave no result within 0.2 seconds"),
        ("huge()", "[9980000 more characters were cut]"),
        ("not_json()", "not_json returned something that is not JSON: "),
        ("circular()", "circular returned something that is not JSON: "),
        ("raw()", "raw returned something that is not JSON: "),
        ("leaves()", "leaves failed: SystemExit: 1"),
        ("surrogate()", "?\x00\x1b[2J"),
        ('picky(number="many")', "argument 'number' must be an integer, got 'many'"),
        ("picky(number=[1])", "argument 'number' must be an integer, got [1]"),
        ('picky(number="3", name=4)', "3"),
        ("picky()", "missing argument 'number'"),
        ("picky(numbr=1)", "did you mean 'number'?"),
        ("nothing()", "there is no tool 'nothing'"),
        ("picky(number=", "the call could not be read: "),
    ],
)
def test_every_fault_of_a_tool_is_what_the_model_reads_next(
    tmp_path: Path, call: str, observed: str
) -> None:
    prompts: list[Prompt] = []
    said = iter([action(call), "System: I see."])

    def reply(prompt: Prompt) -> str:
        prompts.append(prompt)
        return next(said)

    done = held(reply, tmp_path / "s.jsonl")
    assert observed in done.messages[2].content
    assert done.messages[-1].content == "I see."
    assert observed in prompts[1][0].content


@pytest.mark.parametrize(
    ("replies", "stop"),
    [
        (itertools.repeat(action("picky(number=1)")), "max_repeats"),
        (itertools.repeat(action("picky(number=")), "max_repeats"),
        (itertools.repeat(action("nothing()")), "max_repeats"),
        ((action(f"picky(number={n})") for n in itertools.count()), "max_steps"),
        ((action(f"hangs(), picky(number={n})") for n in itertools.count()), "max_repeats"),
        (("Thought: " + "on and " * 10_000 for _ in itertools.count()), "length"),
        (("System: " + "on and " * 10_000 for _ in itertools.count()), "length"),
        (iter([]), "error"),
        (iter([action("raises()")]), "error"),
    ],
)
def test_a_model_that_does_not_end_is_ended(
    tmp_path: Path, replies: Iterator[str], stop: str
) -> None:
    assert stop_reason(held(replies, tmp_path / "s.jsonl")) == stop


def test_a_turn_ends_when_its_time_is_up_whatever_runs(tmp_path: Path) -> None:
    slow = Toolbox([tool_from_function(hangs)])  # with a minute of its own
    session = AgentSession(
        ScriptedEngine(lambda prompt: action("hangs()")), slow, limits=Limits(max_seconds=0.3)
    )
    started = time.monotonic()
    assert session.send("Go!").stop == "max_seconds"
    assert time.monotonic() - started < 2
    assert "no result within 0." in session.conversation.messages[-1].content


def test_a_turn_ends_when_its_tokens_are_spent(tmp_path: Path) -> None:
    limits = Limits(max_steps=100, max_tokens=20)
    words = (f"Thought: one two three four.\nAction: picky(number={n})" for n in itertools.count())
    done = held(words, tmp_path / "s.jsonl", limits=limits)
    assert stop_reason(done) == "max_tokens"
    assert sum(m.role == "assistant" for m in done.messages) == 3  # of 7 tokens each


def test_a_flood_of_calls_is_answered_but_not_run(tmp_path: Path) -> None:
    flood = action(*(f"picky(number={n})" for n in range(500)))
    session = AgentSession(ScriptedEngine(iter([flood, "System: Done."])), BOX, limits=LIMITS)
    observed = [m.content for m in session.send("Go!").messages if m.role == "tool"]
    assert observed[:8] == [str(n) for n in range(8)]
    assert set(observed[8:]) == {'{"error": "not run: one action may hold at most 8 calls"}'}
    assert len(observed) == 500


ARGUMENTS = st.sampled_from(
    ["", "number=1", 'number="x"', "number=None", "number=[{}]", "x=1, y=2", "number=1,,", '"'],
)
CALLS = st.tuples(st.sampled_from([*NAMES, "nothing", "Tool-9", ""]), ARGUMENTS).map(
    lambda call: f"{call[0]}({call[1]})"
)
JSON_CALLS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from([*NAMES, "nothing", "", 3, None])},
        optional={"arguments": st.sampled_from([{}, {"number": 1}, {"number": "x"}, [], "", None])},
    ),
    max_size=3,
).map(lambda calls: f"```\n{json.dumps(calls)}\n```")
PIECES = st.one_of(
    CALLS,
    JSON_CALLS,
    st.lists(CALLS, max_size=12).map(lambda calls: f"Action: {', '.join(calls)}"),
    st.sampled_from(
        ["Thought:", "Action:", "System:", "\nObservation:", "\nUser:", "[", ")", "```"]
    ),
    st.text(max_size=12),
)
TEXTS = st.lists(PIECES, max_size=6).map("\n".join)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(TEXTS, max_size=8), st.sampled_from(sorted(FORMATS)))
def test_every_conversation_ends_in_a_defined_state(
    tmp_path: Path, texts: list[str], form: str
) -> None:
    held(iter(texts), tmp_path / "s.jsonl", form)
