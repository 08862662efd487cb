"""From a model's raw text to calls, with the official verdicts and none of its `eval`.

Rules: `bfcl-eval` 2025.6.8, `model_handler/utils.py` (default decoders of prompt models), the same
at the paper's time (ShishirPatil/gorilla 8bf675cc). Its habits that change verdicts are kept: outer
brackets and quotes are stripped character by character, positional arguments are dropped, every
unary sign of a constant means minus, and bare words are text; `quirks` switches them off.

A decoded reply is a list of `{function name: {parameter: value}}`; for the multi-turn categories it
is printed again as call strings (`to_call_strings`).
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

from coalm.errors import ParseError
from coalm.evals.bfcl.arithmetic import compute
from coalm.evals.bfcl.categories import Language
from coalm.evals.bfcl.java_calls import read_java_call
from coalm.evals.bfcl.javascript_calls import read_javascript_call
from coalm.evals.bfcl.quirks import COMPAT, Quirks
from coalm.evals.bfcl.verdict import Value

Call: TypeAlias = dict[str, dict[Any, Value]]
"""One call: function name to parameters. A parameter name is None where upstream's is."""

MAX_CHARS = 50_000
"""Longer text is not decoded; the longest of the published outputs has under 8,000."""
MAX_BITS = 14_000
"""Larger integers cannot be printed by Python."""
MAX_DEPTH = 100
"""Deeper JSON is refused; Python's own parser stops at about twice as many brackets."""


class TooLargeError(ParseError):
    """Text over the limits: wrong in every category, also where no call is expected."""


def decode(text: str, language: Language = "Python", quirks: Quirks = COMPAT) -> list[Call] | None:
    """Calls in the reply of a prompt model (CoALM's way).

    None when Java or JavaScript text is sound and holds no call.

    Raises:
        ParseError: the text does not decode, which the checker counts as a wrong answer.
    """
    text = text.strip("`\n ") if quirks.layout else _unwrapped(text)
    if len(text) > MAX_CHARS:
        raise TooLargeError(f"reply of {len(text)} characters is over the limit of {MAX_CHARS}")
    if quirks.layout:
        text = text if text.startswith("[") else f"[{text}"
        text = text if text.endswith("]") else f"{text}]"
    elif not (text.startswith("[") and text.endswith("]")):
        raise ParseError("not a list of calls")
    try:
        if language == "Python":
            return _Reader(quirks).calls(text.strip("[]'") if quirks.layout else text)
        if language == "Java":
            call = read_java_call(text[1:-1], in_bytes=quirks.java_bytes)
        else:
            call = read_javascript_call(text[1:-1])
    except RecursionError as e:
        raise ParseError("nested too deeply") from e
    return None if call is None else [call]


def _unwrapped(text: str) -> str:
    """A reply without the blanks and the fence around it."""
    text = text.strip()
    fenced = re.match(r"```\w*", text) if text.endswith("```") else None
    return text[fenced.end() : -3].strip() if fenced else text


def decode_fc(raw: object) -> list[Call]:
    """Calls of a function-calling engine: a list of `{function name: arguments as JSON text}`.

    Raises:
        ParseError: anything else, a chat reply for instance.
    """
    if not isinstance(raw, list):
        raise ParseError(f"expected a list of calls, got {type(raw).__name__}")
    calls: list[Call] = []
    for item in cast("list[object]", raw):
        if not isinstance(item, dict):
            raise ParseError(f"expected a call as an object, got {type(item).__name__}")
        name, arguments = next(iter(cast("dict[str, object]", item).items()), ("", None))
        if not isinstance(arguments, str):
            raise ParseError(f"arguments of {name} are not JSON text")
        calls.append({name: _read_json(name, arguments)})
    return calls


def _read_json(name: str, arguments: str) -> Value:
    if len(arguments) > MAX_CHARS:
        raise TooLargeError(f"arguments of {name} are over the limit of {MAX_CHARS} characters")
    try:
        value: Value = json.loads(arguments)
    except (ValueError, RecursionError) as e:
        raise ParseError(f"arguments of {name} are not JSON: {e}") from e
    level: list[Value] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _members(one)]
    if level:
        raise TooLargeError(f"arguments of {name} are nested over {MAX_DEPTH} deep")
    return value


def _members(value: Value) -> Iterable[Value]:
    if isinstance(value, dict):
        return cast("dict[str, Value]", value).values()
    return cast("list[Value]", value) if isinstance(value, list) else ()


def is_call_list(decoded: object) -> bool:
    """Whether decoded output has the shape that the checker takes: one-key dicts of dicts."""
    return isinstance(decoded, list) and all(
        isinstance(call, dict)
        and len(cast("dict[str, Any]", call)) == 1
        and all(isinstance(value, dict) for value in cast("dict[str, Any]", call).values())
        for call in cast("list[object]", decoded)
    )


def to_call_strings(calls: Sequence[Call]) -> list[str]:
    """Decoded calls printed as `name(parameter=value, ...)`.

    Raises:
        ParseError: an argument is an empty dict, which upstream cannot print.
    """
    return [
        f"{name}({', '.join(f'{key}={_print(value)}' for key, value in arguments.items())})"
        for call in calls
        for name, arguments in call.items()
    ]


def fc_call_strings(raw: object) -> list[str]:
    """Calls of a function-calling engine, one or a list of them, as call strings.

    Raises:
        ParseError: anything else.
    """
    found: list[str] = []
    for item in cast("list[object]", raw) if isinstance(raw, list) else [raw]:
        if not isinstance(item, dict):
            raise ParseError(f"expected a call as an object, got {type(item).__name__}")
        for name, arguments in cast("dict[str, object]", item).items():
            values = _read_json(name, arguments) if isinstance(arguments, str) else arguments
            if not isinstance(values, dict):
                raise ParseError(f"arguments of {name} are no JSON object")
            pairs = cast("dict[str, Value]", values).items()
            found.append(f"{name}({','.join(f'{key}={value!r}' for key, value in pairs)})")
    return found


def parse_expression(text: str) -> ast.expr:
    """Python's own parser on untrusted text: nothing runs, every failure is a ParseError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are the model's business
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise ParseError(f"not a Python expression: {e}") from e


class _Reader:
    """From Python's syntax tree to calls and values."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks

    def calls(self, text: str) -> list[Call]:
        body = parse_expression(text)
        if self._quirks.layout:
            if isinstance(body, ast.Call):
                return [self._call(body)]
            if not isinstance(body, ast.Tuple | ast.List | ast.Set):
                raise ParseError(f"expected calls, got {type(body).__name__}")
        elif not isinstance(body, ast.List):
            raise ParseError(f"expected a list of calls, got {type(body).__name__}")
        return [self._call(item) for item in body.elts]

    def _call(self, node: ast.expr) -> Call:
        if not isinstance(node, ast.Call):
            raise ParseError(f"expected a call, got {type(node).__name__}")
        parts: list[str] = []
        function = node.func
        while isinstance(function, ast.Attribute):
            parts.append(function.attr)
            function = function.value
        if isinstance(function, ast.Name):
            parts.append(function.id)
        elif not self._quirks.arguments:
            raise ParseError("the callee is no name")
        names = [keyword.arg for keyword in node.keywords]
        if not self._quirks.arguments and (node.args or None in names):
            raise ParseError("an argument without a name")
        if not self._quirks.arguments and len({*names}) < len(names):
            raise ParseError("an argument is given twice")
        return {".".join(reversed(parts)): {k.arg: self._value(k.value) for k in node.keywords}}

    def _value(self, node: ast.expr | None) -> Value:
        match node:
            case ast.Constant(value=value):
                if value is Ellipsis:
                    return self._word("...")
                return _bounded(value)
            case ast.UnaryOp() if not self._quirks.signs:
                return _bounded(compute(node))
            case ast.UnaryOp(operand=ast.Constant(value=value)):
                try:
                    return -_bounded(value)
                except TypeError as e:
                    raise ParseError(f"sign before {value!r}") from e
            case ast.List(elts=items):
                return [self._value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self._value(item) for item in items)
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, values)
            case ast.BinOp():
                return compute(node)
            case ast.Name(id=name):
                return self._word(name)
            case ast.Call(keywords=[]):
                return self._word(_source(node))
            case ast.Call() if self._quirks.words:
                return self._call(node)
            case ast.Subscript(value=value, slice=index):
                return self._word(f"{_source(value)}[{_source(index)}]")
            case _:
                raise ParseError(f"{type(node).__name__} is no value")

    def _word(self, text: str) -> str:
        if not self._quirks.words:
            raise ParseError(f"{text[:80]} is no value")
        return text

    def _dict(self, keys: list[ast.expr | None], values: list[ast.expr]) -> dict[Any, Value]:
        pairs = zip(keys, values, strict=True)
        try:
            return {self._value(key): self._value(value) for key, value in pairs}
        except TypeError as e:  # a list as a key
            raise ParseError(f"dict with a bad key: {e}") from e


def _bounded(value: Value) -> Value:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise TooLargeError(f"an integer of {value.bit_length()} bits is over the limit")
    return value


def _source(node: ast.expr) -> str:
    try:
        return ast.unparse(node)
    except ValueError as e:  # an integer that Python refuses to print
        raise TooLargeError(str(e)) from e


def _print(value: Value) -> str:
    """As upstream prints an argument: a dict of nothing but dicts is taken for a nested call."""
    if not isinstance(value, dict):
        return repr(value)
    table = cast("dict[Any, Value]", value)
    if not all(isinstance(inner, dict) for inner in table.values()):
        return "{" + ", ".join(f"'{key}': {_print(inner)}" for key, inner in table.items()) + "}"
    if not table:
        raise ParseError("an empty dict cannot be printed as an argument")
    name, arguments = next(iter(table.items()))
    return f"{name}({', '.join(f'{key}={_print(inner)}' for key, inner in arguments.items())})"
