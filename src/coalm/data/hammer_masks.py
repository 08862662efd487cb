"""Function masking: names become random text, so that a model has to read the descriptions.

`Script` does what Hammer's published `data_processing.py` does (MadeAgents/Hammer, commit
ff415d9998180b5a68bbfdda3309ec04b472fb49), random numbers and side effects included: booleans get a
fraction, text is replaced inside other words, a default that the answer gives in another type
changes in the tool alone. `mask` is ours: it changes names, and defaults where that is safe.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

SEED = 12
KEPT = 1 / 3
"""The script keeps a row where `random()` is at most this."""
_SIGNS = string.ascii_uppercase + string.ascii_lowercase + "_." + string.digits

Tool = dict[str, Any]
Call = dict[str, Any]


class Row(NamedTuple):
    """A request, the functions on offer and the calls that answer it, as in xLAM's file."""

    query: str
    tools: list[Tool]
    """`{name, description, parameters: {name: {description, type, default}}}`."""
    answers: list[Call]
    """`{name, arguments}`."""


class UnmaskableError(Exception):
    """Hammer's script stops at such a row; the text says why."""


class Script:
    """The masking of Hammer's script: one stream of random numbers over all rows, in its order."""

    def __init__(self) -> None:
        self._rng = random.Random(SEED)

    def keeps(self) -> bool:
        """Whether the next row stays as it is."""
        return self._rng.random() <= KEPT

    def mask(self, row: Row) -> Row:
        """One row through the three passes; its parts are changed in place.

        Raises:
            UnmaskableError: a default to be changed is no text and no number, or lacks its
                description.
        """
        tools = self._names(row.tools, row.answers)
        tools = self._parameters(tools, row.answers)
        return self._defaults(row.query, distinct(tools), row.answers)

    def _names(self, offered: list[Tool], answers: list[Call]) -> list[Tool]:
        tools = distinct(offered)
        for tool in tools:
            old = tool["name"]
            tool["name"] = "".join(self._rng.choices(_SIGNS, k=self._rng.randint(5, 15)))
            for call in answers:
                if call["name"] == old:
                    call["name"] = tool["name"]
        return self._reordered(tools, len(offered))

    def _parameters(self, offered: list[Tool], answers: list[Call]) -> list[Tool]:
        tools = distinct(offered)
        for tool in tools:
            parameters = tool["parameters"]
            for old in list(parameters):
                length = self._rng.randint(4, 10)
                new = "".join(self._rng.choice(_SIGNS) for _ in range(length))
                parameters[new] = parameters.pop(old)
                for call in answers:
                    if old in call["arguments"] and call["name"] == tool["name"]:
                        call["arguments"][new] = call["arguments"].pop(old)
        return self._reordered(tools, len(offered))

    def _reordered(self, tools: list[Tool], before: int) -> list[Tool]:
        """Shuffled; where repeats were dropped, some random ones come back."""
        if len(tools) != before:
            tools = tools + self._rng.choices(
                tools, k=self._rng.randint(0, before - len(tools) + 1)
            )
        self._rng.shuffle(tools)
        return tools

    def _defaults(self, query: str, tools: list[Tool], answers: list[Call]) -> Row:
        for tool in tools:
            calls = [call["arguments"] for call in answers if call["name"] == tool["name"]]
            for name, spec in tool["parameters"].items():
                old = spec.get("default")
                if isinstance(old, list) or old is None or old == "":
                    continue
                if not any(name in given and str(given[name]) == str(old) for given in calls):
                    continue
                new = self._other(old)
                if not isinstance(spec.get("description"), str):
                    raise UnmaskableError(f"parameter {name!r} has no description")
                spec["default"] = new
                spec["description"] = spec["description"].replace(str(old), str(new))
                for given in calls:
                    if name in given and given[name] == old:
                        given[name] = new
                        query = _replaced_anywhere(query, str(old), str(new))
        return Row(query, tools, answers)

    def _other(self, old: Any) -> Any:
        if isinstance(old, str):
            return "".join(self._rng.choice(_SIGNS) for _ in range(5))
        if isinstance(old, int) and not isinstance(old, bool):
            return old + self._rng.randint(1, 4)
        fraction = self._rng.random()
        if isinstance(old, dict):
            raise UnmaskableError(f"default {old!r} is an object")
        return old + fraction


def distinct(tools: Iterable[Tool]) -> list[Tool]:
    """Without later tools of the same name."""
    found: dict[str, Tool] = {}
    for tool in tools:
        found.setdefault(tool["name"], tool)
    return list(found.values())


def _replaced_anywhere(text: str, old: str, new: str) -> str:
    """As written, capitalised, in lower and in upper case, one after the other."""
    for form in (str, str.capitalize, str.lower, str.upper):
        text = text.replace(form(old), form(new))
    return text


def mask(row: Row, rng: random.Random) -> Row:
    """Mask names, and defaults where the request itself says the value.

    Names mentioned in descriptions follow, if they cannot be plain words. A default only changes
    where the request names the value that the call passes: the answer stays right, and what it
    rests on is the request alone.
    """
    tools = distinct(row.tools)
    new_names = _new_names([tool["name"] for tool in tools], 5, 15, rng)
    masked: list[Tool] = []
    arguments = {name: _new_names(_parameters_of(tools, name), 4, 10, rng) for name in new_names}
    for tool in tools:
        name = tool["name"]
        names = {**new_names, **arguments[name]}
        given = [call["arguments"] for call in row.answers if call["name"] == name]
        parameters = {
            arguments[name][parameter]: _masked_spec(
                spec, [a[parameter] for a in given if parameter in a], row.query, names, rng
            )
            for parameter, spec in tool["parameters"].items()
        }
        masked.append(
            {
                **tool,
                "name": new_names[name],
                "description": _renamed(tool["description"], names),
                "parameters": parameters,
            }
        )
    rng.shuffle(masked)
    answers = [
        {
            "name": new_names.get(call["name"], call["name"]),
            "arguments": {
                arguments.get(call["name"], {}).get(parameter, parameter): value
                for parameter, value in call["arguments"].items()
            },
        }
        for call in row.answers
    ]
    return Row(row.query, masked, answers)


def _parameters_of(tools: list[Tool], name: str) -> list[str]:
    return [parameter for tool in tools if tool["name"] == name for parameter in tool["parameters"]]


def _new_names(
    names: Iterable[str], shortest: int, longest: int, rng: random.Random
) -> dict[str, str]:
    """A random name for each, all different; it starts with a letter, as names do."""
    found: dict[str, str] = {}
    for name in names:
        while True:
            rest = "".join(rng.choices(_SIGNS, k=rng.randint(shortest, longest) - 1))
            new = rng.choice(string.ascii_letters) + rest.replace(".", "_")
            if new not in found.values():
                break
        found[name] = new
    return found


def _masked_spec(
    spec: Mapping[str, Any],
    given: list[Any],
    query: str,
    names: Mapping[str, str],
    rng: random.Random,
) -> dict[str, Any]:
    """One parameter with its mentions renamed and, where it is safe, another default."""
    found = dict(spec)
    if isinstance(found.get("description"), str):
        found["description"] = _renamed(found["description"], names)
    old = found.get("default")
    if old in (None, "") or isinstance(old, (bool, list, dict)):
        return found
    if not any(value == old and type(value) is type(old) for value in given):
        return found
    if not _whole(str(old)).search(query):
        return found
    found["default"] = new = _other_value(old, rng)
    if isinstance(found.get("description"), str):
        found["description"] = _whole(str(old)).sub(lambda _: str(new), found["description"])
    return found


def _other_value(old: Any, rng: random.Random) -> Any:
    if isinstance(old, int):
        return old + rng.randint(1, 4)
    if isinstance(old, float):
        return round(old + rng.randint(1, 99) / 100, 6)
    if old.isdecimal():
        return str(int(old) + rng.randint(1, 4))
    return "".join(rng.choices(string.ascii_letters, k=5))


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Mentions of names replaced: those in quotes, and names that are no plain words."""
    for old, new in names.items():
        plain = old.isalpha() and old[1:].islower() | (len(old) == 1)
        pattern = rf"(?<=[`'\"]){re.escape(old)}(?=[`'\"])" if plain else _whole(old).pattern
        text = re.sub(pattern, lambda _, new=new: new, text)
    return text


def _whole(text: str) -> re.Pattern[str]:
    """`text` where it is no part of a longer word or number."""
    return re.compile(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\d)")
