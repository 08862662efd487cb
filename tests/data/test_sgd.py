from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from coalm.data.config import SgdCallsConfig, SgdConfig
from coalm.data.files import Copy
from coalm.data.sgd import TODAY, SgdCallsSource, SgdSource
from coalm.formats import get_format
from coalm.tools import check_arguments
from coalm.types import Conversation, Message

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"


def react(root: Path = FIXTURE, **settings: Any) -> tuple[SgdSource, dict[str, Conversation]]:
    source = SgdSource(Copy(root), SgdConfig(**{"tools": "own", **settings}), 7)
    return source, {sample.id: sample for sample in source.conversations()}


def calls(**settings: Any) -> tuple[SgdCallsSource, dict[str, Conversation]]:
    source = SgdCallsSource(Copy(FIXTURE), SgdCallsConfig(**{"tools": "own", **settings}), 7)
    return source, {sample.id: sample for sample in source.conversations()}


def rows(message: Message) -> list[dict[str, str]]:
    assert message.role == "tool"
    return json.loads(message.content)


def test_a_turn_with_a_call_gives_two_samples_and_another_turn_one() -> None:
    _, samples = react()
    first = [name.removeprefix("sgd/train/1_00000/") for name in samples if "1_00000" in name]
    assert first == [
        *("01/reply", "03/call", "03/reply", "05/reply", "07/reply", "09/reply", "11/reply"),
        *("13/call", "13/reply", "15/reply", "17/reply"),
    ]


def test_the_last_message_is_what_is_learned() -> None:
    _, samples = react()
    call = samples["sgd/train/1_00000/03/call"].messages[-1]
    assert call.thought
    assert [(c.name, c.arguments) for c in call.tool_calls] == [
        ("FindTable", {"city": "Alba", "cuisine": "Greek", "outdoor": True})
    ]
    reply = samples["sgd/train/1_00000/03/reply"]
    assert [m.role for m in reply.messages[-4:]] == ["user", "assistant", "tool", "assistant"]
    assert reply.messages[-3] == call
    assert reply.messages[-1].thought
    assert reply.messages[-1].content == "Ithaka in Alba is nice."


def test_the_day_stands_first_in_every_dialogue() -> None:
    _, samples = react()
    assert TODAY.strftime("%A %d %B %Y") == "Friday 01 March 2019"
    for sample in samples.values():
        assert sample.messages[0] == Message(role="system", content="Today is Friday, 2019-03-01.")
    prompt = get_format("react").render(
        samples["sgd/train/1_00000/01/reply"].extended(Message(role="user", content="?"))
    )
    assert "Today is Friday, 2019-03-01." in prompt[0].content


def test_the_history_keeps_thoughts_calls_and_observations() -> None:
    _, samples = react()
    phone = samples["sgd/train/1_00000/07/reply"]
    (observation,) = [m for m in phone.messages if m.role == "tool"]
    assert "555-05" in observation.content
    assert all(m.thought for m in phone.messages if m.role == "assistant")


def test_a_cut_result_keeps_what_is_offered_later() -> None:
    _, samples = react(result_rows=2)
    observation = samples["sgd/train/1_00000/03/reply"].messages[-2]
    # rows 1 and 2, and row 5, which the user gets to hear of two turns later
    assert [row["restaurant_name"] for row in rows(observation)] == ["Ithaka", "Delphi", "Samos"]


def test_a_result_that_is_counted_is_never_cut() -> None:
    _, samples = react(result_rows=1)
    observation = samples["sgd/train/1_00001/01/reply"].messages[-2]
    assert len(rows(observation)) == 4


def test_a_result_is_not_cut_when_the_configuration_says_so() -> None:
    _, samples = react(result_rows=None)
    assert len(rows(samples["sgd/train/1_00000/03/reply"].messages[-2])) == 5


def test_arguments_have_types_and_observations_keep_the_text() -> None:
    _, samples = react()
    booked = samples["sgd/train/1_00000/13/reply"]
    assert booked.messages[-3].tool_calls[0].arguments["guests"] == 2
    assert rows(booked.messages[-2])[0]["guests"] == "2"
    for sample in samples.values():
        for call in sample.messages[-1].tool_calls:
            schema = next(tool for tool in sample.tools if tool.name == call.name)
            assert check_arguments(schema, call.arguments) == call.arguments


def test_functions_of_the_same_name_are_told_apart() -> None:
    _, samples = react()
    names = [
        samples[f"sgd/train/4_00000/{turn}/call"].messages[-1].tool_calls[0].name
        for turn in ("01", "03")
    ]
    assert names == ["Rooms_1_FindRoom", "Flats_1_FindRoom"]
    assert samples["sgd/train/4_00000/03/reply"].messages[-2].name == "Flats_1_FindRoom"


def test_a_call_without_arguments_and_an_empty_result_are_samples() -> None:
    _, samples = react()
    call = samples["sgd/train/2_00003/01/call"].messages[-1].tool_calls[0]
    assert (call.name, call.arguments) == ("FindSong", {})
    assert samples["sgd/train/2_00003/01/reply"].messages[-2].content == "[]"


FAULTS = {
    "sgd/train/2_00000/01/reply": ("offer that no result holds", "restaurant_name: 'Corfu'"),
    "sgd/train/2_00001/01/call": (
        "call that does not fit its schema",
        "BookTable: missing argument 'city'",
    ),
    "sgd/train/2_00002/01/reply": (
        "success that the result contradicts",
        "time: '20:00' was asked for, the result has '20:30'",
    ),
    "sgd/train/2_00004/01/reply": ("value that nobody gave", "genre: ['Jazz']"),
}


def test_false_turns_are_left_out_by_name_with_all_that_follows() -> None:
    source, samples = react()
    later = "follows a turn that was dropped"
    faults = {r.where: (r.reason, r.detail) for r in source.ledger.rejected if r.reason != later}
    assert faults == FAULTS
    followers = {r.where: r.detail for r in source.ledger.rejected if r.reason == later}
    assert followers == {
        "sgd/train/2_00000/03/reply": "sgd/train/2_00000/01/reply",
        "sgd/train/2_00000/05/call": "sgd/train/2_00000/01/reply",
        "sgd/train/2_00000/05/reply": "sgd/train/2_00000/01/reply",
        "sgd/train/2_00001/01/reply": "sgd/train/2_00001/01/call",
        "sgd/train/2_00001/03/reply": "sgd/train/2_00001/01/call",
    }
    assert not samples.keys() & (faults.keys() | followers.keys())
    # the call before a false reply was right
    assert {"sgd/train/2_00000/01/call", "sgd/train/2_00002/01/call"} <= samples.keys()


def test_counts_and_rejections_together_are_all_turns() -> None:
    source, samples = react()
    assert len(samples) + len(source.ledger.rejected) == 36
    assert source.ledger.counts["calls"] + source.ledger.counts["replies"] == len(samples)


def test_an_unknown_act_is_left_out_and_named(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "sgd")
    path = tmp_path / "sgd" / "train" / "dialogues_001.json"
    path.write_text(path.read_text().replace('"GOODBYE"', '"WAVE"'))
    source, _ = react(tmp_path / "sgd")
    assert source.ledger.rejected[0] == (
        "sgd/train/1_00000/17/reply",
        "turn without a thought",
        "['WAVE']",
    )


def test_every_sample_renders_and_its_reply_is_read_back() -> None:
    prompt_format = get_format("react")
    for sample in react()[1].values():
        *context, target = sample.messages
        prompt_format.render(sample.model_copy(update={"messages": tuple(context)}))
        assert prompt_format.parse(prompt_format.render_reply(target)) == target


def test_reading_twice_gives_the_same() -> None:
    assert react()[1] == react()[1]


def test_json_calls_have_the_dialogue_as_plain_words() -> None:
    _, samples = calls(no_call=0.0)
    sample = samples["sgd/train/1_00000/13/json"]
    assert [m.role for m in sample.messages] == ["system", *["user", "assistant"] * 7]
    assert not any(m.thought or m.tool_calls for m in sample.messages[:-1])
    (call,) = sample.messages[-1].tool_calls
    assert call.arguments["time"] == "18:30"
    assert sample.meta["skill"] == "LA"
    assert sample.meta["group"] == "sgd/train/1_00000"


def test_json_calls_of_false_turns_and_after_them_are_left_out() -> None:
    source, samples = calls(no_call=0.0)
    assert {r.where: r.reason for r in source.ledger.rejected} == {
        "sgd/train/2_00000/05/json": "follows a turn that was dropped",
        "sgd/train/2_00001/01/json": "call that does not fit its schema",
    }
    assert len(samples) == 9


def test_turns_where_nothing_can_be_called_have_an_empty_list() -> None:
    _, samples = calls(no_call=1.0)
    empty = {name for name, s in samples.items() if not s.messages[-1].tool_calls}
    assert empty == {
        *("sgd/train/1_00000/01/json", "sgd/train/1_00000/15/json", "sgd/train/1_00000/17/json"),
        *("sgd/train/1_00001/07/json", "sgd/train/2_00003/03/json", "sgd/train/4_00000/05/json"),
    }
    target = samples["sgd/train/1_00000/01/json"].messages[-1]
    assert get_format("json_calls").render_reply(target) == "```\n[]\n```"


def test_the_share_of_turns_without_a_call_is_kept() -> None:
    assert len(calls(no_call=0.5)[1]) < len(calls(no_call=1.0)[1])


@pytest.mark.parametrize("tools", ["own", "own+3", "all"])
def test_both_sources_offer_the_same_functions_in_a_dialogue(tools: str) -> None:
    own = react(tools=tools)[1]["sgd/train/1_00000/13/call"].tools
    assert own == calls(tools=tools)[1]["sgd/train/1_00000/13/json"].tools
    assert len(own) == {"own": 2, "own+3": 5, "all": 7}[tools]


def test_two_samples_for_every_turn() -> None:
    source, samples = react(samples="two_a_turn")
    first = [name.removeprefix("sgd/train/1_00000/") for name in samples if "1_00000" in name]
    assert first[:5] == ["01/decision", "01/reply", "03/call", "03/reply", "05/decision"]
    assert len(first) == 2 * 9
    decision = samples["sgd/train/1_00000/01/decision"].messages
    reply = samples["sgd/train/1_00000/01/reply"].messages
    assert decision[:-1] == reply[:-2]
    assert (decision[-1].thought, decision[-1].content) == (reply[-2].thought, reply[-1].content)
    assert (reply[-2].content, reply[-1].thought) == ("", None)
    counts = source.ledger.counts
    assert counts["calls"] + counts["decisions"] + counts["replies"] == len(samples)
    assert not {name for name in samples if any(r.where == name for r in source.ledger.rejected)}


def test_natural_and_two_a_turn_differ_in_form_alone() -> None:
    kinds = (react()[1], react(samples="two_a_turn")[1])
    texts = []
    for samples in kinds:
        last = [s for name, s in samples.items() if name.startswith("sgd/train/1_00000/17")][-1]
        prompt = get_format("react").render_alpaca(
            last.model_copy(update={"messages": last.messages[:-1]})
        )
        reply = get_format("react").render_reply(last.messages[-1])
        texts.append(f"{prompt.instruction}\n\n{prompt.input}\n{reply}")
    assert texts[0] == texts[1]


def test_every_dropped_sample_of_two_a_turn_is_named() -> None:
    natural, _ = react()
    source, samples = react(samples="two_a_turn")
    dropped = {r.where for r in source.ledger.rejected}
    assert {r.where for r in natural.ledger.rejected} <= dropped
    turns = {name.rpartition("/")[0] for name in {*samples, *dropped}}
    for turn in turns:
        parts = {name.rpartition("/")[2] for name in {*samples, *dropped} if turn in name}
        assert parts in ({"call", "reply"}, {"decision", "reply"})


def test_dialogues_of_several_services_can_be_left_out() -> None:
    source, samples = react(services="one")
    _, everything = react()
    passed_over = source.ledger.counts["dialogues of several services, passed over"]
    assert passed_over >= 1
    assert set(samples) < set(everything)
    groups = {sample.meta["group"] for sample in everything.values()}
    assert len({sample.meta["group"] for sample in samples.values()}) == len(groups) - passed_over
