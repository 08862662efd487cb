from __future__ import annotations

import json

import pytest

from coalm.data.config import WorldConfig
from coalm.data.mini_world import WorldSource
from coalm.formats import get_format
from coalm.types import Conversation
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


def test_the_same_dialogues_every_time_and_others_in_other_worlds() -> None:
    def ids(*worlds: int) -> list[str]:
        config = WorldConfig(worlds=worlds, dialogues=2)
        return [sample.model_dump_json() for sample in WorldSource(config, 7).conversations()]

    assert ids(3) == ids(3)
    assert not {*ids(3)} & {*ids(4)}
    assert ids(3, 4) == [*ids(3), *ids(4)]


def test_the_world_of_the_chat_is_not_played() -> None:
    assert 0 not in WorldConfig().worlds
