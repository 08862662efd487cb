"""The plug-in inside the real vLLM: its parsers, and `vllm serve` asked by OpenAI's SDK."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from coalm.chat_template import template_text
from coalm.formats import get_format
from coalm.server.vllm_template import vllm_template
from coalm.types import Message, ToolCall, ToolSchema

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

PLUGIN = "coalm.server.vllm_tool_parser"
TOOL = {
    "type": "function",
    "function": {
        "name": "Book",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}, "seats": {"enum": [1, 2]}},
            "required": ["city"],
        },
    },
}
OTHER = {"type": "function", "function": {"name": "Cancel"}}
CALL = ToolCall(
    name="Book", arguments={"city": 'Os"lo\n', "deep": {"a": [1, 2.5, None, True, "é😀"]}, "n": -3}
)
MESSAGES = [
    Message(role="assistant", content="How many?\nUser: or who?"),
    Message(role="assistant", thought="Ask.", content="When?"),
    Message(role="assistant", thought="I know.\nAll of it.", tool_calls=(CALL,)),
    Message(role="assistant", content="One moment.", tool_calls=(CALL, ToolCall(name="Stop"))),
    Message(role="assistant", tool_calls=(ToolCall(name="Market Trends.get"), CALL)),
]
TEXTS = [
    "",
    "Just words.",
    "Thought: only this",
    "Action: Book(city=",
    "Action: no call here",
    "Thought: a\nSystem: b\nThought: c\nAction: Book(n=1)\nSystem: d",
    "System: done\nObservation: what the tool would say\nAction: Book(n=1)",
]


class Read(NamedTuple):
    """An answer as a client gets it."""

    thought: str | None
    content: str | None
    calls: list[tuple[str, str]]


def parser(name: str = "coalm", *, thinks: bool = True) -> Any:
    importlib.import_module(PLUGIN)
    manager: Any = importlib.import_module("vllm.parser.parser_manager").ParserManager
    made = manager.get_parser(
        tool_parser_name=name,
        reasoning_parser_name=name if thinks else None,
        enable_auto_tools=True,
        model_name="any",
    )
    return made(tokenizer=None, tools=None)


def request(choice: Any = "auto", **more: Any) -> Any:
    protocol: Any = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
    asked = {"model": "any", "messages": [{"role": "user", "content": "Hi"}], **more}
    if choice is not None:
        asked |= {"tools": [TOOL, OTHER], "tool_choice": choice}
    return protocol.ChatCompletionRequest.model_validate(asked)


def whole(text: str, asked: Any, **options: Any) -> Read:
    thought, content, calls = parser(**options).parse(text, asked, enable_auto_tools=True)
    return Read(thought, content, [(call.name, call.arguments) for call in calls or ()])


def streamed(pieces: Sequence[str], asked: Any, **options: Any) -> Read:
    thought, content, calls = "", "", []
    reading = parser(**options)
    for at, piece in enumerate(pieces):
        delta = reading.parse_delta(
            piece, [0], asked, prompt_token_ids=[1], finished=at == len(pieces) - 1
        )
        if delta is None:
            continue
        thought += delta.reasoning or ""
        content += delta.content or ""
        for call in delta.tool_calls:
            if call.id is not None:
                assert call.index == len(calls)
                calls.append([call.function.name, ""])
            assert call.index == len(calls) - 1
            calls[call.index][1] += call.function.arguments or ""
    return Read(thought or None, content or None, [(name, text) for name, text in calls])


def cut(text: str, rng: random.Random) -> list[str]:
    places = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize("name", ["coalm", "coalm_json_calls"])
@pytest.mark.parametrize("choice", ["auto", "none", "required", None])
def test_a_stream_comes_to_the_whole_answer(name: str, choice: str | None) -> None:
    rng = random.Random(f"{name} {choice}")
    form = get_format("react" if name == "coalm" else "json_calls")
    said = (
        [m.model_copy(update={"thought": None}) for m in MESSAGES] if form.name != "react" else []
    )
    texts = [*TEXTS, *(form.render_reply(message) for message in said or MESSAGES)]
    asked = request(choice)
    for text in [*texts, *(text[: rng.randrange(len(text) + 1)] for text in texts * 4)]:
        expected = whole(text, asked, name=name)
        assert streamed(cut(text, rng), asked, name=name) == expected, text
        assert streamed([*text] or [""], asked, name=name) == expected, text


@pytest.mark.parametrize("message", MESSAGES)
def test_an_answer_is_what_the_format_reads(message: Message) -> None:
    found = whole(get_format("react").render_reply(message), request())
    assert found.thought == message.thought
    assert (found.content or "") == message.content
    assert [name for name, _ in found.calls] == [call.name for call in message.tool_calls]
    arguments = [json.loads(text) for _, text in found.calls]
    assert arguments == [call.arguments for call in message.tool_calls]


def test_without_a_reasoning_parser_thoughts_are_left_out() -> None:
    text = "Thought: Ask.\nSystem: When?"
    assert whole(text, request(), thinks=False) == Read(None, "When?", [])
    assert streamed([*text], request(), thinks=False) == Read(None, "When?", [])


def test_reasoning_that_is_not_wanted_is_not_given() -> None:
    asked = request(include_reasoning=False)
    text = "Thought: I know.\nAction: Book(city='Oslo')"
    assert streamed([*text], asked) == Read(None, None, [("Book", '{"city": "Oslo"}')])


def test_a_call_that_must_be_made_gets_a_grammar() -> None:
    free = parser().adjust_request(request(stop="END"))
    assert free.stop == ["END", "\nObservation:", "\nUser:"]
    assert free.structured_outputs is None
    required = parser().adjust_request(request("required")).structured_outputs.grammar
    assert '"Book("' in required
    assert '"Cancel("' in required
    assert '"System: "' not in required
    named = {"type": "function", "function": {"name": "Book"}}
    grammar = parser().adjust_request(request(named)).structured_outputs.grammar
    book = ToolSchema.model_validate(TOOL["function"])
    assert grammar == get_format("react").grammar([book], must_call=True, most_calls=1)


@pytest.fixture(scope="module")
def client(wide_model: Path) -> Iterator[Any]:
    """OpenAI's client of a server that runs as the documentation says."""
    openai: Any = importlib.import_module("openai")
    template = wide_model / "coalm.jinja"
    template.write_text(vllm_template("react", template_text("chatml")), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(str(Path(sys.executable).with_name("vllm")), "serve", str(wide_model)),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "coalm"),
        *("--chat-template", str(template), "--enable-auto-tool-choice"),
        *("--tool-parser-plugin", PLUGIN, "--tool-call-parser", "coalm"),
        *("--reasoning-parser-plugin", PLUGIN, "--reasoning-parser", "coalm"),
        *("--dtype", "float32", "--max-model-len", "4096", "--enforce-eager"),
        *("--max-num-seqs", "4"),
    ]
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": f"{source}:{named_vllm(wide_model)}"}
    environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    log = wide_model / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=300)
    finally:
        server.terminate()
        server.wait(60)


def named_vllm(folder: Path) -> Path:
    """A folder for the module path: the command `vllm` asks for the version of the package vllm,
    but the CPU build is another package, vllm-cpu."""
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        facts = folder / "vllm-0.0.0+cpu.dist-info" / "METADATA"
        facts.parent.mkdir()
        facts.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.0.0+cpu\n")
    return folder


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 500
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
    pytest.fail(log.read_text(errors="replace")[-3000:])


def says(text: str) -> dict[str, Any]:
    """Makes a model without wits say this."""
    return {"structured_outputs": {"grammar": f"start: {json.dumps(text)}"}}


def ask(client: Any, *, stream: bool, **asked: Any) -> tuple[Read, str]:
    """The answer, and why it ended."""
    asked = {"model": "coalm", "temperature": 0, "max_tokens": 1500, **asked}
    if not stream:
        choice = client.chat.completions.create(**asked).choices[0]
        message = choice.message
        calls = [(c.function.name, c.function.arguments) for c in message.tool_calls or ()]
        return Read(message.reasoning or None, message.content, calls), choice.finish_reason
    thought, content, calls, reason = "", "", [], ""
    for chunk in client.chat.completions.create(stream=True, **asked):
        choice = chunk.choices[0]
        reason = choice.finish_reason or reason
        thought += getattr(choice.delta, "reasoning", None) or ""
        content += choice.delta.content or ""
        for call in choice.delta.tool_calls or ():
            if call.id:
                calls.append([call.function.name, ""])
            calls[call.index][1] += call.function.arguments or ""
    return Read(thought or None, content or None, [(n, a) for n, a in calls]), reason


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_of_tools(client: Any, stream: bool) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Today is Friday."},
        {"role": "user", "content": [{"type": "text", "text": "Book Oslo for 2."}]},
    ]
    text = 'Thought: I know all.\nAction: Book(city="Oslo", seats=2), Cancel()'
    asked = {"tools": [TOOL, OTHER], "stream": stream}
    found, reason = ask(client, messages=messages, extra_body=says(text), **asked)
    calls = [("Book", '{"city": "Oslo", "seats": 2}'), ("Cancel", "{}")]
    assert found == Read("I know all.", None, calls)
    assert reason == "tool_calls"
    messages.append(
        {
            "role": "assistant",
            "reasoning": found.thought,
            "tool_calls": [
                {"id": name, "type": "function", "function": {"name": name, "arguments": arguments}}
                for name, arguments in calls
            ],
        }
    )
    messages += [{"role": "tool", "tool_call_id": name, "content": "[]"} for name, _ in calls]
    text = "Thought: Say so.\nSystem: Booked.\nAnything else?"
    found, reason = ask(client, messages=messages, extra_body=says(text), **asked)
    assert (found, reason) == (Read("Say so.", "Booked.\nAnything else?", []), "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_must_be_made(client: Any, stream: bool) -> None:
    messages = [{"role": "user", "content": "Book Oslo."}]
    named = {"type": "function", "function": {"name": "Book"}}
    found, _ = ask(client, messages=messages, tools=[OTHER, TOOL], tool_choice=named, stream=stream)
    ((name, arguments),) = found.calls
    assert name == "Book"
    assert json.loads(arguments)["city"] in ("Oslo", "Rome")
    assert not found.content


def test_the_prompt_is_that_of_the_format(client: Any, wide_model: Path) -> None:
    """vLLM passes messages on to the template as the template expects them."""
    transformers: Any = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(wide_model)
    call = {"name": "Book", "arguments": '{"city": "Oslo", "seats": 2, "far": true}'}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Book Oslo\nUser: for 2."}]},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "I know all.",
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "1", "content": '[{"ok": "true"}]'},
    ]
    answer = client.chat.completions.create(
        model="coalm",
        messages=messages,
        tools=[TOOL],
        max_tokens=1,
        extra_body={"return_token_ids": True},
    )
    prompt = tokenizer.decode(answer.prompt_token_ids)
    end = (
        "User: Book Oslo\n\\User: for 2.\nThought: I know all.\n"
        'Action: Book(city="Oslo", seats=2, far=True)\nObservation: [{"ok": "true"}]'
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt.endswith(end)
    assert '1. Book(city: "Oslo" | "Rome", seats?: 1 | 2)\n[END OF' in prompt
