"""Constant arithmetic in model text (`1/6`, `2**10`, `'a' + 'b'`) without running it.

The official scorer hands such expressions to `eval`. Here only literals and operators count, with
bounds on the size of results, so that no text can read a file, call a function or fill the memory.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from coalm.errors import ParseError
from coalm.evals.bfcl.verdict import Value

MAX_BITS = 4096
"""Largest integer that a power or a shift may give."""
MAX_LENGTH = 10_000
"""Longest sequence that a repetition may give."""

_UNARY: dict[type[ast.unaryop], Callable[[Value], Value]] = {
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: +a,
    ast.Invert: lambda a: ~a,
    ast.Not: lambda a: not a,
}
_BINARY: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
    ast.LShift: lambda a, b: a << b,
    ast.RShift: lambda a, b: a >> b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
}
_FAILURES = (ArithmeticError, TypeError, ValueError)


def compute(node: ast.expr, names: Mapping[str, Value] | None = None) -> Value:
    """Value of an expression of literals, operators and the given names.

    Raises:
        ParseError: it holds anything else, cannot be computed, or its result would be too large.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [compute(item, names) for item in items]
        case ast.Tuple(elts=items):
            return tuple(compute(item, names) for item in items)
        case ast.UnaryOp(op=op, operand=operand):
            return _apply(_UNARY[type(op)], compute(operand, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            a, b = compute(left, names), compute(right, names)
            _bound(op, a, b)
            return _apply(_BINARY[type(op)], a, b)
        case ast.Name(id=name) if names and name in names:
            return names[name]
        case _:
            raise ParseError(f"{type(node).__name__} is not constant arithmetic")


def _apply(function: Callable[..., Value], *operands: Value) -> Value:
    try:
        return function(*operands)
    except _FAILURES as e:
        raise ParseError(f"cannot be computed: {e}") from e


def _bound(op: ast.operator, a: Value, b: Value) -> None:
    """Refuse what would take too much memory or time."""
    if isinstance(op, ast.Mod) and not _is_number(a):
        raise ParseError("text formatting is not constant arithmetic")
    if isinstance(op, ast.Mult):
        for sequence, times in ((a, b), (b, a)):
            if isinstance(times, int) and not _is_number(sequence):
                _refuse_over(len(sequence) * times, MAX_LENGTH)
    if isinstance(a, int) and isinstance(b, int) and b > 0:
        if isinstance(op, ast.Pow):
            _refuse_over(a.bit_length() * b, MAX_BITS)
        elif isinstance(op, ast.LShift):
            _refuse_over(a.bit_length() + b, MAX_BITS)
        elif isinstance(op, ast.Mult):
            _refuse_over(a.bit_length() + b.bit_length(), MAX_BITS)


def _refuse_over(size: int, limit: int) -> None:
    if size > limit:
        raise ParseError(f"result of size {size} is over the limit of {limit}")


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float | complex)
