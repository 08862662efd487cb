"""An assistant's mistakes: dialogues show them, so that a model learns to find its way back.

The assistant does something else than what it was asked for, asks for what it knows, or offers what
it has offered; the user says so, and everything goes on as if nothing had been: no booking comes of
it. A small model says again what it has just said, so these come several times in a row, too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

from coalm.world.database import Database
from coalm.world.rules import Row
from coalm.world.scene import Action, Call, Line, Scene
from coalm.world.schema import DONTCARE, Intent, Service, Slot, Wordings, services
from coalm.world.speech import Speech
from coalm.world.tools import MODULES

_HOURS = (-12, -2, -1, 1, 2, 12)
"""So far from the hour that was meant is the one that is understood."""
_OFTEN = (1, 1, 2, 3)
"""So often in a row the same is asked for, or offered, in vain; one of these."""
_OTHER_FUNCTION = 0.5
"""Share of the slips that are another function; the others are the right one with a wrong value."""


class _Wrong(NamedTuple):
    """Something else than what the user wants."""

    service: Service
    intent: str
    values: dict[str, str]
    """Slot to value."""
    slot: str | None = None
    """The one that is wrong; None: all of it is."""

    @property
    def function(self) -> Intent:
        return self.service.intents[self.intent]


class Slips:
    """Puts mistakes into a dialogue while it is being played."""

    def __init__(
        self, share: float, scene: Scene, speech: Speech, database: Database, rng: random.Random
    ) -> None:
        """Make one before so many of the questions, searches, further offers and bookings.

        Args:
            share: From 0 (never; nothing is drawn then) to 1.
            scene: Of the dialogue.
            speech: The words of its user and its assistant.
            database: Where other functions find what they could be called with.
            rng: Decides what goes wrong.
        """
        self._share = share
        self._scene = scene
        self._speech = speech
        self._database = database
        self._rng = rng

    def ask(self, service: Service, intent: str, wishes: Mapping[str, str]) -> None:
        """Perhaps a question for what has been said, or need not be; the user answers once more.

        `wishes` are all that the user has, said or not.
        """
        if not self._happens():
            return
        known, function = self._scene.tracker(service.name).values, service.intents[intent]
        free = [s for s in function.optional if s in wishes or s in service.any]
        spare = [s for s in function.inputs if s in service.ask and (s in known or s in free)]
        if spare:
            slot = self._rng.choice(spare)
            value = known.get(slot, wishes.get(slot, DONTCARE))
            for _ in range(self._rng.choice(_OFTEN)):
                self._scene.system(self._speech.asks(slot), slip=intent)
                self._scene.user(self._speech.tells(slot, value))

    def search(self, service: Service, intent: str) -> None:
        """Perhaps another search than the one that is due; the user asks once more."""
        if not self._happens():
            return
        known = self._scene.tracker(service.name).parameters()
        wrong = self._draw(service, intent, known)
        call = self._scene.run(wrong.intent, wrong.values)
        if not call.failed:  # that nothing was found is no answer to anybody
            self._find(wrong, call, intent, known)

    def search_again(self, service: Service, intent: str, call: Call) -> None:
        """Perhaps the last search once more, as if nothing had been added; the user asks anew."""
        if self._happens():
            known = self._scene.tracker(service.name).parameters()
            self._find(_Wrong(service, intent, call.parameters), call, intent, known)

    def _find(self, wrong: _Wrong, call: Call, intent: str, known: Mapping[str, str]) -> None:
        """Offer what a wrong search found; the user asks for the intent once more."""
        line = self._said_of(wrong, "OFFER", wrong.function.offer, call.results[0])
        self._scene.system(line, call=call, slip=wrong.intent)
        self._ask_again(intent, known)

    def offer(self, service: Service, intent: str, row: Row) -> None:
        """Perhaps a result that was offered before; the user asks for another once more."""
        if not self._happens():
            return
        for _ in range(self._rng.choice(_OFTEN)):
            line = self._speech.assistant("OFFER", service.intents[intent].another, row)
            self._scene.system(line, slip=intent)
            self._scene.user(self._speech.says("alternatives", Action("REQUEST_ALTS")))

    def confirm(self, service: Service, intent: str) -> None:
        """Perhaps another booking to be confirmed than the one that is due; the user says no."""
        if not self._happens():
            return
        known = self._scene.tracker(service.name).parameters()
        wrong = self._draw(service, intent, known)
        values = {**wrong.function.optional, **wrong.values}
        line = self._said_of(wrong, "CONFIRM", wrong.function.confirm, values)
        self._scene.system(line, slip=wrong.intent)
        no = self._speech.says("negate", Action("NEGATE"))
        if wrong.slot in known:
            self._scene.user(no, self._speech.tells(wrong.slot, known[wrong.slot]))
        else:
            self._ask_again(intent, known, no)

    def _happens(self) -> bool:
        return self._share > 0 and self._rng.random() < self._share

    def _draw(self, service: Service, intent: str, known: Mapping[str, str]) -> _Wrong:
        function = service.intents[intent]
        right = {**function.optional, **known}
        others = {
            slot: found
            for slot in function.inputs
            if (found := _others(service.slots[slot], right.get(slot)))
        }
        if not others or self._rng.random() < _OTHER_FUNCTION:
            return self._other_function(service, intent, known)
        slot = self._rng.choice([*others])
        return _Wrong(service, intent, {**known, slot: self._rng.choice(others[slot])}, slot)

    def _other_function(self, service: Service, intent: str, known: Mapping[str, str]) -> _Wrong:
        """One of the same kind, search or booking, of another service."""
        kind = service.intents[intent].transactional
        found: list[_Wrong] = []
        while not found:
            other = services()[self._rng.choice([s for s in services() if s != service.name])]
            drawn = MODULES[other.name].sample(self._database, self._rng, {})
            values = drawn | {slot: known[slot] for slot in known.keys() & other.slots.keys()}
            found = [
                _Wrong(other, name, {slot: values[slot] for slot in function.required})
                for name, function in other.intents.items()
                if function.transactional == kind and values.keys() >= {*function.required}
            ]
        return self._rng.choice(found)

    def _said_of(
        self, wrong: _Wrong, act: str, wordings: Wordings, values: Mapping[str, str]
    ) -> Line:
        meant, self._speech.service = self._speech.service, wrong.service
        line = self._speech.assistant(act, wordings, values)
        self._speech.service = meant
        return line

    def _ask_again(self, intent: str, known: Mapping[str, str], *before: Line) -> None:
        """The user's whole request once more."""
        line = self._speech.wants(intent, known)
        said = {action.slot for action in line.actions}
        asks = Action("INFORM_INTENT", "intent", intent, intent)
        rest = [self._speech.tells(slot, known[slot]) for slot in known if slot not in said]
        self._scene.user(*before, line._replace(actions=(asks, *line.actions)), *rest)


def _others(slot: Slot, value: str | None) -> list[str]:
    """Values of the slot that could be taken for this one."""
    if slot.kind == "time":
        if value is None:
            return []
        hours = [int(value[:2]) + apart for apart in _HOURS]
        return [f"{hour:02}{value[2:]}" for hour in hours if 0 <= hour < 24]
    return [other for other in slot.domain if other != value]
