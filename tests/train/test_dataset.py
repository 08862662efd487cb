"""Rows of all three shapes become token ids and masks, or a reason why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from coalm.chat_template import load_tokenizer
from coalm.errors import DataError, FormatError
from coalm.formats import get_format
from coalm.train.dataset import (
    Chat,
    Dropped,
    Labels,
    SourceCount,
    TrainingSample,
    count_sources,
    read_chat,
    read_samples,
)
from coalm.types import ChatTurn, Conversation, Message, ToolCall, ToolSchema

Write = Callable[..., Path]

FORECAST = ToolSchema(name="Forecast", description="Weather of a city.")
CALL = Message(
    role="assistant", tool_calls=(ToolCall(name="Forecast", arguments={"city": "Oslo"}),)
)
CONVERSATION = Conversation(
    id="sgd-7-1",
    messages=(Message(role="user", content="Rain in Oslo?"), CALL),
    tools=(FORECAST,),
    meta={"format": "json_calls", "source": "sgd", "skill": "LA", "group": "sgd-7"},
)
CHAT = {
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "See you"},
    ]
}
ALPACA = {"instruction": "Repeat.", "input": "one", "output": "two"}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model)


def test_a_conversation_is_rendered_in_the_format_it_names() -> None:
    chat = read_chat(CONVERSATION.model_dump(mode="json"), "x")
    context = CONVERSATION.model_copy(update={"messages": CONVERSATION.messages[:1]})
    json_calls = get_format("json_calls")
    reply = json_calls.render_reply(CALL)
    assert chat == Chat((*json_calls.render(context), ChatTurn("assistant", reply)), True)
    assert "Forecast" in reply


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        (ALPACA, [("user", "Repeat.\n\none"), ("assistant", "two")]),
        (ALPACA | {"input": ""}, [("user", "Repeat."), ("assistant", "two")]),
        (ALPACA | {"input": None}, [("user", "Repeat."), ("assistant", "two")]),
        ({"instruction": "Sing", "output": "la"}, [("user", "Sing"), ("assistant", "la")]),
    ],
)
def test_an_alpaca_row_is_one_question_and_its_answer(
    row: Mapping[str, Any], turns: list[tuple[str, str]]
) -> None:
    assert read_chat(row, "x") == Chat(tuple(ChatTurn(*turn) for turn in turns), True)


def learnt(
    tokenizer: PreTrainedTokenizerBase, path: Path, *, last_only: bool = False
) -> list[str | None]:
    """What each record of a file teaches; None for those that are dropped."""
    return [
        tokenizer.decode(found.token_ids[found.trainable])
        if isinstance(found, TrainingSample)
        else None
        for found in read_samples(path, tokenizer, max_length=2000, last_only=last_only)
    ]


@pytest.mark.parametrize(
    ("last_only", "expected"),
    [
        (False, "Hello<|im_end|>See you<|im_end|>"),
        (True, "See you<|im_end|>"),
    ],
)
def test_what_is_learnt_of_a_chat(
    tokenizer: PreTrainedTokenizerBase, write: Write, last_only: bool, expected: str
) -> None:
    path = write("chat.jsonl", [CHAT])
    assert learnt(tokenizer, path, last_only=last_only) == [expected]


def test_what_is_learnt_of_all_shapes_in_one_file(
    tokenizer: PreTrainedTokenizerBase, write: Write
) -> None:
    path = write("all.jsonl", [CONVERSATION.model_dump(mode="json"), ALPACA, CHAT])
    reply = get_format("json_calls").render_reply(CALL)
    assert learnt(tokenizer, path) == [
        f"{reply}<|im_end|>",
        "two<|im_end|>",
        "Hello<|im_end|>See you<|im_end|>",
    ]


def test_labels(tokenizer: PreTrainedTokenizerBase, write: Write) -> None:
    rows = [CONVERSATION.model_dump(mode="json"), ALPACA, CHAT | {"id": "c9"}]
    path = write("f.jsonl", rows)
    found = list(read_samples(path, tokenizer, max_length=2000))
    assert [sample.labels for sample in found] == [
        Labels(id="sgd-7-1", source="sgd", skill="LA", group=f"{path}:sgd-7"),
        Labels(id="f.jsonl:2", source="f.jsonl", skill="f.jsonl", group=f"{path}:2"),
        Labels(id="c9", source="f.jsonl", skill="f.jsonl", group=f"{path}:c9"),
    ]


def test_what_cannot_be_learnt_is_dropped_with_its_reason(
    tokenizer: PreTrainedTokenizerBase, write: Write
) -> None:
    question = CHAT["messages"][:1]
    thinking = Message(role="assistant", thought="Hm.", content="Yes")
    unsayable = CONVERSATION.model_copy(update={"messages": (CONVERSATION.messages[0], thinking)})
    rows = [
        {"messages": question},
        ALPACA | {"output": "x" * 300},
        unsayable.model_dump(mode="json"),
        {"messages": []},
        ALPACA,
    ]
    path = write("f.jsonl", rows)
    found = list(read_samples(path, tokenizer, max_length=300))
    dropped = [record for record in found if isinstance(record, Dropped)]
    assert [(record.where, record.labels.id) for record in dropped] == [
        (f"{path}:1", "f.jsonl:1"),
        (f"{path}:2", "f.jsonl:2"),
        (f"{path}:3", "sgd-7-1"),
        (f"{path}:4", "f.jsonl:4"),
    ]
    assert dropped[0].reason == "no token to learn"
    assert dropped[1].reason == "longer than 300 tokens"
    assert dropped[2].reason.startswith("cannot be rendered: json_calls has no place for a thought")
    assert dropped[3].reason.startswith("cannot be rendered: the chat has no turns")
    assert isinstance(found[4], TrainingSample)


def test_of_a_chat_that_ends_with_the_user_the_last_turn_alone_teaches_nothing(
    tokenizer: PreTrainedTokenizerBase, write: Write
) -> None:
    path = write("f.jsonl", [{"messages": CHAT["messages"][:3]}])
    assert learnt(tokenizer, path) == ["Hello<|im_end|>"]
    assert learnt(tokenizer, path, last_only=True) == [None]


def test_a_record_of_the_greatest_length_stays(
    tokenizer: PreTrainedTokenizerBase, write: Write
) -> None:
    path = write("f.jsonl", [ALPACA])
    (sample,) = read_samples(path, tokenizer, max_length=2000)
    assert isinstance(sample, TrainingSample)
    length = len(sample.token_ids)
    (kept,) = read_samples(path, tokenizer, max_length=length)
    (cut,) = read_samples(path, tokenizer, max_length=length - 1)
    assert isinstance(kept, TrainingSample)
    assert isinstance(cut, Dropped)


CONVERSATION_ROW = CONVERSATION.model_dump(mode="json")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "not a training record: .* got none"),
        ({"text": "Hi", "label": 1}, "not a training record: expected .*; got text, label"),
        ({"messages": "Hi"}, "not a chat: messages: Input should be a valid list"),
        ({"messages": ["Hi"]}, r"not a chat: messages\.0: Input should be a valid"),
        ({"messages": [{"role": "bot", "content": ""}]}, r"not a chat: messages\.0\.role: Input"),
        ({"messages": [{"role": "user"}]}, r"not a chat: messages\.0\.content: Field required"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]},
            r"messages\.0: a plain chat cannot say tool_calls; make the row a conv",
        ),
        (ALPACA | {"output": 7}, "output must be a text, got 7"),
        (ALPACA | {"instruction": None}, "instruction must be a text, got None"),
        (ALPACA | {"input": ["a"]}, r"input must be a text, got \['a'\]"),
        (CONVERSATION_ROW | {"meta": {}}, "meta.format must name .* of conversation 'sgd-7-1', go"),
        (CONVERSATION_ROW | {"meta": 1}, "not a conversation: meta: Input should be"),
        (CONVERSATION_ROW | {"extra": 1}, "not a conversation: extra: Extra inputs"),
        (CONVERSATION_ROW | {"messages": []}, "'sgd-7-1' does not end with an assistant message"),
    ],
)
def test_a_row_of_no_known_shape_is_an_error(row: Mapping[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^data.jsonl:3: .*{message}") as caught:
        read_chat(row, "data.jsonl:3")
    assert "\n" not in str(caught.value)


def test_an_unknown_format_is_an_error_that_lists_the_known_ones(
    tokenizer: PreTrainedTokenizerBase, write: Write
) -> None:
    row = CONVERSATION_ROW | {"meta": {"format": "jason"}}
    with pytest.raises(FormatError, match="no prompt format 'jason'; there are: react"):
        read_chat(row, "x")


def sample(skill: str, source: str, trainable: list[bool]) -> TrainingSample:
    return TrainingSample(
        Labels("a", source, skill, "a"), torch.zeros(len(trainable)), torch.tensor(trainable)
    )


def test_counts_are_kept_apart_by_skill_and_source() -> None:
    samples = [
        sample("CRA", "sgd", [False, True, True]),
        sample("LA", "sgd", [False, True]),
        sample("CRA", "sgd", [False, True]),
    ]
    dropped = [
        Dropped(Labels("b", "sgd", "LA", "b"), "f:1", "longer"),
        Dropped(Labels("c", "snips", "TOD", "c"), "f:2", "longer"),
    ]
    assert count_sources(samples, dropped) == {
        ("CRA", "sgd"): SourceCount(samples=2, tokens=5, trainable=3, dropped=0),
        ("LA", "sgd"): SourceCount(samples=1, tokens=2, trainable=1, dropped=1),
        ("TOD", "snips"): SourceCount(samples=0, tokens=0, trainable=0, dropped=1),
    }
