"""An agent without a model: it knows the user's goal and learns all the rest from the tools.

It shows what the live loop can give at most, and that tools, prompts, reading and rules fit
together: at the first turn it searches and books all that the goal asks for, and at every turn it
says all that it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from pydantic import JsonValue

from coalm.evals.multiwoz.data import BOOKABLE, Dialogue, DomainGoal
from coalm.evals.multiwoz.database import TABLES
from coalm.formats import get_format
from coalm.types import Message, Prompt, ToolCall

_SEARCH = {
    "restaurant": "query_restaurants",
    "hotel": "query_hotels",
    "attraction": "query_attractions",
    "train": "query_trains",
}
_BOOK = {"restaurant": "book_restaurant", "hotel": "book_hotel", "train": "buy_train_tickets"}
_OBSERVATION = re.compile(r"^Observation: (.*)$", re.MULTILINE)
_CURRENT_TURN = "[END OF CONVERSATION HISTORY]"

_NO_CALLS: dict[str, ToolCall] = {}
_NO_FACTS: dict[str, JsonValue] = {}

Facts: TypeAlias = dict[str, JsonValue]


class Oracle:
    """Answers the prompts of one dialogue in the format `react`; use it as a scripted engine."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._goal = dialogue.goal
        self._known: dict[str, Facts] = {}
        """Domain to what was found or booked."""
        self._plan = self._steps()
        self._asked: Sequence[str] = ()
        """Domains of the calls whose results come next."""

    def __call__(self, prompt: Prompt) -> str:
        """The next action, or everything that is known by now."""
        self._learn(prompt)
        calls = next(self._plan, _NO_CALLS)
        self._asked = list(calls)
        if calls:
            return _written(Message(role="assistant", thought="", tool_calls=(*calls.values(),)))
        return _written(Message(role="assistant", thought="", content=self._everything()))

    def _learn(self, prompt: Prompt) -> None:
        observed = _OBSERVATION.findall(prompt[-1].content.rpartition(_CURRENT_TURN)[2])
        results = observed[len(observed) - len(self._asked) :]
        for domain, text in zip(self._asked, results, strict=True):
            found: Facts = json.loads(text)
            found |= self._chosen(domain, found.pop("results", None))
            self._known[domain] = {**self._known.get(domain, {}), **found}

    def _chosen(self, domain: str, rows: JsonValue) -> Facts:
        """The row of a search that answers most of what the user wants to know."""
        found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        wanted = self._goal[domain].reqt
        return max(found, key=lambda row: sum(name in row for name in wanted), default=_NO_FACTS)

    def _steps(self) -> Iterator[dict[str, ToolCall]]:
        """Calls by domain: all searches at once, then all bookings, then the taxi."""
        searches = {
            domain: ToolCall(name=_SEARCH[domain], arguments=dict(wish.info))
            for domain, wish in self._goal.items()
            if domain in TABLES
        }
        if searches:
            yield searches
        bookings = {
            domain: ToolCall(name=_BOOK[domain], arguments=self._booking(domain, wish.book))
            for domain, wish in self._goal.items()
            if domain in BOOKABLE and wish.book is not None
        }
        if bookings:
            yield bookings
        if "taxi" in self._goal:
            ride = ToolCall(name="book_taxi", arguments=self._ride(self._goal["taxi"]))
            yield {"taxi": ride}

    def _booking(self, domain: str, wish: Mapping[str, JsonValue]) -> Facts:
        known = self._known.get(domain, {})
        if domain == "train":
            return {"trainID": known.get("trainID", ""), "tickets": wish.get("people", "1")}
        wanted = {slot: value for slot, value in wish.items() if isinstance(value, str)}
        return {"name": known.get("name", ""), **wanted}

    def _ride(self, wish: DomainGoal) -> Facts:
        """A taxi as wished; without places it goes to the restaurant, or between the venues."""
        venues = [d for d in ("attraction", "hotel", "restaurant") if d in self._known]
        places = [self._known[domain].get("name", "") for domain in venues]
        between: Facts = {"departure": places[0], "destination": places[-1]} if places else {}
        return {**between, **wish.info}

    def _everything(self) -> str:
        facts = (
            f"{domain}: " + ", ".join(f"{name} {value}" for name, value in known.items())
            for domain, known in self._known.items()
        )
        return "; ".join(facts) or "Hello!"


def _written(message: Message) -> str:
    return get_format("react").render_reply(message)
