"""Requests that cannot be served: status 4xx, and a message that names the field at fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

httpx = pytest.importorskip("httpx")

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "Now", "parameters": {"type": "object"}}}
CHAT = {"model": "coalm", "messages": [USER], "tools": [TOOL]}
TEXT = {"model": "coalm", "prompt": "Hi"}
NUMBERS = ["1", True, [1], {}, "many"]
SCHEMA = {"name": "x", "schema": {"type": "object"}}

COMMON: dict[str, list[Any]] = {
    "model": [None, 5, "", "other", ["coalm"], {"name": "coalm"}, "../coalm", "x" * 5000],
    "stream": ["yes", 1, [], {}, "true"],
    "stream_options": ["usage", [], 1, {"include_usage": "yes"}],
    "max_tokens": [*NUMBERS, 0, -1, 1.5, 2**40],
    "temperature": [*NUMBERS, -0.1, 2.1, 10**400],
    "top_p": [*NUMBERS, 0, -1, 1.01],
    "stop": [5, True, {}, [5], [None], "", [""], ["a", ""], ["x"] * 17],
    "seed": [*NUMBERS, 1.5, 2**70],
    "n": [0, 2, "1", [1]],
    "logprobs": [True, 5, "yes"],
    "frequency_penalty": [1, -0.5, "0"],
    "presence_penalty": [2, "x"],
    "logit_bias": [{"5": 1}, [1]],
    "temperatur": [1],
    "max_token": [5],
    "made_up": [1, "x", {}],
}
OF_CHAT: dict[str, list[Any]] = {
    "messages": [
        None, [], "Hi", 5, {}, [5], ["Hi"], [None], [[]], [{}],
        [{"role": "user"}, {"role": "assistant", "content": "Bye"}],
        [{"role": "system", "content": "Be kind."}],
        [{"role": "king", "content": "Hi"}],
        [{"role": 5, "content": "Hi"}],
        [{"content": "Hi"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": {"text": "Hi"}}],
        [{"role": "user", "content": [5]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "user", "content": [{"type": "text", "text": 5}]}],
        [{"role": "user", "content": "Hi", "mood": "good"}],
        [USER, {"role": "assistant", "tool_calls": "Now()"}, USER],
        [USER, {"role": "assistant", "tool_calls": [5]}, USER],
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": 5}}]}, USER],
        [USER, {"role": "assistant", "tool_calls": [{"function": {}}]}, USER],
        [USER, {"role": "assistant", "tool_calls": [
            {"function": {"name": "F", "arguments": "[1]"}}]}, USER],
        [USER, {"role": "assistant", "tool_calls": [
            {"function": {"name": "F(", "arguments": "{}"}}]}, USER],
        [USER, {"role": "assistant", "reasoning_content": 5, "content": "x"}, USER],
        [USER, {"role": "tool", "content": "noon", "tool_call_id": 5}],
        [{"role": "assistant", "content": None, "function_call": {"name": "F"}}, USER],
    ],
    "tools": [
        "Now", 5, {}, [5], ["Now"], [{}], [None],
        [{"type": "function"}],
        [{"type": "custom", "custom": {"name": "x"}}],
        [{"type": "web_search"}],
        [{"type": "function", "function": "Now"}],
        [{"type": "function", "function": {}}],
        [{"type": "function", "function": {"name": ""}}],
        [{"type": "function", "function": {"name": 5}}],
        [{"type": "function", "function": {"name": "Now", "description": 5}}],
        [{"type": "function", "function": {"name": "Now", "parameters": "none"}}],
        [{"type": "function", "function": {"name": "Now", "parameters": [1]}}],
        [TOOL, TOOL],
    ],
    "tool_choice": [
        5, "any", "Now", [], {}, {"type": "function"}, {"type": "function", "function": "Now"},
        {"type": "function", "function": {"name": "Later"}}, {"type": "function", "function": {}},
        {"type": "tool", "function": {"name": "Now"}}, "required",
        {"type": "function", "function": {"name": "Now"}},
    ],
    "parallel_tool_calls": ["yes", 1, [], {}],
    "response_format": [
        "json", 5, [], {}, {"type": "xml"}, {"type": "json_schema"}, {"type": "json_object"},
        {"type": "json_schema", "json_schema": {}}, {"type": "json_schema", "json_schema": "x"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": "object"}},
        {"type": "json_schema", "json_schema": SCHEMA},
    ],
    "max_completion_tokens": [*NUMBERS, 0, -5],
    "functions": [[{"name": "Now"}]],
    "function_call": ["auto"],
    "modalities": [["audio"]],
    "audio": [{"voice": "x"}],
    "top_logprobs": [3],
}  # fmt: skip
OF_TEXT: dict[str, list[Any]] = {
    "prompt": [None, 5, [], {}, [5], [[1, 2]], [None], ["x"] * 65, True],
    "echo": [True],
    "suffix": ["end"],
    "best_of": [2],
}
CASES = [
    *[("chat/completions", CHAT, name, value)
      for name, wrong in (COMMON | OF_CHAT).items() for value in wrong],
    *[("completions", TEXT, name, value)
      for name, wrong in (COMMON | OF_TEXT).items() for value in wrong],
]  # fmt: skip
BODIES = [
    b"", b"{", b"null", b"[]", b"5", b'"Hi"', b"{'model': 'coalm'}", b"\xff\xfe", b"[" * 100_000,
    b'{"model": NaN}', b"model=coalm",
]  # fmt: skip


@pytest.fixture(scope="module")
def served(serving: Any) -> Iterator[Any]:
    from coalm.engines.scripted import ScriptedEngine

    with serving(ScriptedEngine(lambda prompt: "System: Hello!")) as made:
        yield made


@pytest.fixture(scope="module")
def client(served: Any) -> Iterator[Any]:
    with httpx.Client(base_url=served.url, timeout=30) as made:
        yield made


def refusal(answer: Any) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    assert len(error["message"]) < 600
    return error


def test_there_are_as_many_as_promised() -> None:
    assert len(CASES) >= 150


def test_the_requests_are_good_without_the_fault(client: Any) -> None:
    assert client.post("/chat/completions", json=CHAT).status_code == 200
    assert client.post("/completions", json=TEXT).status_code == 200


@pytest.mark.parametrize(("path", "good", "field", "value"), CASES)
def test_the_field_at_fault_is_named(
    client: Any, path: str, good: dict[str, Any], field: str, value: Any
) -> None:
    body = json.dumps({**good, field: value})
    answer = client.post(f"/{path}", content=body, headers={"Content-Type": "application/json"})
    error = refusal(answer)
    assert error["param"] == field, error
    assert field in error["message"]


@pytest.mark.parametrize("field", ["model", "messages"])
def test_what_is_missing_is_named(client: Any, field: str) -> None:
    body = {name: value for name, value in CHAT.items() if name != field}
    assert refusal(client.post("/chat/completions", json=body))["message"] == f"{field}: is missing"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
def test_a_body_that_is_no_object(client: Any, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer)["param"] in ("body", "model", "messages", "prompt")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chat/completions", 405),
        ("DELETE", "/models", 405),
        ("POST", "/embeddings", 404),
        ("GET", "/models/nothing", 404),
        ("GET", "/../etc/passwd", 404),
    ],
)
def test_other_paths_and_methods(client: Any, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    refusal(answer)


DEEP: Any = "end"
for _ in range(200):
    DEEP = {"a": [DEEP]}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "F", "parameters": DEEP},
        {"name": "F", "parameters": {"properties": 5, "required": "a"}},
        {"name": "F", "parameters": {"properties": {"a": 5, "b": {"type": {}}}, "required": [5]}},
        {"name": "F", "parameters": {"properties": {"a": {"enum": [{}, None]}}}},
        {"name": "F", "parameters": None},
        {"name": "a b(c", "strict": True, "other": [1]},
        {"name": "F" * 1000, "description": "😀 \u2028"},
    ],
)
def test_odd_tools_are_served_or_refused(client: Any, tool: dict[str, Any]) -> None:
    body = {**CHAT, "tools": [{"type": "function", "function": tool}]}
    answer = client.post("/chat/completions", json=body)
    assert answer.status_code == 200 or refusal(answer)["param"] == "tools"


def test_lone_surrogates_are_refused_or_served(client: Any) -> None:
    body = '{"model": "coalm", "messages": [{"role": "user", "content": "\\ud800"}]}'
    answer = client.post(
        "/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert refusal(answer)["param"] == "messages"
    body = json.dumps({**CHAT, "tools": [TOOL]}).replace('"object"', '"\\ud800"')
    answer = client.post(
        "/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200 or refusal(answer)["param"] in ("messages", "tools")
