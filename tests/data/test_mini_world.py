from __future__ import annotations

import json
import re
from collections import Counter
from typing import Literal

import pytest

from coalm.data.base import Ledger
from coalm.data.config import WorldConfig
from coalm.data.mini_world import WorldSource, _WorldDialogues
from coalm.data.validate import Validator
from coalm.errors import ConfigError
from coalm.formats import get_format
from coalm.types import Conversation, Message
from coalm.world.schema import services
from coalm.world.tools import world_toolbox


@pytest.fixture(scope="module")
def samples() -> list[Conversation]:
    return list(WorldSource(WorldConfig(worlds=(3, 4), dialogues=12), 7).conversations())


def test_the_prompt_has_the_tools_of_the_chat_to_the_letter(samples: list[Conversation]) -> None:
    form = get_format("react")
    for sample in samples[::20]:
        question = sample.model_copy(update={"messages": sample.messages[:-1]})
        live = question.model_copy(update={"tools": world_toolbox(0).schemas})
        assert form.render(question) == form.render(live)


def test_observations_are_what_the_tools_return(samples: list[Conversation]) -> None:
    whole: dict[str, Conversation] = {}
    for sample in samples:
        whole[str(sample.meta["group"])] = sample
    refused = 0
    for group, sample in whole.items():
        toolbox = world_toolbox(int(group.split("/")[1]))
        calls = [call for message in sample.messages[:-1] for call in message.tool_calls]
        seen = [message.content for message in sample.messages if message.role == "tool"]
        assert seen == [toolbox.execute(call).content for call in calls]
        refused += sum("error" in json.loads(content) for content in seen)
    assert refused  # a user who is turned down is there, too


def test_an_agent_whose_tool_refused_says_no_more_than_it_was_told() -> None:
    # in dialogue 73 of world 1, somebody asks for a phone number while a booking is refused
    config = WorldConfig(worlds=(1,), dialogues=74)
    checked = [Validator(Ledger()).check(s) for s in WorldSource(config, 7).conversations()]
    assert len(checked) > 700
    assert not any(checked)


def test_the_same_dialogues_every_time_and_others_in_other_worlds() -> None:
    def ids(*worlds: int) -> list[str]:
        config = WorldConfig(worlds=worlds, dialogues=2)
        return [sample.model_dump_json() for sample in WorldSource(config, 7).conversations()]

    assert ids(3) == ids(3)
    assert not {*ids(3)} & {*ids(4)}
    assert ids(3, 4) == [*ids(3), *ids(4)]


def test_the_world_of_the_chat_is_not_played() -> None:
    assert 0 not in WorldConfig().worlds


def test_a_plain_assistant_has_one_wording_and_asks_for_one_thing() -> None:
    config = WorldConfig(worlds=(3,), dialogues=30, thoughts="plain", replies="plain")
    plain = list(WorldSource(config, 7).conversations())
    assert not any(Validator(Ledger()).check(sample) for sample in plain)
    varied = WorldConfig(worlds=(3,), dialogues=30)

    def goodbyes(samples: list[Conversation]) -> set[str]:
        last = [sample.messages[-1] for sample in samples]
        return {m.content for m in last if m.thought and "goodbye" in m.thought}

    assert len(goodbyes(plain)) == 1
    assert len(goodbyes(list(WorldSource(varied, 7).conversations()))) > 5
    last = [sample.messages[-1] for sample in plain]
    asked = [m for m in last if re.search("I ask for (?!a yes)", m.thought or "")]
    assert len(asked) > 20
    for message in asked:
        assert message.content.count("?") == 1
        assert not re.search(r"I ask for \w+[, ]", message.thought or "")


def test_a_plain_assistant_says_values_as_tools_give_them() -> None:
    config = WorldConfig(worlds=(3,), dialogues=30, thoughts="plain", replies="plain")
    last = [sample.messages[-1] for sample in WorldSource(config, 7).conversations()]
    said = " ".join(message.content for message in last if not message.tool_calls)
    assert len(re.findall(r"\b\d\d:\d\d\b", said)) > 20
    assert not re.search(r"\d (am|pm)\b|\bMarch\b", said)


def test_brisk_users_leave_less_to_ask_for() -> None:
    def asked(brisk: float) -> int:
        config = WorldConfig(worlds=(3,), dialogues=30, replies="plain", brisk=brisk)
        dialogues = _WorldDialogues(config)
        played = [one for shard in dialogues.shards() for one in dialogues.read_shard(shard)]
        turns = [turn for dialogue in played for turn in dialogue.turns]
        frames = [frame for turn in turns if turn.speaker == "SYSTEM" for frame in turn.frames]
        return sum(action.act == "REQUEST" for frame in frames for action in frame.actions)

    assert asked(1.0) < asked(0.5) < asked(0.0)


def test_users_of_a_plain_assistant_correct_a_result_by_what_they_had_not_said() -> None:
    config = WorldConfig(worlds=(3,), dialogues=120, thoughts="plain", replies="plain")
    again = 0
    for sample in WorldSource(config, 7).conversations():
        *before, last = sample.messages
        calls = [call for message in before for call in message.tool_calls]
        for call in last.tool_calls:
            if call.name == "GetForecast" and calls and calls[-1].name == "GetForecast":
                again += "date" in call.arguments and "date" not in calls[-1].arguments
    assert again


def test_users_want_as_many_services_as_asked_for() -> None:
    config = WorldConfig(worlds=(3,), dialogues=6, services=(3,))
    dialogues = _WorldDialogues(config)
    shards = dialogues.shards()
    found = [len(one.services) for shard in shards for one in dialogues.read_shard(shard)]
    assert set(found) <= {1, 2, 3}  # who gives up on one may have no use for the next
    assert 3 in found


def test_dialogues_are_about_the_services_that_are_named() -> None:
    about = ("Dining_1",) * 4 + ("Bank_1",)
    config = WorldConfig(worlds=(3,), dialogues=30, services=(1, 2), about=about)
    dialogues = _WorldDialogues(config)
    played = [one for shard in dialogues.shards() for one in dialogues.read_shard(shard)]
    found = Counter(name for one in played for name in one.services)
    assert found.keys() == {"Dining_1", "Bank_1"}
    assert found["Dining_1"] > 2 * found["Bank_1"]


def test_dialogues_begin_with_the_functions_that_are_named() -> None:
    config = WorldConfig(worlds=(3,), dialogues=20, services=(2,), about=("BookTable", "Dining_1"))
    dialogues = _WorldDialogues(config)
    played = [one for shard in dialogues.shards() for one in dialogues.read_shard(shard)]
    assert {name for one in played for name in one.services} == {"Dining_1"}
    config = config.model_copy(update={"services": (1,), "about": ("BookTable", "GetForecast")})
    first = {
        next(call.name for m in sample.messages for call in m.tool_calls)
        for sample in WorldSource(config, 7).conversations()
        if any(message.tool_calls for message in sample.messages)
    }
    assert first == {"BookTable", "GetForecast"}


def test_a_topic_that_nobody_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"with Dining, but with Dining_1, .*BookTable"):
        WorldSource(WorldConfig(about=("Dining",)), 7)


@pytest.mark.parametrize("style", ["plain", "varied"])
def test_a_mistake_is_shown_corrected_and_not_learned(style: Literal["plain", "varied"]) -> None:
    config = WorldConfig(worlds=(3,), dialogues=40, thoughts=style, replies=style, slips=0.5)
    samples = list(WorldSource(config, 7).conversations())
    booking = {schema.name for schema in world_toolbox().schemas} - {*_searches()}
    wrong = {m.model_dump_json(): m for s in samples for m in _slips(s)}
    assert len(wrong) > 40
    kinds = {(m.role, bool(m.tool_calls)) for m in wrong.values()}
    assert kinds == {("assistant", True), ("tool", False), ("assistant", False)}
    assert not any(call.name in booking for m in wrong.values() for call in m.tool_calls)
    for sample in samples:
        assert Validator(Ledger()).check(sample) == []
        if wrongs := _slips(sample):
            assert wrongs[-1] is not sample.messages[-1]
            after = sample.messages[sample.messages.index(wrongs[-1]) + 1 :]
            assert after[0].role == "user"
    if style == "plain":
        assert sum("I ask for" in (m.thought or "") for m in wrong.values()) > 5
    bare = [s.model_copy(update={"meta": {**s.meta, "slips": []}}) for s in samples]
    assert any(Validator(Ledger()).check(sample) for sample in bare)


def test_what_was_said_or_done_before_comes_again_by_mistake() -> None:
    config = WorldConfig(
        worlds=(3,), dialogues=60, thoughts="plain", replies="plain", slips=0.5, brisk=0.5
    )
    again: Counter[str] = Counter()
    for sample in WorldSource(config, 7).conversations():
        numbers = _slip_numbers(sample)
        for n in numbers:
            wrong, before = sample.messages[n], sample.messages[:n]
            if wrong.tool_calls and wrong.tool_calls in [m.tool_calls for m in before]:
                again["search"] += 1
            elif wrong.content and wrong.role == "assistant":
                twice = wrong.content in [m.content for m in before]
                again[str(wrong.thought).rpartition(". ")[2]] += twice
        if numbers and numbers[-1] == len(sample.messages) - 3:
            wrong, right = sample.messages[-3], sample.messages[-1]
            assert (wrong.content, wrong.tool_calls) != (right.content, right.tool_calls)
    assert min(again["search"], again["I offer that."]) > 2, again
    assert sum(again[why] for why in again if why.startswith("I ask for ")) > 10, again


def _slips(sample: Conversation) -> list[Message]:
    return [sample.messages[n] for n in _slip_numbers(sample)]


def _slip_numbers(sample: Conversation) -> list[int]:
    numbers = sample.meta.get("slips", [])
    assert isinstance(numbers, list)
    return [n for n in numbers if isinstance(n, int)]


def _searches() -> list[str]:
    return [
        name
        for service in services().values()
        for name, intent in service.intents.items()
        if not intent.transactional
    ]


def test_no_mistakes_unless_asked_for(samples: list[Conversation]) -> None:
    assert not any("slips" in sample.meta for sample in samples)


def test_openings_are_what_answers_a_new_wish() -> None:
    def samples(openings: float) -> dict[str, Conversation]:
        config = WorldConfig(worlds=(3,), dialogues=30, openings=openings)
        return {sample.id: sample for sample in WorldSource(config, 7).conversations()}

    whole, some, all_cut = samples(0.0), samples(0.5), samples(1.0)
    assert all_cut.items() <= some.items() <= whole.items()
    assert len(all_cut) < len(some) < len(whole)
    first = [sample for sample in all_cut.values() if "/01/" in sample.id]
    assert len(first) == 30
    for sample in all_cut.values():
        assert sample.messages[-2].role == "user"
    later = [sample for sample in all_cut.values() if "/01/" not in sample.id]
    chosen = {call.name for sample in later for call in sample.messages[-1].tool_calls}
    assert len(chosen) > 5  # after another task, too
