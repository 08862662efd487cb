"""Dialogues of the mini world as ReAct turns, in the words and forms of a live chat.

They are played anew for every build, from the seeds of the configuration, so no files are needed.
Everything is as `coalm chat --world mini` has it: all functions on offer, in their order, and as
observations exactly what the tools return, errors included.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from coalm.data.base import Ledger, Shard, chance
from coalm.data.config import WorldConfig
from coalm.data.sgd import ReactSource
from coalm.data.sgd_records import Dialogue, Service
from coalm.errors import ConfigError
from coalm.types import Conversation, Message, ToolCall, ToolSchema
from coalm.world.dialogues import play
from coalm.world.goals import GoalMaker
from coalm.world.schema import services, sgd_schema, topics
from coalm.world.tools import world_database, world_toolbox

_SERVICES = TypeAdapter(list[Service])


class _WorldDialogues:
    """Ever new dialogues; a shard is the world of one seed."""

    def __init__(self, config: WorldConfig) -> None:
        self.ledger = Ledger()
        self.place = "world"
        self.variant = ""
        self.schemas: Mapping[str, ToolSchema] = {
            schema.name: schema for schema in world_toolbox().schemas
        }
        schema = [sgd_schema(service) for service in services().values()]
        found = _SERVICES.validate_python(schema)
        self.services: Mapping[str, Service] = {one.service_name: one for one in found}
        self._seeds = config.worlds
        self._count = config.dialogues
        self._counts = config.services
        if unknown := [name for name in config.about if name not in topics()]:
            there = ", ".join(topics())
            raise ConfigError(f"world.about: nobody comes with {unknown[0]}, but with {there}")
        self._about = config.about or (*self.services,)
        self._plain = config.replies == "plain"
        self._brisk = config.brisk
        self._slips = config.slips

    def shards(self) -> Iterator[Shard]:
        for seed in self._seeds:
            yield Shard(str(seed), b"")

    def read_shard(self, shard: Shard) -> Iterator[Dialogue]:
        seed = int(shard.path)
        database = world_database(seed)
        maker = GoalMaker(database)
        for number in range(self._count):
            rng = random.Random(f"{seed}/train/{number}")
            names = rng.sample(self._about, min(rng.choice(self._counts), len(self._about)))
            once = {topics()[name].service.name: name for name in names}
            goal = maker.draw(rng, f"{seed}/{number:05}", [*once.values()])
            brisk = chance("brisk", goal.id) < self._brisk
            played: Any = play(
                goal, database.copy(), rng, plain=self._plain, brisk=brisk, slips=self._slips
            )
            self.ledger.counts["dialogues"] += 1
            yield Dialogue.model_validate(played)


class WorldSource(ReactSource):
    """The mini world's dialogues."""

    name = "world"

    def __init__(self, config: WorldConfig, seed: int) -> None:
        """Play the dialogues of `config`; `seed` chooses the distractors, where there are any."""
        super().__init__(_WorldDialogues(config), config, seed)
        self._plain = config.thoughts == "plain"
        self._openings = config.openings

    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]:
        """All samples, or those that answer a new wish."""
        samples = self._answered(dialogue)
        if chance("openings", dialogue.dialogue_id) >= self._openings:
            yield from samples
            return
        asked = {self._place(dialogue, turn) for turn in _wishes(dialogue)}
        for conversation in samples:
            place = conversation.id.rpartition("/")[0]
            if place in asked:
                asked.remove(place)
                yield conversation

    def _answered(self, dialogue: Dialogue) -> Iterator[Conversation]:
        """The samples with the results that the tools give, in place of those that SGD writes."""
        toolbox = world_toolbox(int(dialogue.dialogue_id.partition("/")[0]))
        shown: list[Message] = []
        for conversation in super()._samples(dialogue):
            calls = _calls(conversation)
            shown += [toolbox.execute(call) for call in calls[len(shown) :]]
            results = iter(shown)
            messages = tuple(
                next(results) if message.role == "tool" else message
                for message in conversation.messages
            )
            yield conversation.model_copy(update={"messages": messages})


def _wishes(dialogue: Dialogue) -> Iterator[int]:
    """The assistant's turns that answer a user who has just asked for something."""
    for number, turn in enumerate(dialogue.turns):
        if any(a.act == "INFORM_INTENT" for frame in turn.frames for a in frame.actions):
            yield number + 1


def _calls(conversation: Conversation) -> list[ToolCall]:
    """The calls that have a result."""
    return [call for message in conversation.messages[:-1] for call in message.tool_calls]
