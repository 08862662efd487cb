"""Formats that a function's description asks for: dates as MM/DD/YYYY, towns with their state.

SGD's schemas say nothing about how a value is written, and all its calls write it in one way. Where
descriptions ask for different formats, a model has to read them. Which format a parameter asks for
depends on its function and on the sample's offer alone.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from coalm.data.base import pick
from coalm.data.towns import WITH_REGION
from coalm.errors import DataError
from coalm.types import ToolSchema

_DATE = re.compile(r"\bdate\b", re.IGNORECASE)
_TOWN = re.compile(r"\b(?:city|town|location of the (?:hotel|house))\b", re.IGNORECASE)
_DATES = (("YYYY-MM-DD", "%Y-%m-%d"), ("YYYY-MM-DD", "%Y-%m-%d"), ("MM/DD/YYYY", "%m/%d/%Y"))
"""What the description says and how it is written; SGD's own way comes more often."""
_PHRASES = ("{text}, in the format '{form}'", "{text}, formatted as '{form}'", "{text} ({form})")
_TOWN_PHRASES = (
    "{text}, in the format 'City, State' or 'City, Country', such as '{example}'",
    "{text}, in the format 'City, State', such as '{example}'",
    "{text} with its state or country, for example '{example}'",
)
_SILENT = 4
"""Of this many parameters, one asks for nothing, and gets what SGD has."""


class Told(NamedTuple):
    """A function whose description tells formats."""

    schema: ToolSchema
    dates: Mapping[str, str]
    """Parameter to the format of its dates, as `strftime` takes it."""
    towns: frozenset[str]
    """Parameters that take towns with their region."""

    def written(self, argument: str, value: JsonValue) -> JsonValue:
        """A value of SGD as its description wants it.

        Raises:
            DataError: it is no date, or nobody knows in which region the town lies.
        """
        if argument in self.dates and isinstance(value, str):
            try:
                return datetime.date.fromisoformat(value).strftime(self.dates[argument])
            except ValueError:
                raise DataError(f"{argument}: {value!r} is no date") from None
        if argument not in self.towns:
            return value
        if (whole := WITH_REGION.get(str(value))) is None:
            raise DataError(f"{argument}: region of {value!r} is not known")
        return whole


def tell(schema: ToolSchema, *key: object) -> Told:
    """Draw a format for every date and town of a function; `key` draws."""
    properties: dict[str, JsonValue] = {}
    dates: dict[str, str] = {}
    towns: set[str] = set()
    for name, spec in schema.properties.items():
        place = (*key, schema.name, name)
        text = str(spec.get("description", ""))
        silent = pick(range(_SILENT), "silent", *place) == 0
        if not silent and _DATE.search(text):
            form, dates[name] = pick(_DATES, "date", *place)
            text = pick(_PHRASES, "phrase", *place).format(text=text, form=form)
        elif not silent and _TOWN.search(text):
            towns.add(name)
            example = pick(tuple(WITH_REGION.values()), "example", *place)
            text = pick(_TOWN_PHRASES, "phrase", *place).format(text=text, example=example)
        properties[name] = {**spec, "description": text}
    parameters = {**schema.parameters, "properties": properties}
    told = schema.model_copy(update={"parameters": parameters})
    return Told(told, dates, frozenset(towns))


def untold(schema: ToolSchema) -> Told:
    """A function whose description tells none."""
    return Told(schema, {}, frozenset())
