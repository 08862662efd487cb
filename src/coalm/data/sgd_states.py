"""SGD's states: the dialogue so far in plain words, then everything that the user has set.

One sample for every turn of the user (skill TOD, format `dst`). A service is a domain, named like
the job it does, with the slots that its functions take; other services are on offer as well::

    User: A table in San Jose, please.
    System: [{"domain": "restaurants", "slot_values": {"city": "San Jose"}}, ...]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from coalm.data.base import Said, sample, shuffled
from coalm.data.config import SgdStatesConfig
from coalm.data.files import Copy
from coalm.data.sgd import DialogueSource, SgdDialogues
from coalm.data.sgd_functions import family
from coalm.data.sgd_records import Dialogue, Service, Turn
from coalm.types import Conversation, Message, ToolCall, ToolSchema


class SgdStatesSource(DialogueSource):
    """SGD's states, turn by turn."""

    name = "sgd_states"

    def __init__(self, copy: Copy, config: SgdStatesConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses the domains beside a dialogue's own."""
        super().__init__(SgdDialogues(copy, config), config, seed)
        self._distractors = config.distractors
        self._seed = seed

    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]:
        domains = self._domains(dialogue)
        history: list[Message] = []
        states: dict[str, dict[str, JsonValue]] = {}
        for number, turn in enumerate(dialogue.turns):
            if turn.speaker == "SYSTEM":
                history.append(Message(role="assistant", content=turn.utterance.strip()))
                continue
            history.append(Message(role="user", content=turn.utterance.strip()))
            states |= _states(turn, domains)
            calls = [ToolCall(name=name, arguments=state) for name, state in states.items()]
            self.ledger.counts["states"] += 1
            yield sample(
                f"{self._place(dialogue, number)}/state",
                [
                    *history,
                    Message(role="assistant", tool_calls=tuple(c for c in calls if c.arguments)),
                ],
                tuple(domains.values()),
                source=self.name,
                skill="TOD",
                prompt_format="dst",
                group=self._group(dialogue),
                said=[Said(n, str(v), "") for state in states.values() for n, v in state.items()],
            )

    def _domains(self, dialogue: Dialogue) -> dict[str, ToolSchema]:
        """The domains on offer by service, in an order that says nothing about the answer.

        Of services that do the same job only those of the dialogue are offered.
        """
        own = list(dialogue.services)
        taken = {family(name) for name in own}
        others: dict[str, str] = {}
        for name in shuffled(self._services, self._seed, "distractors", dialogue.dialogue_id):
            if family(name) not in taken:
                others.setdefault(family(name), name)
        wanted = self._distractors and self._distractors.drawn(self._seed, dialogue.dialogue_id)
        names = own + list(others.values())[:wanted]
        alone = len({family(name) for name in own}) == len(own)
        return {
            name: _domain(self._services[name], family(name) if alone else name)
            for name in shuffled(names, self._seed, "offer", dialogue.dialogue_id)
        }


def _domain(service: Service, name: str) -> ToolSchema:
    slots = [s for i in service.intents for s in (*i.required_slots, *i.optional_slots)]
    properties: dict[str, JsonValue] = {slot: {"type": "string"} for slot in dict.fromkeys(slots)}
    parameters: dict[str, JsonValue] = {"type": "object", "properties": properties}
    return ToolSchema(name=name.lower(), description=service.description, parameters=parameters)


def _states(turn: Turn, domains: Mapping[str, ToolSchema]) -> dict[str, dict[str, JsonValue]]:
    """Domain to its slots, each with the last words that the user had for the value."""
    found: dict[str, dict[str, JsonValue]] = {}
    for frame in turn.frames:
        if frame.state is not None:
            domain = domains[frame.service]
            values = frame.state.slot_values
            known = {
                s: forms[-1] for s, forms in values.items() if forms and s in domain.properties
            }
            found[domain.name] = dict[str, JsonValue](known)
    return found
