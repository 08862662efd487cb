"""Tools as a model reads them: numbered signatures for ReAct, a JSON list for function calls.

A conversation whose `meta` has `"tool_text": "names"` shows the bare names of its tools; with
`"signatures"` the numbered list has names and parameters, `CheckBalance(account_type, limit?)`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from coalm.formats.text import write_json, write_value
from coalm.memo import Memo
from coalm.types import Conversation, ToolSchema

TOOL_TEXT = "tool_text"
"""Key of `Conversation.meta`: `names`, `signatures`, or `full` as without it."""
ToolText = Literal["full", "signatures", "names"]


def tool_text_meta(tool_text: ToolText) -> dict[str, JsonValue]:
    """What `Conversation.meta` says of a way to show tools."""
    return {} if tool_text == "full" else {TOOL_TEXT: tool_text}


def names_only(conversation: Conversation) -> bool:
    """Whether the conversation's tools are shown by name alone."""
    return conversation.meta.get(TOOL_TEXT) == "names"


def signature_list(conversation: Conversation) -> str:
    """One numbered entry per tool: signature with types, purpose, then its parameters' meanings.

    Optional parameters carry a question mark, closed value sets are spelled out::

        1. FindRestaurants(city: string, price_range?: "cheap" | "moderate") - Search by city
           city: city where the restaurant is
    """
    tools = conversation.tools
    if names_only(conversation):
        return "\n".join(f"{number}. {tool.name}" for number, tool in enumerate(tools, start=1))
    entry = _SHORT if conversation.meta.get(TOOL_TEXT) == "signatures" else _ENTRY
    return "\n".join(f"{number}. {entry(tool)}" for number, tool in enumerate(tools, start=1))


def _entry(tool: ToolSchema) -> str:
    return "\n".join([_signature(tool), *_meanings(tool)])


def _short_signature(tool: ToolSchema) -> str:
    names = (f"{name}{'' if name in tool.required else '?'}" for name in tool.properties)
    return f"{tool.name}({', '.join(names)})"


def _signature(tool: ToolSchema) -> str:
    required = set(tool.required)
    parameters = ", ".join(
        f"{name}{'' if name in required else '?'}: {_type(schema)}"
        for name, schema in tool.properties.items()
    )
    purpose = f" - {_one_line(tool.description)}" if tool.description.strip() else ""
    return f"{tool.name}({parameters}){purpose}"


def _meanings(tool: ToolSchema) -> list[str]:
    return [
        f"   {name}: {_one_line(description)}"
        for name, schema in tool.properties.items()
        if isinstance(description := schema.get("description"), str) and description.strip()
    ]


def _type(schema: dict[str, JsonValue]) -> str:
    allowed = schema.get("enum")
    if isinstance(allowed, list) and allowed:
        return " | ".join(write_value(value) for value in allowed)
    kind = schema.get("type", "any")
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict):
        return f"list of {_type(items)}"
    if isinstance(kind, list):
        return " or ".join(str(one) for one in kind)
    return str(kind)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def json_list(conversation: Conversation) -> str:
    """The tools as one line of JSON, parameters flat (name -> type, description), as in xLAM."""
    if names_only(conversation):
        return write_json([{"name": tool.name} for tool in conversation.tools])
    return f"[{', '.join(map(_JSON, conversation.tools))}]"


def _json(tool: ToolSchema) -> str:
    return write_json(_flat(tool))


def _flat(tool: ToolSchema) -> dict[str, JsonValue]:
    flat: dict[str, JsonValue] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": {name: dict(schema) for name, schema in tool.properties.items()},
    }
    if tool.required:
        flat["required"] = list(tool.required)
    return flat | (tool.model_extra or {})


# the same few schemas are written for every sample of a data set, and for every turn of a dialogue
_ENTRY = Memo(_entry)
_SHORT = Memo(_short_signature)
_JSON = Memo(_json)
