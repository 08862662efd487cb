from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from coalm.errors import ToolError
from coalm.tools import Tool, Toolbox, check_arguments, coroutines_on
from coalm.types import ToolCall, ToolSchema

BOOK = ToolSchema(
    name="BookTable",
    parameters={
        "type": "object",
        "properties": {
            "restaurant": {"type": "string"},
            "party_size": {"type": "integer", "enum": [1, 2, 3, 4]},
            "outside": {"type": "boolean"},
        },
        "required": ["restaurant"],
    },
)


def schema(**properties: Any) -> ToolSchema:
    return ToolSchema(name="f", parameters={"type": "object", "properties": properties})


def test_a_call_becomes_a_tool_message_with_json() -> None:
    box = Toolbox(
        [Tool(BOOK, lambda restaurant, party_size=2: [{"r": restaurant, "n": party_size}])]
    )
    call = ToolCall(name="BookTable", arguments={"restaurant": "Café", "party_size": "4"}, id="c1")
    message = box.execute(call)
    assert (message.role, message.name, message.tool_call_id) == ("tool", "BookTable", "c1")
    assert message.content == '[{"r": "Café", "n": 4}]'
    assert box.schemas == (BOOK,)


def test_a_text_result_is_the_content_itself() -> None:
    box = Toolbox([Tool(ToolSchema(name="hello"), lambda: "Hello!")])
    assert box.execute(ToolCall(name="hello")).content == "Hello!"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            ToolCall(name="BookTabel"),
            "there is no tool 'BookTabel'; did you mean 'BookTable'?",
        ),
        (ToolCall(name="zzz"), "there is no tool 'zzz'; known are: BookTable"),
        (ToolCall(name="BookTable"), "BookTable: missing argument 'restaurant'"),
        (
            ToolCall(name="BookTable", arguments={"restaurant": "A", "party_sise": 2}),
            "BookTable: unknown argument 'party_sise'; did you mean 'party_size'?",
        ),
        (
            ToolCall(name="BookTable", arguments={"restaurant": "A", "party_size": "many"}),
            "BookTable: argument 'party_size' must be an integer, got 'many'",
        ),
        (
            ToolCall(name="BookTable", arguments={"restaurant": "A", "party_size": 9}),
            "BookTable: argument 'party_size' must be one of [1, 2, 3, 4], got 9",
        ),
        (
            ToolCall(name="", raw="BookTable(", error="unclosed bracket"),
            "the call could not be read: unclosed bracket; you wrote: BookTable(",
        ),
    ],
)
def test_wrong_calls_are_observations(call: ToolCall, error: str) -> None:
    box = Toolbox([Tool(BOOK, lambda **_: None)])
    assert json.loads(box.execute(call).content) == {"error": error}


def test_a_toolbox_without_tools_says_so() -> None:
    content = Toolbox([]).execute(ToolCall(name="f")).content
    assert json.loads(content) == {"error": "there is no tool 'f'; known are: none"}


def test_failing_tools_are_observations() -> None:
    def full() -> None:
        raise ToolError("no table is free")

    def broken() -> None:
        raise KeyError("seats")

    box = Toolbox([Tool(ToolSchema(name=f.__name__), f) for f in (full, broken)])
    assert json.loads(box.execute(ToolCall(name="full")).content) == {"error": "no table is free"}
    content = box.execute(ToolCall(name="broken")).content
    assert json.loads(content) == {"error": "broken failed: KeyError: 'seats'"}


@pytest.mark.parametrize("result", [{1, 2}, float("nan"), object()])
def test_a_result_that_is_not_json_is_an_observation(result: Any) -> None:
    box = Toolbox([Tool(ToolSchema(name="odd"), lambda: result)])
    error = json.loads(box.execute(ToolCall(name="odd")).content)["error"]
    assert error.startswith("odd returned something that is not JSON: ")


def test_call_raises_what_execute_tells() -> None:
    with pytest.raises(ToolError, match="missing argument 'restaurant'"):
        Toolbox([Tool(BOOK, lambda **_: None)]).call("BookTable", {})


def test_two_tools_cannot_share_a_name() -> None:
    with pytest.raises(ToolError, match="two tools are named 'BookTable'; names must differ"):
        Toolbox([Tool(BOOK, lambda: None)] * 2)


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        ({"type": "integer"}, "4", 4),
        ({"type": "integer"}, " -4 ", -4),
        ({"type": "integer"}, 4.0, 4),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "number"}, 2, 2),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "string"}, 94103, "94103"),
        ({"type": "null"}, None, None),
        ({"type": "array", "items": {"type": "integer"}}, ["1", 2], [1, 2]),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}}},
            {"n": "1", "m": 2},
            {"n": 1, "m": 2},
        ),
        ({"type": ["integer", "string"]}, "2", "2"),
        ({"type": ["integer", "null"]}, "2", 2),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
        ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, "7", 7),
        ({"enum": ["a", "b"]}, "b", "b"),
        # real schemas contradict themselves; whoever wrote the options expects one of them
        ({"type": "boolean", "enum": ["True", "False", "dontcare"]}, "True", "True"),
        ({"type": "boolean", "enum": ["True", "False", "dontcare"]}, "dontcare", "dontcare"),
        ({"type": "a kind of ours"}, {"any": "thing"}, {"any": "thing"}),
        ({}, [1], [1]),
    ],
)
def test_values_are_brought_to_their_type(spec: Any, value: Any, expected: Any) -> None:
    found = check_arguments(schema(x=spec), {"x": value})["x"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("spec", "value", "reason"),
    [
        ({"type": "integer"}, True, "must be an integer, got True"),
        ({"type": "integer"}, 2.5, "must be an integer, got 2.5"),
        ({"type": "number"}, "1e5", "must be a number, got '1e5'"),
        ({"type": "number"}, False, "must be a number, got False"),
        ({"type": "boolean"}, 1, "must be true or false, got 1"),
        ({"type": "string"}, ["a"], r"must be a string, got \['a'\]"),
        ({"type": "string"}, True, "must be a string, got True"),
        ({"type": "array"}, "a", "must be a list, got 'a'"),
        ({"type": "object"}, "a", "must be an object, got 'a'"),
        ({"type": "null"}, 0, "must be null, got 0"),
        ({"type": "array", "items": {"type": "integer"}}, ["a"], "must be an integer, got 'a'"),
        (
            {"type": ["integer", "null"]},
            "a",
            "must be an integer, got 'a' or must be null, got 'a'",
        ),
        ({"enum": ["a"]}, "b", r"must be one of \['a'\], got 'b'"),
    ],
)
def test_values_of_another_type_are_named(spec: Any, value: Any, reason: str) -> None:
    with pytest.raises(ToolError, match=f"f: argument 'x' {reason}"):
        check_arguments(schema(x=spec), {"x": value})


def waiting_box(timeout: float | None, *, asynchronous: bool = False) -> Toolbox:
    async def await_(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    parameters: Any = {"type": "object", "properties": {"seconds": {"type": "number"}}}
    function = await_ if asynchronous else wait
    return Toolbox([Tool(ToolSchema(name="wait", parameters=parameters), function, timeout)])


def wait_calls(*seconds: float) -> list[ToolCall]:
    return [
        ToolCall(name="wait", arguments={"seconds": s}, id=str(n)) for n, s in enumerate(seconds)
    ]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_with_a_time_limit_run_side_by_side_and_keep_their_order(asynchronous: bool) -> None:
    box = waiting_box(5, asynchronous=asynchronous)
    started = time.monotonic()
    found = list(box.execute_all(wait_calls(0.3, 0.2, 0.3, 0.1, 0.3)))
    assert time.monotonic() - started < 1.0
    assert [m.content for m in found] == ["0.3", "0.2", "0.3", "0.1", "0.3"]
    assert [m.tool_call_id for m in found] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("timeout", "seconds"), [(0.2, None), (30.0, 0.2)])
def test_a_tool_that_hangs_is_an_observation(
    asynchronous: bool, timeout: float, seconds: float | None
) -> None:
    box = waiting_box(timeout, asynchronous=asynchronous)
    started = time.monotonic()
    late, quick = box.execute_all(wait_calls(20, 0), seconds)
    assert time.monotonic() - started < 2
    assert json.loads(late.content) == {"error": "wait gave no result within 0.2 seconds"}
    assert quick.content == "0"


def test_a_tool_that_ends_after_its_time_harms_nobody() -> None:
    box = waiting_box(0.05)
    assert "no result" in box.execute(wait_calls(0.3)[0]).content
    time.sleep(0.4)  # pytest fails on an error in the thread
    assert box.execute(wait_calls(0)[0]).content == "0"


def test_tools_without_a_time_limit_run_in_the_callers_thread_in_their_place() -> None:
    ran: list[Any] = []

    def note(number: int) -> None:
        ran.append((number, threading.current_thread()))

    parameters: Any = {"type": "object", "properties": {"number": {"type": "integer"}}}
    box = Toolbox([Tool(ToolSchema(name="note", parameters=parameters), note)])
    messages = box.execute_all([ToolCall(name="note", arguments={"number": n}) for n in range(3)])
    next(messages)
    assert ran == [(0, threading.main_thread())]
    assert len(list(messages)) == 2
    assert ran == [(n, threading.main_thread()) for n in range(3)]


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize("kind", ["inline", "thread", "coroutine"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("seats"), "odd failed: KeyError: 'seats'"),
        (SystemExit(3), "SystemExit: 3"),
        (TimeoutError(), "odd failed: TimeoutError: "),
        (UnspeakableError(), "odd failed: UnspeakableError"),
        (MemoryError(), "odd failed: MemoryError: "),
        (ToolError("no table is free"), "no table is free"),
    ],
)
def test_whatever_a_tool_raises_is_an_observation(
    kind: str, error: BaseException, said: str
) -> None:
    def fail() -> None:
        raise error

    async def afail() -> None:
        raise error

    box = Toolbox(
        [
            Tool(
                ToolSchema(name="odd"),
                afail if kind == "coroutine" else fail,
                None if kind == "inline" else 5,
            )
        ]
    )
    for _ in range(2):  # a coroutine must not take the loop with it
        assert said in json.loads(box.execute(ToolCall(name="odd")).content)["error"]


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_tool_cannot_pose_as_ctrl_c_of_the_user(kind: str) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    async def afail() -> None:
        raise KeyboardInterrupt

    tool = Tool(ToolSchema(name="odd"), fail if kind == "thread" else afail, 5)
    for _ in range(2):
        content = Toolbox([tool]).execute(ToolCall(name="odd")).content
        assert json.loads(content) == {"error": "the tool left with KeyboardInterrupt: "}


def test_a_tool_that_asks_the_user_can_pass_ctrl_c_on() -> None:
    def ask() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Toolbox([Tool(ToolSchema(name="ask"), ask)]).execute(ToolCall(name="ask"))


@pytest.mark.parametrize("result", ["x" * 10_000_000, ["x" * 100] * 100_000])
def test_a_long_result_is_cut_and_says_so(result: Any) -> None:
    box = Toolbox([Tool(ToolSchema(name="long"), lambda: result)], max_chars=50)
    content = box.execute(ToolCall(name="long")).content
    text, _, note = content.partition("\n")
    whole = result if isinstance(result, str) else json.dumps(result)
    assert text == whole[:50]
    assert note == f"[{len(whole) - 50} more characters were cut]"


def test_a_long_error_is_cut_too() -> None:
    def fail() -> None:
        raise ToolError("x" * 1000)

    box = Toolbox([Tool(ToolSchema(name="f"), fail)], max_chars=20)
    assert box.execute(ToolCall(name="f")).content.startswith('{"error": "xxxxxxxxx\n[')


def test_lone_surrogates_never_reach_a_tokenizer() -> None:
    box = Toolbox([Tool(ToolSchema(name="f"), lambda: "a\ud83db")])
    assert box.execute(ToolCall(name="f")).content == "a?b"


def test_coroutines_can_run_on_the_callers_loop() -> None:
    async def which() -> bool:
        return asyncio.get_running_loop() is loop

    box = Toolbox([Tool(ToolSchema(name="which"), which)])

    def work() -> list[str]:
        inside = []
        with coroutines_on(loop):
            inside.append(box.execute(ToolCall(name="which")).content)
        return [*inside, box.execute(ToolCall(name="which")).content]

    async def main() -> list[str]:
        nonlocal loop
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(work)

    loop: Any = None
    assert asyncio.run(main()) == ["true", "false"]
    assert [tool.function for tool in box.tools] == [which]
