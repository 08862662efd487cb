"""Limits on the few back-end methods whose arguments decide how long they take.

The official scorer has none: `power(base=9, exponent=10**9)` in a model's reply stops it for good.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from coalm.errors import ToolError
from coalm.evals.bfcl.verdict import Value

_MAX_DIGITS = 10_000
_MAX_BITS = 100_000
_MAX_PATHS = 50_000

_Guard: TypeAlias = Callable[[Any, Mapping[str, Value]], None]
"""Takes a back end and the arguments of a call by name; raises ToolError when it would be long."""


def guarded(name: str, instance: object, method: Callable[..., Value]) -> Callable[..., Value]:
    """A method of a back end that refuses arguments over the limits."""
    if name not in _GUARDS:
        return method

    def call(*positional: Value, **named: Value) -> Value:
        # the signature is read here, where it is needed: few of many back ends are ever called
        given = inspect.signature(method).bind(*positional, **named).arguments
        _GUARDS[name](instance, given)
        return method(*positional, **named)

    return call


def _digits(argument: str) -> _Guard:
    def check(_: Any, arguments: Mapping[str, Value]) -> None:
        digits = arguments.get(argument, 0)
        if isinstance(digits, int | float) and not abs(digits) <= _MAX_DIGITS:
            raise ToolError(f"{argument} is over the limit of {_MAX_DIGITS}")

    return check


def _power(_: Any, arguments: Mapping[str, Value]) -> None:
    base, exponent = arguments.get("base"), arguments.get("exponent")
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        bits = base.bit_length() * exponent
        if bits > _MAX_BITS:
            raise ToolError(f"a power of more than {_MAX_BITS} bits is over the limit")


def _paths(file_system: Any, _: Mapping[str, Value]) -> None:
    """Copies of folders share their contents, so a few calls can give millions of paths."""
    count = 0
    folders: list[Any] = [vars(file_system)["_current_dir"]]
    while folders:
        for item in folders.pop().contents.values():
            count += 1
            if hasattr(item, "contents"):
                folders.append(item)
        if count > _MAX_PATHS:
            raise ToolError(f"more than {_MAX_PATHS} files and folders")


_GUARDS: dict[str, _Guard] = {
    "power": _power,
    "logarithm": _digits("precision"),
    "square_root": _digits("precision"),
    "round_number": _digits("decimal_places"),
    "find": _paths,
    "du": _paths,
}
"""Method name to its guard; names are unique over all back ends."""
