from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import JsonValue

from coalm.data.contamination import Benchmark, ExpectedCall, Found, overlaps
from coalm.types import Conversation, Message, ToolCall

LONG = "I would like to book a table for two people at a place near the old harbour, please."
SHORT = "Is there anything else that I can do?"
BENCHMARK = Benchmark(
    "exam",
    [("a", LONG), ("b", f"Well. {SHORT}"), ("c", SHORT), ("d", "Hi there.")],
    [
        ExpectedCall("e", "Find", {"city": ["Oslo", "Christiania"], "size": [2, ""]}, {"size"}),
        ExpectedCall("f", "GetToday", {}),
    ],
)


def sample(name: str, *texts: str, call: ToolCall | None = None) -> Conversation:
    messages = [Message(role="user", content=text) for text in texts]
    messages.append(Message(role="assistant", tool_calls=(call,) if call else ()))
    return Conversation(id=name, messages=tuple(messages), meta={"source": "mine"})


def found(*samples: Conversation) -> dict[str, tuple[int, int]]:
    """Kind to samples and items."""
    (overlap,) = overlaps(samples, [BENCHMARK])
    assert (overlap.source, overlap.test) == ("mine", "exam")
    assert overlap.samples == len(samples)
    return {kind: (f.samples, f.items) for kind, f in overlap.found.items()}


def test_what_is_too_short_is_no_item() -> None:
    (overlap,) = overlaps([sample("x")], [BENCHMARK])
    assert overlap.items == len({"a", "b", "c", "e", "f"})


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        (f"Hello! {LONG} Thanks.", {"words": (1, 1)}),
        (
            "would like to BOOK a table, for two people at a place near the old sea",
            {"words": (1, 1)},
        ),
        ("I would like to book a table for two people at a hut.", {}),
        ("I would like to book a table for 2 people at a place near the old harbour", {}),
        (SHORT, {"message": (1, 1)}),
        (f"{SHORT} Yes.", {}),
        ("Hi there.", {}),
    ],
)
def test_words_in_a_row_and_whole_short_messages(
    text: str, hits: dict[str, tuple[int, int]]
) -> None:
    assert found(sample("x", text)) == {"words": (0, 0), "message": (0, 0), "call": (0, 0), **hits}


@pytest.mark.parametrize(
    ("name", "arguments", "hit"),
    [
        ("Find", {"city": "Oslo", "size": 2}, True),
        ("Find", {"city": "christiania "}, True),
        ("Find", {"city": "Oslo", "size": "2"}, True),
        ("Find", {"city": "Oslo", "size": 3}, False),
        ("Find", {"size": 2}, False),
        ("Find", {"city": "Oslo", "open": True}, False),
        ("Look", {"city": "Oslo"}, False),
        ("GetToday", {}, True),
    ],
)
def test_calls_that_the_test_accepts(
    name: str, arguments: dict[str, JsonValue], *, hit: bool
) -> None:
    call = ToolCall(name=name, arguments=arguments)
    assert found(sample("x", call=call))["call"] == ((1, 1) if hit else (0, 0))


def test_every_sample_that_shares_a_message_counts() -> None:
    history = (f"One. {LONG}", "And now?")
    samples = [sample("x", *history), sample("y", *history, "Go on."), sample("z", "And now?")]
    assert found(*samples)["words"] == (2, 1)


def test_the_first_shared_words_and_calls_are_given() -> None:
    call = ToolCall(name="Find", arguments={"city": "Oslo"})
    (overlap,) = overlaps([sample("x", LONG, call=call)], [BENCHMARK])
    words = overlap.found["words"].examples[0]
    assert (words.sample, words.item) == ("x", "a")
    assert words.what == "i would like to book a table for two people at a place"
    assert overlap.found["call"].examples[0].what == 'Find {"city": "Oslo"}'
    assert overlap.functions == ["Find"]


def test_sources_and_benchmarks_are_told_apart() -> None:
    other = Benchmark("other", [("o", SHORT)], [])
    mine = sample("x", LONG)
    yours = sample("y", SHORT).model_copy(update={"meta": {"source": "yours"}})
    table = {(o.source, o.test): o.found for o in overlaps([mine, yours], [BENCHMARK, other])}
    assert list(table) == [
        ("mine", "exam"),
        ("mine", "other"),
        ("yours", "exam"),
        ("yours", "other"),
    ]
    none = Found(samples=0, items=0, examples=[])
    assert table["mine", "other"] == {"words": none, "message": none, "call": none}
    assert table["yours", "other"]["message"].samples == 1


def test_samples_are_read_one_at_a_time() -> None:
    alive: list[int] = []

    def stream() -> Iterator[Conversation]:
        for number in range(3):
            alive.append(number)
            yield sample(str(number), LONG)

    samples = stream()
    assert overlaps(samples, [BENCHMARK])[0].found["words"].samples == 3
    assert alive == [0, 1, 2]
    assert next(samples, None) is None
