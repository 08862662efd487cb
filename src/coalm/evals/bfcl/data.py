"""Questions and answers of BFCL V3, read out of the official wheel (asset `bfcl-wheel`).

An entry, the parts that count::

    {"id": "simple_0",
     "question": [[{"role": "user", "content": "Find the area of a triangle with ..."}]],
     "function": [{"name": "calculate_triangle_area", "parameters": {...}}]}

and its answer, each value a list of accepted alternatives, `""` meaning "may be left out"::

    {"id": "simple_0", "ground_truth": [{"calculate_triangle_area": {"base": [10], ...}}]}
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from coalm import assets
from coalm.errors import DataError
from coalm.evals.bfcl.categories import CATEGORIES, Category, category_of

Json: TypeAlias = Any
Function: TypeAlias = dict[str, Any]
"""A function as the model is told of it: name, description, parameters, for some also response."""

ASSET = "bfcl-wheel"
WHEEL = "bfcl_eval-2025.6.8-py3-none-any.whl"
_DATA = "bfcl_eval/data"
_DOCS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""Class of a multi-turn back end to the name of its module and of its function docs."""
KNOWN_FAULTS = {
    "live_simple_106-63-0": "a required list has no accepted value",
    "live_simple_112-68-0": "a required list has no accepted value",
    "live_multiple_862-181-3": "the answer needs a parameter that the function does not have",
    "live_multiple_964-207-0": "the answer calls the parameter by another name",
    "java_36": "elements that are read as text have to be a number and a boolean",
    "java_65": "elements that are read as text have to be booleans",
    "java_64": "the accepted value of a map entry is a single letter",
    "java_67": "only one of four map entries may be given",
}
"""Entries whose official answer is at fault: the first six cannot be passed at all."""


class Entry(NamedTuple):
    """One question with everything that belongs to it."""

    id: str
    question: Sequence[Sequence[Mapping[str, str]]]
    """Turns of chat messages; single-turn entries have one turn."""
    functions: Sequence[Function]
    """Functions on offer; of a multi-turn entry those of all its classes, in class order."""
    answer: Json
    """The official answer; None for the categories that need none."""
    result_types: Sequence[str] = ()
    """Executable entries: how each result is compared (`exact_match`, ...)."""
    initial_config: Mapping[str, Json] = {}
    """Multi-turn entries: class to the state it starts with."""
    classes: Sequence[str] = ()
    """Multi-turn entries: the back ends that take part."""
    missed: Mapping[str, Sequence[str]] = {}
    """Turn number, as text, to functions that are on offer only from that turn on."""

    @property
    def category(self) -> Category:
        """The category that the id names."""
        return category_of(self.id)


def module_name(class_name: str) -> str:
    """Name of the wheel's module that defines a multi-turn back end."""
    return _DOCS[class_name]


@cache
def open_wheel() -> zipfile.ZipFile:
    """The official wheel, checked, in memory.

    Raises:
        AssetError: it is not on this machine or is damaged.
    """
    return zipfile.ZipFile(io.BytesIO(assets.read(ASSET, WHEEL)))


@cache
def load_category(name: str) -> tuple[Entry, ...]:
    """All entries of a category, in the official order; callers must not change them.

    Raises:
        AssetError: the wheel is not on this machine or is damaged.
        DataError: there is no such category.
    """
    if name not in CATEGORIES:
        raise DataError(f"{name!r} is no BFCL category; there are: {', '.join(CATEGORIES)}")
    category = CATEGORIES[name]
    folder, answers = (
        (f"{_DATA}/unused_datasets/question", f"{_DATA}/unused_datasets/possible_answer")
        if category.retired
        else (_DATA, f"{_DATA}/possible_answer")
    )
    rows = _rows(f"{folder}/BFCL_v3_{name}.json")
    if category.scoring in ("irrelevance", "relevance"):
        return tuple(_entry(row, {}) for row in rows)
    pairs = zip(rows, _rows(f"{answers}/BFCL_v3_{name}.json"), strict=True)
    return tuple(_entry(row, answer) for row, answer in pairs)


@cache
def load_docs(class_name: str) -> tuple[Function, ...]:
    """Function docs of a multi-turn back end; callers must not change them."""
    return tuple(_rows(f"{_DATA}/multi_turn_func_doc/{_DOCS[class_name]}.json"))


@cache
def entries_by_id() -> dict[str, Entry]:
    """Every entry by id; of the one pair with the same id (`live_relevance_3-3-0`) the last."""
    return {entry.id: entry for name in CATEGORIES for entry in load_category(name)}


def _rows(member: str) -> list[dict[str, Json]]:
    lines = open_wheel().read(member).split(b"\n")
    return [json.loads(line) for line in lines if line.strip()]


def _entry(row: Mapping[str, Json], answer: Mapping[str, Json]) -> Entry:
    classes: list[str] = row.get("involved_classes", [])
    return Entry(
        id=row["id"],
        question=row["question"],
        functions=row.get("function") or [doc for name in classes for doc in load_docs(name)],
        answer=answer.get("ground_truth"),
        result_types=answer.get("execution_result_type", ()),
        initial_config=row.get("initial_config", {}),
        classes=classes,
        missed=row.get("missed_function", {}),
    )
