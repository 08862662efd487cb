"""Grammars of calls: what a model may write so that every call can be read and fits its tool.

A grammar is a text in llguidance's dialect of Lark. It is made from the tools on offer: their
names, the names of their arguments in the order of the schema, required and optional, types and
closed sets of values. Values are written as `formats.text` writes them. Further rules of JSON
Schema (lengths, ranges, patterns) are left to `coalm.tools.check_arguments` and the tools.

Texts have an end, so that a model that repeats itself comes to one: see `TEXT_CHARS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import JsonValue

from coalm.formats.calls import check_names
from coalm.formats.text import write_json, write_value
from coalm.types import ToolSchema

TEXT_CHARS = 1000
"""Characters of a text value at most."""
MOST_CALLS = 16
"""Calls of one answer at most."""
_ITEMS = 32
"""Items of a list at most, and entries of an object whose keys are free."""
_DEPTH = 8
"""A schema that is nested deeper lets any value stand there."""

_COMMON = rf"""
STRING: /"([^"\\\x00-\x1f\x7f]|\\["\\nt]){{0,{TEXT_CHARS}}}"/
INTEGER: /-?(0|[1-9][0-9]{{0,17}})/
NUMBER: /-?(0|[1-9][0-9]{{0,15}})(\.[0-9]{{1,12}})?/
"""


class Grammar:
    """Collects rules; the same text gets the same name."""

    def __init__(self, notation: Callable[[JsonValue], str]) -> None:
        """A grammar without rules.

        Args:
            notation: Writes a value: `write_value` for Python's notation, `write_json` for JSON.
        """
        self._write = notation
        self._names: dict[str, str] = {}
        self._any = ""

    def text(self, start: str) -> str:
        """The whole grammar; `start` is the body of its first rule."""
        rules = [f"{name}: {body}" for body, name in self._names.items()]
        return "\n".join([f"start: {start}", *rules, _COMMON])

    def rule(self, body: str) -> str:
        """The name of a rule with this body."""
        return self._names.setdefault(body, f"r{len(self._names)}")

    def literal(self, value: JsonValue) -> str:
        """A value as the format writes it."""
        return quoted(self._write(value))

    def either(self, bodies: Iterable[str]) -> str:
        """One of several bodies."""
        return self.rule(" | ".join(dict.fromkeys(bodies)))

    def listed(
        self, item: str, before: str, after: str, most: int = _ITEMS, *, some: bool = False
    ) -> str:
        """Any number of items, at least one if there have to be `some`, by commas, in brackets."""
        items = f"({several(item, most)}){'' if some else '?'}"
        return self.rule(f"{quoted(before)} {items} {quoted(after)}")

    def fields(
        self, schema: Mapping[str, JsonValue], key: Callable[[str], str], depth: int = 0
    ) -> str | None:
        """The named fields of an object schema in order, separated by commas; None without any.

        Args:
            schema: Of type object.
            key: What is written before the value of a field.
            depth: Of the object in its tool's schema.
        """
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            return None
        required = schema.get("required")
        needed = set(map(str, required)) if isinstance(required, list) else set[str]()
        # from the last field to the first: what may follow when fields were written, and when not
        later, first = "", ""
        for name, spec in reversed(properties.items()):
            value = self.value(spec if isinstance(spec, dict) else {}, depth + 1)
            field = f"{quoted(key(name))} {value}"
            begin = f"{field} {later}".strip()
            go_on = f'", " {begin}'
            if name not in needed:
                begin = f"{begin} | {first}" if first else f"({begin})?"
                go_on = f"{go_on} | {later}" if later else f"({go_on})?"
            first, later = self.rule(begin), self.rule(go_on)
        return first

    def value(self, schema: Mapping[str, JsonValue], depth: int = 0) -> str:
        """A value that fits a JSON Schema."""
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return self.either(self.literal(option) for option in options)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(branches, list) and branches:
            return self.either(
                self.value(branch if isinstance(branch, dict) else {}, depth) for branch in branches
            )
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            return self.either(self.value({**schema, "type": one}, depth) for one in kind)
        if depth > _DEPTH:
            return self._free()
        return self._typed(str(kind), schema, depth)

    def _typed(self, kind: str, schema: Mapping[str, JsonValue], depth: int) -> str:
        if kind == "array":
            items = schema.get("items")
            item = self.value(items if isinstance(items, dict) else {}, depth + 1)
            return self.listed(item, "[", "]")
        if kind == "object":
            fields = self.fields(schema, lambda name: f"{self._write(name)}: ", depth)
            return self._free_object() if fields is None else self.rule(f'"{{" {fields} "}}"')
        if kind == "boolean":
            return self.either([self.literal(True), self.literal(False)])
        if kind == "null":
            return self.literal(None)
        terminals = {"string": "STRING", "integer": "INTEGER", "number": "NUMBER"}
        return terminals.get(kind) or self._free()

    def _free_object(self) -> str:
        return self.listed(self.rule(f'STRING ": " {self._free()}'), "{", "}")

    def _free(self) -> str:
        """Any value."""
        if not self._any:
            self._any = "any_value"
            simple = [self.literal(value) for value in (True, False, None)]
            nested = [self.listed(self._any, "[", "]"), self._free_object()]
            body = " | ".join(["STRING", "NUMBER", *simple, *nested])
            self._names[body] = self._any
        return self._any


def several(item: str, most: int) -> str:
    """One to `most` items, separated by commas."""
    return item if most == 1 else f'{item} (", " {item}){{0,{most - 1}}}'


def quoted(text: str) -> str:
    """`text` as a literal of a grammar."""
    return json.dumps(text, ensure_ascii=False)


def json_value(schema: Mapping[str, JsonValue]) -> str:
    """JSON on one line that fits a JSON Schema, as a part of a rule."""
    return f"%json {write_json({**schema, 'x-guidance': {'whitespace_flexible': False}})}"


def json_alone(schema: Mapping[str, JsonValue]) -> str:
    """The whole grammar of an answer that is `json_value` and nothing else."""
    return f"start: {json_value(schema)}\n"


def python_calls(tools: Sequence[ToolSchema]) -> tuple[Grammar, str]:
    """A grammar, and its rule for one call as `name(argument="value")`.

    Raises:
        FormatError: a name holds a sign of the notation.
    """
    grammar = Grammar(write_value)

    def call(tool: ToolSchema) -> str:
        check_names((tool.name, *tool.properties))
        fields = grammar.fields(tool.parameters, lambda name: f"{name}=")
        return grammar.rule(f'{quoted(f"{tool.name}(")} {fields or ""} ")"')

    return grammar, grammar.either(map(call, tools))


def json_calls(
    tools: Sequence[ToolSchema], name_key: str = "name", arguments_key: str = "arguments"
) -> tuple[Grammar, str]:
    """A grammar, and its rule for one call as `{"name": ..., "arguments": {...}}`."""
    grammar = Grammar(write_json)

    def call(tool: ToolSchema) -> str:
        fields = grammar.fields(tool.parameters, lambda name: f"{write_json(name)}: ")
        names = [write_json(text) for text in (name_key, tool.name, arguments_key)]
        head = quoted("{{{}: {}, {}: {{".format(*names))
        return grammar.rule(f'{head} {fields or ""} "}}}}"')

    return grammar, grammar.either(map(call, tools))
