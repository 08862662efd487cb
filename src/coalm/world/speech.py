"""How user and assistant put things: every method gives one line of a turn, with its acts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from coalm.world.scene import Action, Line
from coalm.world.schema import DONTCARE, Service, Wordings
from coalm.world.wording import Phrase, by_value, common, fill, pick

_SMALL = 0.08
"""Share of users who type without capitals."""


class _First(random.Random):
    """Chooses the first of everything."""

    def choice(self, seq: Any) -> Any:
        return seq[0]


class Speech:
    """Words for one dialogue, whose user keeps to one way of typing."""

    def __init__(self, rng: random.Random, *, plain: bool = False) -> None:
        """Draw words with `rng`.

        A plain assistant always has the same for the same situation, and says values as tools do.
        """
        self.service: Service
        """What is being talked about; set it before anyone speaks."""
        self._rng = rng
        self._plain = plain
        self._replies = _First() if plain else rng
        self._small = rng.random() < _SMALL

    # -- the user

    def user(self, act: str, wording: str, values: Mapping[str, str]) -> Line:
        """The user's wording; each value in it is an `act`."""
        phrase = fill(wording, self.service.slots, values, self._rng, "user")
        return _line(self.service, act, self._typed(phrase))

    def says(self, kind: str, *actions: Action) -> Line:
        """What users say whatever the service is (`thanks`, `affirm`, ...)."""
        return Line(self.service.name, self._typed(common(kind, self._rng)), actions)

    def tells(self, slot: str, value: str) -> Line:
        """The user gives a value, or does not care."""
        wordings = self.service.any[slot] if value == DONTCARE else self.service.tell[slot]
        line = self.user("INFORM", self._one_of(wordings, value), {slot: value})
        return _implied(line, slot, value)

    def wants(self, intent: str, values: Mapping[str, str]) -> Line:
        """The user asks for an intent, naming many of the values: the longest of three wordings."""
        wordings = self.service.intents[intent].open
        wording = max((pick(wordings, values, self._rng) for _ in range(3)), key=len)
        return self.user("INFORM", wording, values)

    def wonders(self, slot: str) -> Line:
        """The user asks for a slot of a result."""
        line = self.user("", self._one_of(self.service.wonder[slot]), {})
        return line._replace(actions=(Action("REQUEST", slot),))

    # -- the assistant

    def assistant(self, act: str, wordings: Wordings, values: Mapping[str, str]) -> Line:
        """One of the assistant's wordings; each value in it is an `act`."""
        wording = self._replies.choice(wordings)
        style = "literal" if self._plain else "system"
        phrase = fill(wording, self.service.slots, values, self._replies, style)
        return _line(self.service, act, phrase)

    def replies(self, kind: str, *actions: Action) -> Line:
        """What the assistant says whatever the service is (`more`, `goodbye`, ...)."""
        return Line(self.service.name, common(kind, self._replies), actions)

    def asks(self, slot: str) -> Line:
        """The assistant asks for a value."""
        wording = self._replies.choice(by_value(self.service.ask[slot], ""))
        phrase = fill(wording, self.service.slots, {}, self._replies, "system")
        return Line(self.service.name, phrase, (Action("REQUEST", slot),))

    def lead(self) -> list[Line]:
        """A word now and then before the assistant asks; a plain one has none."""
        return [] if self._plain else self.maybe(self.replies("lead"), 0.35)

    def counts(self, number: int) -> list[Line]:
        """The assistant says, now and then, how many results there are; a plain one never."""
        if self._plain:
            return []
        count = str(number)
        phrase = common("count", self._rng, {"count": count})
        action = Action("INFORM_COUNT", "count", count, count)
        return self.maybe(Line(self.service.name, phrase, (action,)), 0.5)

    def answers(self, slot: str, row: Mapping[str, str]) -> Line:
        """The assistant gives a slot of a result."""
        wordings = by_value(self.service.answer[slot], row[slot])
        return _implied(self.assistant("INFORM", wordings, row), slot, row[slot])

    # -- both

    def maybe(self, line: Line, chance: float) -> list[Line]:
        """The line now and then: words that do nothing but sound human."""
        return [line] if self._rng.random() < chance else []

    def _one_of(self, wordings: Wordings | Mapping[str, Wordings], value: str = "") -> str:
        return self._rng.choice(by_value(wordings, value))

    def _typed(self, phrase: Phrase) -> Phrase:
        return phrase.lower() if self._small else phrase


def _line(service: Service, act: str, phrase: Phrase) -> Line:
    actions: list[Action] = []
    for mention in phrase.mentions:
        # As in SGD, a categorical value is written as the schema has it, whatever was said.
        said = mention.value if service.slots[mention.slot].categorical else phrase.form(mention)
        actions.append(Action(act, mention.slot, said, mention.value))
    return Line(service.name, phrase, tuple(actions))


def _implied(line: Line, slot: str, value: str) -> Line:
    # "I want to sit outside" gives a value without saying it.
    return line if line.actions else line._replace(actions=(Action("INFORM", slot, value, value),))
