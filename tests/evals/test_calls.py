from __future__ import annotations

import pytest

from coalm.evals.calls import Call, compare_calls, pair_calls
from coalm.types import Message, ToolCall

GOLD = [ToolCall(name="SetAlarm", arguments={"token": "t-42", "time": "7"})]


def answer(*calls: ToolCall, content: str = "") -> Message:
    return Message(role="assistant", content=content, tool_calls=calls)


def alarm(**arguments: object) -> ToolCall:
    return ToolCall.model_validate({"name": "SetAlarm", "arguments": arguments})


@pytest.mark.parametrize(
    ("message", "verdict", "explanation"),
    [
        (answer(alarm(token="t-42", time="7")), "exact", None),
        (answer(alarm(time=7, token="t-42"), content="Sure:"), "exact", None),
        (answer(), "no call", None),
        (answer(content="Which token?"), "no call", None),
        (answer(alarm(token="t-42")), "wrong arguments", "time is missing"),
        (
            answer(alarm(token="t-4", time="7", day="x")),
            "wrong arguments",
            "token is 't-4' instead of 't-42'; day is too much",
        ),
        (answer(ToolCall(name="setalarm")), "wrong function", "setalarm instead of SetAlarm"),
        (
            answer(alarm(token="t-42", time="7"), alarm(token="t-42", time="7")),
            "extra call",
            "SetAlarm",
        ),
        (answer(alarm(), ToolCall(name="GetToken")), "extra call", "GetToken"),
        (
            answer(ToolCall(raw="[{", error="expected a value")),
            "unreadable call",
            "expected a value",
        ),
    ],
)
def test_verdicts(message: Message, verdict: str, explanation: str | None) -> None:
    compared = compare_calls(message, GOLD)
    assert (compared.verdict, compared.explanation) == (verdict, explanation)
    assert compared.right_function == (verdict in ("exact", "wrong arguments"))


def test_a_call_that_is_not_made() -> None:
    gold = [*GOLD, ToolCall(name="GetToken")]
    compared = compare_calls(answer(*GOLD), gold)
    assert (compared.verdict, compared.explanation) == ("missing call", "GetToken")


def test_nothing_to_call_and_nothing_called_is_exact() -> None:
    assert compare_calls(answer(content="Hello"), []).verdict == "exact"
    assert compare_calls(answer(alarm()), []).verdict == "extra call"


def test_every_argument_of_the_label_is_judged() -> None:
    compared = compare_calls(answer(alarm(token="t-42", time="8")), GOLD)
    assert compared.arguments == {"SetAlarm.token": True, "SetAlarm.time": False}
    assert compare_calls(answer(), GOLD).arguments == {
        "SetAlarm.token": False,
        "SetAlarm.time": False,
    }


@pytest.mark.parametrize(
    ("given", "wanted", "same"),
    [
        (5, "5", True),
        (True, "True", True),
        (None, "None", True),
        ([1, 2], "[1, 2]", True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("a", "A", False),
        ("5 ", "5", False),
    ],
)
def test_values_are_the_same_when_equal_or_of_the_same_text(
    given: object, wanted: object, same: bool
) -> None:
    gold = [ToolCall.model_validate({"name": "f", "arguments": {"x": wanted}})]
    call = ToolCall.model_validate({"name": "f", "arguments": {"x": given}})
    assert (compare_calls(answer(call), gold).verdict == "exact") is same


def test_calls_of_one_name_are_paired_by_what_they_have_in_common() -> None:
    calls = [Call("f", {"x": "2", "y": "0"}), Call("f", {"x": "1", "y": "1"}), Call("f", {})]
    gold = [Call("f", {"x": "1", "y": "1"}), Call("f", {"x": "2", "y": "2"})]
    pairs = pair_calls(calls, gold)
    assert [(pair.call, pair.gold, pair.right) for pair in pairs] == [
        (calls[1], gold[0], ["x", "y"]),
        (calls[0], gold[1], ["x"]),
    ]


def test_an_explanation_has_an_end() -> None:
    compared = compare_calls(answer(alarm(**{"x" * 1000: "y" * 1000})), GOLD)
    assert compared.explanation is not None
    assert len(compared.explanation) <= 500
