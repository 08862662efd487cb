"""Every feature of the API that is served, asked by OpenAI's own client; see docs/serve.md."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from coalm.formats import get_format
from coalm.types import Message, Prompt, ToolCall

openai = pytest.importorskip("openai")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "FindRestaurants",
            "description": "Search by city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "seats": {"type": "integer"}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "Now"}},
]
TEXTS = [
    "San Jose", 'the "Blue\\Door"', "Zoë's café", "東京 駅", "😀 for 2", "first\nsecond", "x=1]",
    "", "Thought: none", "a, b) c(", "tab\there", "\u2028", "{'a': 1}", "System: hi",
    "C:\\new\\table",
]  # fmt: skip
MODEL = "coalm"
USER = [{"role": "user", "content": "Find me an Italian place"}]
ACTION = 'Thought: I look.\nAction: FindRestaurants(city="San José", seats=2)'


def create(served: Any, **request: Any) -> Any:
    return served.client.chat.completions.create(
        **({"model": MODEL, "messages": USER, "tools": TOOLS} | request)
    )


def asked(served: Any) -> str:
    """The last prompt that the engine got."""
    return served.desk._engine.prompts[-1][0].content


def test_a_reply_is_content_and_its_thought_reasoning_content(scripted: Any) -> None:
    served = scripted(["Thought: I greet.\nSystem: Hello!"])
    (choice,) = create(served).choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "Hello!"
    assert choice.message.reasoning_content == "I greet."
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"


def test_a_call_is_a_tool_call(scripted: Any) -> None:
    (choice,) = create(scripted([ACTION])).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert (call.type, call.function.name) == ("function", "FindRestaurants")
    assert json.loads(call.function.arguments) == {"city": "San José", "seats": 2}
    assert call.id.startswith("call_")


def test_a_whole_tool_loop(scripted: Any) -> None:
    served = scripted([ACTION, "Thought: One fits.\nSystem: How about Amoroso?"])
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *USER]
    first = create(served, messages=messages).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": '["Amoroso"]'}
    # the message as the client's own type, as its users send it back
    second = create(served, messages=[*messages, first, result]).choices[0]
    assert second.message.content == "How about Amoroso?"
    prompt = asked(served)
    assert "Be brief." in prompt
    assert 'Thought: I look.\nAction: FindRestaurants(city="San José", seats=2)' in prompt
    assert prompt.endswith('Observation: ["Amoroso"]')


def test_the_prompt_is_that_of_the_format(scripted: Any) -> None:
    from coalm.agent.questions import read_conversation

    served = scripted(["System: Hi"])
    create(served)
    conversation = read_conversation({"messages": USER, "tools": TOOLS}, "x")
    assert served.desk._engine.prompts == [get_format("react").render(conversation)]


@pytest.mark.parametrize("name", ["json_calls", "python_calls"])
def test_other_formats_are_served_too(
    scripted: Any, name: str, joined: Any, unstreamed: Any
) -> None:
    form = get_format(name)
    message = get_format("react").parse("System: One moment.\n" + ACTION.partition("\n")[2])
    served = scripted([form.render_reply(message)] * 2, prompt_format=form)
    whole = unstreamed(create(served))
    assert whole["content"] == "One moment."
    assert whole["calls"] == [["FindRestaurants", '{"city": "San José", "seats": 2}']]
    options = {"include_usage": True}
    assert joined(create(served, stream=True, stream_options=options)) == whole


def test_arguments_stream_as_they_are_written(scripted: Any) -> None:
    chunks = [*create(scripted([ACTION]), stream=True)]
    parts = [c.choices[0].delta.tool_calls for c in chunks if c.choices[0].delta.tool_calls]
    arguments = [part[0].function.arguments for part in parts]
    assert arguments[0] == ""
    assert "".join(arguments) == '{"city": "San José", "seats": 2}'
    assert len(arguments) == 4  # the name; up to "San; up to José"; the rest
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[0].choices[0].delta.role == "assistant"


def test_the_sdk_accumulates_a_stream_itself(scripted: Any) -> None:
    served = scripted([ACTION])
    with served.client.chat.completions.stream(model=MODEL, messages=USER, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "San José", "seats": 2}


def test_usage_is_counted_and_streamed_on_request(scripted: Any) -> None:
    served = scripted(["System: one two three"] * 3)
    usage = create(served).usage
    assert usage.completion_tokens == 4
    assert usage.total_tokens == usage.prompt_tokens + 4
    last = [*create(served, stream=True, stream_options={"include_usage": True})][-1]
    assert last.choices == []
    assert last.usage == usage
    assert all(c.usage is None for c in create(served, stream=True))


def test_max_tokens_cuts_and_says_so(scripted: Any, joined: Any) -> None:
    served = scripted(["System: one two three"] * 3)
    for limit in ({"max_tokens": 2}, {"max_completion_tokens": 2, "max_tokens": 3}):
        (choice,) = create(served, **limit).choices
        assert (choice.message.content, choice.finish_reason) == ("one", "length")
    assert joined(create(served, max_tokens=2, stream=True))["finish_reason"] == "length"


def test_a_cut_call_is_given_as_far_as_it_goes(scripted: Any, unstreamed: Any) -> None:
    served = scripted([ACTION] * 2)
    whole = unstreamed(create(served, max_tokens=5))
    assert whole["calls"] == [["FindRestaurants", '{"city": "San']]
    assert whole["finish_reason"] == "length"


def test_such_a_call_can_be_sent_back(scripted: Any) -> None:
    served = scripted([ACTION, "System: Sorry."])
    cut = create(served, max_tokens=5).choices[0].message
    error = {"role": "tool", "tool_call_id": cut.tool_calls[0].id, "content": "arguments: no JSON"}
    assert create(served, messages=[*USER, cut, error]).choices[0].message.content == "Sorry."
    assert asked(served).endswith("Italian place\nObservation: arguments: no JSON")


def test_stop_texts_end_an_answer(scripted: Any, joined: Any) -> None:
    served = scripted(["System: one two three\nUser: four"] * 3)
    assert create(served).choices[0].message.content == "one two three"
    assert create(served, stop=["three", "two"]).choices[0].message.content == "one"
    whole = joined(create(served, stop="two", stream=True))
    assert (whole["content"], whole["finish_reason"]) == ("one", "stop")


def test_settings_of_a_request_reach_the_engine_beside_the_servers(scripted: Any) -> None:
    from coalm.engines import SamplingParams

    served = scripted(["System: Hi"] * 2, params=SamplingParams(max_new_tokens=7, temperature=0.3))
    seen: list[SamplingParams] = []
    ask = served.desk._engine.generate
    served.desk._engine.generate = lambda prompts, params: (
        seen.append(params) or ask(prompts, params)
    )
    create(served)
    create(served, temperature=1.5, top_p=0.5, seed=3, max_tokens=9, stop="x")
    stop = get_format("react").stop
    assert seen == [
        SamplingParams(max_new_tokens=7, temperature=0.3, stop=stop),
        SamplingParams(max_new_tokens=9, temperature=1.5, top_p=0.5, seed=3, stop=(*stop, "x")),
    ]


def test_tool_choice_none_offers_no_tool(scripted: Any) -> None:
    served = scripted([ACTION])
    (choice,) = create(served, tool_choice="none").choices
    assert choice.message.tool_calls is None
    assert choice.message.content == 'FindRestaurants(city="San José", seats=2)'
    assert "Search by city" not in asked(served)


def test_tools_are_shown_as_the_model_learned_to_read_them(scripted: Any) -> None:
    served = scripted(["System: Hi"], tool_text="signatures")
    create(served)
    assert "1. FindRestaurants(city, " in asked(served)
    assert "Search by city" not in asked(served)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "Now"}}])
def test_calls_that_must_be_made_need_an_engine_that_guides(scripted: Any, choice: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="tool_choice: needs an engine that guides"):
        create(scripted([ACTION]), tool_choice=choice)


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    ],
)
def test_so_does_json(scripted: Any, form: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="response_format: needs an engine that"):
        create(scripted([ACTION]), tools=None, response_format=form)


def test_one_call_at_a_time_on_request(scripted: Any, joined: Any, unstreamed: Any) -> None:
    served = scripted(["Action: Now(), FindRestaurants(city='Oslo')\nAction: Now()"] * 3)
    assert len(create(served).choices[0].message.tool_calls) == 3
    whole = unstreamed(create(served, parallel_tool_calls=False))
    assert whole["calls"] == [["Now", "{}"]]
    assert joined(create(served, parallel_tool_calls=False, stream=True))["calls"] == whole["calls"]


def test_messages_may_come_in_every_form_of_the_api(scripted: Any) -> None:
    served = scripted(["System: Hi"])
    create(
        served,
        messages=[
            {"role": "developer", "content": [
                {"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
            {"role": "user", "content": "Hello", "name": "Ann"},
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "Now", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "noon"}]},
        ],
        user="ann", metadata={"a": "b"}, store=False, n=1, frequency_penalty=0, logprobs=False,
        response_format={"type": "text"},
    )  # fmt: skip
    assert "Be kind." in asked(served)
    assert asked(served).endswith("User: Hello\nAction: Now()\nObservation: noon")


def test_completions_take_words_as_they_are(scripted: Any) -> None:
    served = scripted(lambda prompt: f"Thought: {prompt[0].content}")
    ask = served.client.completions.create
    (choice,) = ask(model=MODEL, prompt="Hi", max_tokens=5).choices
    assert (choice.text, choice.finish_reason) == ("Thought: Hi", "stop")
    both = ask(model=MODEL, prompt=["a b c", "d"], max_tokens=3)
    assert [(c.index, c.text, c.finish_reason) for c in both.choices] == [
        (0, "Thought: a b", "length"),
        (1, "Thought: d", "stop"),
    ]
    assert both.usage.completion_tokens == 5
    chunks = [*ask(model=MODEL, prompt="one two", stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Thought: one two"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_model_is_listed(scripted: Any) -> None:
    served = scripted([], model="me/CoALM-8B")
    assert [model.id for model in served.client.models.list()] == ["me/CoALM-8B"]
    assert served.client.models.retrieve("me/CoALM-8B").owned_by == "coalm"
    with pytest.raises(openai.NotFoundError, match="there is no model 'other' here"):
        served.client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError, match="there is no model 'coalm' here") as refusal:
        create(served)
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")


def test_an_engine_that_fails_is_no_traceback(scripted: Any) -> None:
    served = scripted([])
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError, match="no reply left after 0") as failure:
            create(served, stream=stream)
        assert failure.value.type == "server_error"
        assert "Traceback" not in failure.value.response.text


CASES = 300


def values(noise: random.Random, depth: int = 0) -> Any:
    kind = noise.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [values(noise, depth + 1) for _ in range(noise.randrange(4))]
    if kind == 6:
        return {noise.choice(TEXTS): values(noise, depth + 1) for _ in range(noise.randrange(3))}
    return [noise.choice(TEXTS), noise.choice(TEXTS), noise.randrange(-9, 10**9), 0.25, None][kind]


def call(noise: random.Random) -> ToolCall:
    names = noise.sample(["city", "seats", "when", "with guests", "ö"], noise.randrange(4))
    tool = noise.choice(["FindRestaurants", "Now", "Book.it"])
    return ToolCall(name=tool, arguments={name: values(noise) for name in names})


def answer(seed: int) -> str:
    """A ReAct answer: thoughts, texts and calls in any order."""
    noise, form = random.Random(seed), get_format("react")
    parts: list[str] = []
    for _ in range(noise.randint(1, 5)):
        kind = noise.randrange(3)
        calls = tuple(call(noise) for _ in range(noise.randint(1, 3))) if kind == 0 else ()
        message = Message(
            role="assistant",
            thought=noise.choice(TEXTS) if kind == 1 else None,
            content=" ".join(noise.choices(TEXTS, k=3)).strip() if kind == 2 else "",
            tool_calls=calls,
        )
        parts.append(form.render_reply(message))
    return "\n".join(parts)


@pytest.fixture(scope="module")
def parrot(serving: Any) -> Iterator[Any]:
    """Says the answer of the case that the user names."""
    from coalm.engines.scripted import ScriptedEngine

    def reply(prompt: Prompt) -> str:
        return answer(int(prompt[-1].content.rpartition("case ")[2]))

    with serving(ScriptedEngine(reply)) as served:
        yield served


@pytest.mark.parametrize("block", range(10))
def test_streamed_and_whole_answers_are_the_same(
    parrot: Any, block: int, joined: Any, unstreamed: Any
) -> None:
    react, cut = get_format("react"), 0
    for case in range(block * CASES // 10, (block + 1) * CASES // 10):
        messages = [{"role": "user", "content": f"case {case}"}]
        limit: dict[str, Any] = {} if case % 3 else {"max_tokens": 1 + case % 17}
        options = {"include_usage": True}
        whole = unstreamed(create(parrot, messages=messages, **limit))
        stream = create(parrot, messages=messages, stream=True, stream_options=options, **limit)
        assert joined(stream) == whole
        cut += whole["finish_reason"] == "length"
        if whole["finish_reason"] != "length":
            message = react.parse(answer(case))
            assert whole["content"] == message.content
            assert whole["thought"] == (message.thought or "")
            calls = [[name, json.loads(arguments)] for name, arguments in whole["calls"]]
            assert calls == [[call.name, call.arguments] for call in message.tool_calls]
    assert cut


def test_the_cases_hold_what_can_go_wrong() -> None:
    texts = [answer(case) for case in range(CASES)]
    calls = [get_format("react").parse(text).tool_calls for text in texts]
    assert sum(len(found) > 1 for found in calls) > 50
    assert sum("Action" in text and "System" in text for text in texts) > 50
    assert sum('\\"' in text for text in texts) > 30
    assert sum("東京" in text for text in texts) > 50
    assert sum("{" in text and "[" in text for text in texts) > 50
