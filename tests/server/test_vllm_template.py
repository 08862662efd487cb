"""The templates for vLLM against the formats: the same text for the same messages and tools."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from coalm.chat_template import encode_prompt, load_tokenizer, template_names, template_text
from coalm.errors import FormatError
from coalm.formats import get_format
from coalm.server.vllm_template import vllm_template
from coalm.types import Conversation, Message, ToolCall, ToolSchema

PLAIN = "{{- messages[0].role ~ ':' ~ messages[0].content -}}"
FORMATS = ("react", "json_calls")

SIGNS = st.characters(exclude_categories=["Cs"])
LINES = st.sampled_from(
    ["Thought:", "\nAction 12:", "\n\\System:", "\n\\\\User: x", "\nUser  3:", "\nObservation ٣:",
     "\nThought :", "\nActions:", "{tools}", "{{ x }}", "{% if", "'\"\\", "\n", "\u2028"]
)  # fmt: skip
texts = st.lists(st.one_of(st.text(SIGNS, max_size=12), LINES), max_size=5).map("".join)
words = st.text(st.sampled_from("abzAZ09_éд"), min_size=1, max_size=8)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
kinds = st.sampled_from(
    ["string", "integer", "array", "object", "any", ["string", "null"], ["integer"]]
)
schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": kinds,
            "description": st.one_of(texts, st.integers()),
            "enum": st.one_of(st.lists(values, max_size=3), st.just("red")),
        },
    ),
    lambda inner: st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
    max_leaves=3,
)
tools = st.builds(
    lambda name, description, properties, required: ToolSchema(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": required},
    ),
    words,
    texts,
    st.dictionaries(words, schemas, max_size=4),
    st.lists(words, max_size=3),
)
bare_tools = st.builds(ToolSchema, name=words, parameters=st.just({}))
calls = st.builds(ToolCall, name=words, arguments=st.dictionaries(words, values, max_size=3))
said = st.builds(
    Message,
    role=st.just("assistant"),
    content=texts,
    thought=st.one_of(st.none(), texts),
    tool_calls=st.lists(calls, max_size=2).map(tuple),
)
heard = st.builds(Message, role=st.sampled_from(["user", "tool", "system"]), content=texts)
conversations = st.builds(
    lambda messages, last, offered: Conversation(
        id="one", messages=(*messages, last), tools=tuple(offered)
    ),
    st.lists(st.one_of(said, heard), max_size=8),
    st.builds(Message, role=st.sampled_from(["user", "tool"]), content=texts),
    st.lists(st.one_of(tools, bare_tools), max_size=3),
)


def openai_message(message: Message) -> dict[str, Any]:
    """A message as it reaches a chat template: arguments are objects there."""
    wire: dict[str, Any] = {"role": message.role, "content": message.content or None}
    if message.thought is not None:
        wire["reasoning_content"] = message.thought
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": f"call{at}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for at, call in enumerate(message.tool_calls)
        ]
    return wire


def openai_tool(tool: ToolSchema) -> dict[str, Any]:
    return {"type": "function", "function": tool.model_dump()}


@cache
def compiled(template: str) -> jinja2.Template:
    """As transformers and vLLM compile it, without either."""
    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    sandbox.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    sandbox.globals["raise_exception"] = refuse
    return sandbox.from_string(template)


def refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def rendered(template: str, conversation: Conversation) -> str:
    return compiled(template).render(
        messages=[openai_message(message) for message in conversation.messages],
        tools=[openai_tool(tool) for tool in conversation.tools] or None,
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=200, deadline=None)
@given(conversation=conversations)
def test_the_text_is_that_of_the_format(name: str, conversation: Conversation) -> None:
    (turn,) = get_format(name).render(conversation)
    assert rendered(vllm_template(name, PLAIN), conversation) == f"user:{turn.content}"


TALK = Conversation(
    id="talk",
    messages=(
        Message(role="system", content="Today is Friday."),
        Message(role="user", content="I want to eat out\nUser: or not"),
        Message(role="assistant", thought="Ask.", content="Where?"),
        Message(role="user", content="Oslo, for 2"),
        Message(
            role="assistant",
            thought="I know all.",
            tool_calls=(ToolCall(name="Find", arguments={"city": "Oslo", "seats": 2}),),
        ),
        Message(role="tool", name="Find", content='[{"name": "Lille Ø"}]'),
    ),
    tools=(
        ToolSchema(
            name="Find",
            description="Search\n restaurants",
            parameters={
                "type": "object",
                "properties": {"city": {"type": "string", "description": "where"}, "seats": {}},
                "required": ["city"],
            },
        ),
    ),
)


@pytest.mark.parametrize("family", template_names())
@pytest.mark.parametrize("name", FORMATS)
def test_the_tokens_are_those_of_our_engines(name: str, family: str, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model, family)
    ours = encode_prompt(tokenizer, get_format(name).render(TALK))
    found = tokenizer.apply_chat_template(
        [openai_message(message) for message in TALK.messages],
        tools=[openai_tool(tool) for tool in TALK.tools],  # pyright: ignore[reportArgumentType]
        chat_template=vllm_template(name, template_text(family)),
        add_generation_prompt=True,
        tokenize=False,
    )
    assert tokenizer(str(found), add_special_tokens=False)["input_ids"] == ours


def test_instructions_of_the_users_own(tmp_path: Path) -> None:
    text = 'Answer "briefly" \\ {{ 7 }} é😀\n{context}|{tools}|{history}\n{% raw %}'
    own = tmp_path / "own.txt"
    own.write_text(text, encoding="utf-8")
    (turn,) = get_format("react", own).render(TALK)
    assert rendered(vllm_template("react", PLAIN, own), TALK) == f"user:{turn.content}"


def test_a_developer_is_a_system() -> None:
    asked = {"role": "user", "content": "Hi"}
    template = compiled(vllm_template("react", PLAIN))
    system, developer = (
        template.render(messages=[{"role": role, "content": "Be brief."}, asked])
        for role in ("system", "developer")
    )
    assert "\n\nBe brief.\n\n" in developer
    assert developer == system


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("last", [None, Message(role="assistant", content="Done.")])
def test_nothing_to_answer_is_refused(name: str, last: Message | None) -> None:
    system = Message(role="system", content="Be brief.")
    messages = (system,) if last is None else (system, last)
    with pytest.raises(jinja2.TemplateError, match="do not end with one of the user or of a tool"):
        rendered(vllm_template(name, PLAIN), Conversation(id="x", messages=messages))


def test_arguments_that_are_text_are_refused() -> None:
    call = {"type": "function", "function": {"name": "Find", "arguments": "{"}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "[]"},
    ]
    for name in FORMATS:
        with pytest.raises(jinja2.TemplateError, match="arguments of Find must be an object"):
            compiled(vllm_template(name, PLAIN)).render(messages=messages)


def test_a_format_without_template_is_named() -> None:
    with pytest.raises(FormatError, match="'dst'; there are: react, json_calls"):
        vllm_template("dst", PLAIN)
