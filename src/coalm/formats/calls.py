"""Calls in Python notation, `name(argument="value", ...)`: printing and scanning, nothing around.

Names are free text up to the bracket, because real tool sets have names with blanks, dots, slashes
and leading digits (ToolACE, function masking); only the signs of the notation itself are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from pydantic import JsonValue

from coalm.errors import FormatError
from coalm.formats.text import Scanner, write_value
from coalm.types import ToolCall

NAME = re.compile(r"[^\s()\[\]{}'\"=,`](?:[^()\[\]{}'\"=,`\n\r]*[^\s()\[\]{}'\"=,`])?")


def write_call(call: ToolCall) -> str:
    """One call as text.

    Raises:
        FormatError: the call did not parse when it was read, or a name holds a notation sign.
    """
    if call.error is not None:
        raise FormatError(f"call that did not parse cannot be rendered: {call.raw!r}")
    check_names((call.name, *call.arguments))
    pairs = (f"{name}={write_value(value)}" for name, value in call.arguments.items())
    return f"{call.name}({', '.join(pairs)})"


def check_names(names: Iterable[str]) -> None:
    """Refuse names of functions and arguments that the notation has no way to write.

    Raises:
        FormatError: a name holds a notation sign.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise FormatError(f"name {name!r} cannot be written as a Python-style call")


def write_calls(calls: Sequence[ToolCall]) -> str:
    """Several calls, separated by commas, without brackets."""
    return ", ".join(write_call(call) for call in calls)


def read_calls(text: str, known: Collection[str] = ()) -> tuple[ToolCall, ...]:
    """All calls of `text`, which must hold nothing else; brackets around the list are optional.

    Args:
        text: what a model or a data set wrote.
        known: names of functions that may hold signs of the notation, as in `Who's On(`.

    Raises:
        ParseError: the text is no such list; the message names the character.
    """
    scanner = Scanner(text)
    bracketed = scanner.take("[")
    calls: list[ToolCall] = []
    longest_first = sorted(known, key=len, reverse=True)
    while not (scanner.take("]") if bracketed else scanner.at_end()):
        calls.append(_read_call(scanner, longest_first))
        # models put calls on lines of their own as often as they use commas
        scanner.take(",")
    if not scanner.at_end():
        raise scanner.fail("text after the calls")
    return tuple(calls)


def _read_call(scanner: Scanner, known: Sequence[str]) -> ToolCall:
    name = next((name for name in known if scanner.take(f"{name}(")), None)
    if name is None:
        name = _read_name(scanner, "a function name")
        scanner.expect("(")
    arguments: dict[str, JsonValue] = {}
    while not scanner.take(")"):
        key = _read_name(scanner, "an argument name")
        if key in arguments:
            raise scanner.fail(f"argument {key!r} given twice")
        scanner.expect("=")
        arguments[key] = scanner.value()
        if not scanner.take(","):
            scanner.expect(")")
            break
    return ToolCall(name=name, arguments=arguments)


def _read_name(scanner: Scanner, wanted: str) -> str:
    scanner.skip_space()
    match = NAME.match(scanner.text, scanner.position)
    if not match:
        raise scanner.fail(f"expected {wanted}")
    scanner.position = match.end()
    return match.group()
