r"""Conversations with calls over the tools of the world, in the layout of ToolACE's file.

The tools stand as JSON inside the system text, names hold blanks, dots and slashes::

    {"system": "You help people ... [{\"name\": \"Find Trains\", ...}] ...",
     "conversations": [{"from": "user", "value": "..."},
                       {"from": "assistant", "value": "[Get Forecast(city=\"Fernhill\")]"},
                       {"from": "tool", "value": "[{\"name\": ..., \"results\": {...}}]"}, ...]}
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import cast

from pydantic import JsonValue

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.rows import Ask, all_intents, ask_for, far_from, offered_with
from coalm.world.rules import TODAY, Row
from coalm.world.schema import service_of, tool_schema
from coalm.world.tools import world_toolbox
from coalm.world.wording import by_value, fill, pick, request, tell

_SYSTEM = (
    "You help people by calling functions. Below are the functions you may use, as JSON; today is "
    f"{TODAY}.\n{{tools}}\nIf one or more functions can serve the request, answer with nothing but "
    "the calls, in the form [name one(parameter=value, ...), name two(...)]. If no function fits, "
    "or a required parameter is missing, say so in plain words."
)
_REFUSALS = (
    "I'm sorry, but none of my functions can do that.",
    "I have no function for this request, so I cannot help with it.",
    "Unfortunately that is beyond what the functions at hand can do.",
)


def toolace_rows(database: Database, rng: random.Random) -> Iterator[dict[str, JsonValue]]:
    """Ever new conversations: calls, questions for missing values, refusals, failures."""
    while True:
        talk = _Talk(database.copy(), rng)
        kind = rng.random()
        if kind < 0.2:
            offered = talk.refused()
        else:
            needed = talk.asked_back() if kind < 0.45 else talk.served()
            if rng.random() < 0.25:
                needed += talk.served()
            offered = offered_with(rng, needed, 3)
        tools = json.dumps([_tool(intent) for intent in offered])
        yield {"system": _SYSTEM.replace("{tools}", tools), "conversations": talk.turns}


class _Talk:
    """A conversation in the making; its methods return the intents that its calls need."""

    def __init__(self, database: Database, rng: random.Random) -> None:
        self.turns: list[JsonValue] = []
        self._rng = rng
        self._database = database
        self._box = world_toolbox(database=database)

    def served(self) -> list[str]:
        """One or two requests in one turn, met by as many calls."""
        intents = self._rng.sample(all_intents(), self._rng.choice((1, 1, 2)))
        asks = [ask_for(self._database, self._rng, intent) for intent in intents]
        self._say("user", " ".join(ask.text for ask in asks))
        self._run(asks)
        return intents

    def asked_back(self) -> list[str]:
        """A request that lacks a required value; the assistant asks for it."""
        ask = ask_for(self._database, self._rng, self._rng.choice(all_intents()))
        service = service_of(ask.intent)
        slot = self._rng.choice(service.intents[ask.intent].required)
        known = {name: value for name, value in ask.values.items() if name != slot}
        self._say("user", request(service, ask.intent, known, self._rng, "literal").text)
        question = self._rng.choice(by_value(service.ask[slot], ""))
        self._say("assistant", fill(question, service.slots, {}, self._rng, "system").text)
        self._say("user", tell(service, slot, ask.values[slot], self._rng, "literal").text)
        self._run([ask])
        return [ask.intent]

    def refused(self) -> list[str]:
        """A request that no tool on offer can meet; returns what is on offer instead."""
        ask = ask_for(self._database, self._rng, self._rng.choice(all_intents()))
        self._say("user", ask.text)
        self._say("assistant", self._rng.choice(_REFUSALS))
        return self._rng.sample(far_from(ask.intent), self._rng.randint(1, 4))

    def _say(self, who: str, value: str) -> None:
        self.turns.append({"from": who, "value": value})

    def _run(self, asks: Sequence[Ask]) -> None:
        """The assistant calls the tools and tells what came of it."""
        self._say("assistant", f"[{', '.join(map(_call, asks))}]")
        results: list[JsonValue] = []
        replies: list[str] = []
        for ask in asks:
            result, reply = self._result(ask)
            results.append({"name": title(ask.intent), "results": result})
            replies.append(reply)
        self._say("tool", json.dumps(results))
        self._say("assistant", " ".join(replies))

    def _result(self, ask: Ask) -> tuple[dict[str, JsonValue], str]:
        service = service_of(ask.intent)
        intent = service.intents[ask.intent]
        try:
            rows = cast("list[Row]", self._box.call(ask.intent, ask.arguments))
        except ToolError as e:
            return {"error": str(e)}, f"I'm sorry, that did not work: {e}."
        row = rows[0] if rows else {}
        wordings = (
            intent.none if not rows else intent.done if intent.transactional else intent.offer
        )
        wording = pick(wordings, row, self._rng)
        text = fill(wording, service.slots, row, self._rng, "system").text
        if len(rows) == 1:
            return dict[str, JsonValue](row), text
        return {"found": [dict(row) for row in rows]}, text


def title(intent: str) -> str:
    """The name a tool has in this layout: with blanks, some with a dot or a slash."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", intent)
    return _PREFIXES.get(service_of(intent).name, "") + words


_PREFIXES = {"Bank_1": "bank/", "Forecast_1": "weather."}


def _tool(intent: str) -> dict[str, JsonValue]:
    schema = tool_schema(service_of(intent), intent)
    parameters: dict[str, JsonValue] = {**schema.parameters, "type": "dict"}
    return {
        "name": title(intent),
        "description": f"{schema.description}.",
        "parameters": parameters,
    }


def _call(ask: Ask) -> str:
    arguments = (f"{name}={_literal(value)}" for name, value in ask.arguments.items())
    return f"{title(ask.intent)}({', '.join(arguments)})"


def _literal(value: JsonValue) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
