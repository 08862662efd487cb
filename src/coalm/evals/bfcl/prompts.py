"""What a model is asked: as text for prompt models, as tool schemas for function calling.

Rules: `bfcl-eval` 2025.6.8, `model_handler/utils.py` and `base_handler.py`, for prompt models the
way in which the CoALM models were scored. Function docs go into the system message as Python prints
them. Values of Java and JavaScript are asked for as text.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache

from coalm.evals.bfcl.categories import Language
from coalm.evals.bfcl.data import Entry, Function, Json, load_docs
from coalm.evals.bfcl.wording import official_wording
from coalm.types import Message, ToolSchema

_JSON_TYPES = {
    **dict.fromkeys(("dict", "object", "HashMap", "Hashtable"), "object"),
    **dict.fromkeys(("array", "list", "tuple", "Array", "ArrayList", "Queue", "Stack"), "array"),
    **dict.fromkeys(("float", "number", "double"), "number"),
    **dict.fromkeys(("integer", "byte", "short", "long", "Bigint"), "integer"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
}
"""Type word of a function doc to JSON Schema's; every other word is a string."""


def first_functions(entry: Entry) -> list[Function]:
    """Functions on offer from the start, those left out that come in a later turn."""
    missed = {name for names in entry.missed.values() for name in names}
    return [function for function in entry.functions if function["name"] not in missed]


def later_functions(entry: Entry, turn: int) -> list[Function]:
    """Functions that are on offer only from `turn` on."""
    names = entry.missed.get(str(turn), ())
    by_name = {function["name"]: function for function in entry.functions}
    return [by_name[name] for name in names]


def first_messages(entry: Entry) -> tuple[Message, ...]:
    """System message with the functions, and the messages of the first turn, for prompt models."""
    functions = first_functions(entry)
    if entry.classes:
        system = _system_of_classes((*entry.classes,), tuple(f["name"] for f in functions))
    else:
        system = _system(functions, entry.category.language)
    messages = turn_messages(entry, 0)
    if messages and messages[0].role == "system":
        joined = f"{system}\n\n{messages[0].content}"
        return (Message(role="system", content=joined), *messages[1:])
    return (Message(role="system", content=system), *messages)


def _system(functions: Sequence[Function], language: Language) -> str:
    docs = describe(functions, language)
    return official_wording().system.replace("{functions}", str(docs))


@cache
def _system_of_classes(classes: tuple[str, ...], names: tuple[str, ...]) -> str:
    """The same for back ends: long, and the same for many of the 800 dialogues."""
    docs = [doc for name in classes for doc in load_docs(name) if doc["name"] in names]
    return _system(docs, "Python")


def turn_messages(entry: Entry, turn: int, *, as_tools: bool = False) -> tuple[Message, ...]:
    """What the user says in a turn; where functions come in, that there are more of them now.

    `as_tools`: the functions are not part of the message.
    """
    if functions := later_functions(entry, turn):
        wording = official_wording()
        text = wording.more_functions.replace("{functions}", str(functions))
        return (Message(role="user", content=wording.more_tools if as_tools else text),)
    return tuple(Message.model_validate(message) for message in entry.question[turn])


def describe(functions: Sequence[Function], language: Language) -> list[Function]:
    """Function docs with the remarks on language and types that the model gets to see.

    They share parts with `functions`: callers must not change them.
    """
    remark = official_wording().languages[language]
    # what changes is copied and no more: function docs are long, and scoring needs the samples too
    described = [
        {**function, "description": function["description"] + remark} for function in functions
    ]
    for function in described if language != "Python" else ():
        parameters = copy.deepcopy(function["parameters"])
        for parameter in parameters["properties"].values():
            _ask_for_text(parameter, language)
        function["parameters"] = parameters
    return described


def _ask_for_text(parameter: dict[str, Json], language: Language) -> None:
    """Make a parameter of another language one whose value is given as text."""
    wording = official_wording()
    kind: str = parameter["type"]
    remark = wording.any_type[language] if kind == "any" else wording.one_type[language]
    parameter["description"] += remark.replace("{}", kind)
    if kind in (("ArrayList", "Array") if language == "Java" else ("array",)):
        items = parameter.pop("items")["type"]
        parameter["description"] += wording.items[language].replace("{}", items)
    if kind == "dict" and "properties" in parameter:
        members = json.dumps(parameter.pop("properties"))
        parameter["description"] += wording.members[language].replace("{}", members)
    parameter["type"] = "string"


def tool_schemas(functions: Sequence[Function], language: Language) -> tuple[ToolSchema, ...]:
    """Function docs as JSON Schema, with underscores for dots in names."""
    schemas: list[ToolSchema] = []
    for function in copy.deepcopy(describe(functions, language)):
        function["name"] = function["name"].replace(".", "_")
        function["parameters"]["type"] = "object"
        _to_json_schema(function["parameters"]["properties"])
        schemas.append(ToolSchema.model_validate(function))
    return tuple(schemas)


def _to_json_schema(properties: Mapping[str, dict[str, Json]]) -> None:
    for schema in properties.values():
        if schema.get("type") == "float":
            schema["format"] = "float"
            schema["description"] += official_wording().float_type
        _translate_type(schema)
        if schema["type"] not in ("array", "object"):
            continue
        if "properties" in schema:
            _to_json_schema(schema["properties"])
        elif "items" in schema:
            items = schema["items"]
            _translate_type(items)
            if items["type"] == "array" and "items" in items:
                _translate_type(items["items"])
            elif items["type"] == "object" and "properties" in items:
                _to_json_schema(items["properties"])


def _translate_type(schema: dict[str, Json]) -> None:
    schema["type"] = _JSON_TYPES.get(schema.get("type", "any"), "string")
