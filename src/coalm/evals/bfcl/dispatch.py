"""Run a call such as `cd(folder='temp')` out of a model's text, and nothing else.

The text is parsed, never evaluated: the function has to be one of a table, by its plain name, and
arguments may be literals, arithmetic of literals, and calls of functions of the same table.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import TypeAlias

from coalm.errors import ParseError, ToolError
from coalm.evals.bfcl.arithmetic import compute
from coalm.evals.bfcl.decode import MAX_CHARS, parse_expression
from coalm.evals.bfcl.verdict import Value

Functions: TypeAlias = Mapping[str, Callable[..., Value]]

FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError),
    *(OSError, RuntimeError, TypeError, ValueError, ToolError, ParseError),
)
"""What `run_call` may end in: these functions check few of their arguments."""


def run_call(text: str, functions: Functions) -> Value:
    """Result of the one call in `text`.

    Raises:
        ToolError: it is no call of one of `functions`, or an argument is not allowed.
        ParseError: it is no Python expression, or arithmetic in it cannot be computed.
        Exception: whatever the function raises; see `FAILURES`.
    """
    if len(text) > MAX_CHARS:
        raise ToolError(f"a call of {len(text)} characters is over the limit of {MAX_CHARS}")
    return _call(parse_expression(text.lstrip(" \t")), functions)


def _call(node: ast.expr, functions: Functions) -> Value:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ToolError(f"{type(node).__name__} is not the call of a function by its name")
    name = node.func.id
    if name not in functions:
        raise ToolError(f"there is no function {name!r}")
    positional = [_evaluate(argument, functions) for argument in node.args]
    named: dict[str, Value] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in named:
            raise ToolError(f"argument {keyword.arg!r} is given twice or has no name")
        named[keyword.arg] = _evaluate(keyword.value, functions)
    return functions[name](*positional, **named)


def _evaluate(node: ast.expr | None, functions: Functions) -> Value:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [_evaluate(item, functions) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item, functions) for item in items)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_evaluate(key, functions): _evaluate(value, functions) for key, value in pairs}
        case ast.UnaryOp() | ast.BinOp():
            return compute(node)
        case ast.Call():
            return _call(node, functions)
        case _:
            raise ToolError(f"{type(node).__name__} is not allowed as an argument")
