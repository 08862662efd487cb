"""The call in Java source text, as the official decoder finds it.

Upstream parses with tree-sitter (`model_handler/parser/java_parser.py` of `bfcl-eval` 2025.6.8) and
prints argument values again from the syntax tree. What that does to a value is kept: blanks
between tokens go, except inside names, literals and method calls; a class body behind `new T()`
goes; a missing semicolon is repaired unless the text is very short; and places are counted in
bytes, so behind a letter beyond ASCII values are cut at the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from coalm.errors import ParseError
from coalm.evals.bfcl.source_tokens import JAVA, Cursor, Token, tokenize
from coalm.evals.bfcl.verdict import Value

_SHORTEST = 11
"""Bytes of a statement from which on tree-sitter adds a missing `;` rather than give up."""
_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
_BINARY = (
    *("+", "-", "*", "/", "%", "&", "|", "^", "&&", "||"),
    *("==", "!=", "<", ">", "<=", "<<", "instanceof"),
)
_LITERALS = ("this", "super", "null", "true", "false")
_PREFIX = ("+", "-", "!", "~", "++", "--")
_PRIMITIVES = ("int", "long", "short", "byte", "char", "float", "double", "boolean", "void")
_RESERVED = re.compile(
    "abstract|assert|break|case|catch|class|const|continue|default|do|else|enum|extends|final|"
    "finally|for|goto|if|implements|import|interface|new|package|private|protected|public|return|"
    "static|strictfp|switch|synchronized|throws?|transient|try|volatile|while"
)


JavaCall: TypeAlias = dict[str, dict[str | None, Value]]
"""Function name to parameter to its value as text."""


class _Node(NamedTuple):
    """A piece of syntax. `parts` are its children in order."""

    kind: str
    start: int
    end: int
    parts: tuple[_Node, ...] = ()


def read_java_call(source: str, *, in_bytes: bool = True) -> JavaCall | None:
    """The first call in a source text; None when there is none. `in_bytes`: as upstream counts.

    Raises:
        ParseError: the text is not Java, or a parameter is given twice.
    """
    parser = _Parser(source, in_bytes)
    call = next(_calls(parser.program()), None)
    return None if call is None else parser.read_call(call)


def _calls(node: _Node) -> Iterator[_Node]:
    if node.kind == "call":
        yield node
    for part in node.parts:
        yield from _calls(part)


class _Parser(Cursor):
    """Recursive descent over the part of Java that calls and their arguments are made of."""

    def __init__(self, source: str, in_bytes: bool) -> None:
        super().__init__(source, tokenize(source, JAVA))
        self._bytes: list[int] | None = None
        if in_bytes and not source.isascii():
            sizes = (len(letter.encode("utf-8", "surrogatepass")) for letter in source)
            self._bytes = [0, *accumulate(sizes)]

    def _raw(self, start: int, end: int) -> str:
        """Source between two places, which upstream counts in bytes."""
        if self._bytes is not None:
            start, end = self._bytes[start], self._bytes[end]
        return self.source[start:end]

    def _render(self, node: _Node) -> str:
        match node.kind:
            case "new object":
                kind, *arguments = node.parts
                return f"new {self._render(kind)}({', '.join(map(self._render, arguments))})"
            case "new array":
                kind, values = node.parts
                return f"new {self._render(kind)}[]{self._render(values)}"
            case "sized array":
                raise ParseError("an array without values has no text")
            case "group" | "member" | "operation" | "assignment":
                return "".join(map(self._render, node.parts))
            case _:
                return self._raw(node.start, node.end)

    def read_call(self, call: _Node) -> JavaCall:
        """Name and arguments of a call; positional ones count only when they are bare names."""
        *target, name, arguments = call.parts
        function = ".".join(self._raw(part.start, part.end) for part in (*target, name))
        given: dict[str | None, Value] = {}
        for argument in arguments.parts:
            if argument.kind == "assignment":
                left, _, right = argument.parts
                key, value = self._raw(left.start, left.end), self._render(right)
                value = value[1:-1] if right.kind == "string" else value
            elif argument.kind in ("word", "class"):
                key, value = None, self._render(argument)
            else:
                continue
            if key in given:
                raise ParseError(f"{key!r} is given twice")
            given[key] = value
        return {function: given}

    def program(self) -> _Node:
        """Every statement up to the end of the text."""
        parts: list[_Node] = []
        while self.token.kind != "end":
            parts.append(self._statement())
        return _Node("group", 0, self.last_end, tuple(parts))

    def _statement(self) -> _Node:
        if self.token.text == "{":
            return self._block()
        if semicolon := self.take(";"):
            return _leaf(semicolon)
        if keyword := self.take("if", "while"):
            return self._conditional(keyword)
        if self.token.kind == "word" and self.ahead(1).text == ":":
            return self._group([self._word(), _leaf(self.advance()), self._statement()])
        start = self.token.start
        parts: list[_Node] = []
        if keyword := self.take("return", "throw"):
            parts.append(_leaf(keyword))
        if not self.attempt(lambda: parts.append(self._declaration())) and not (
            self.token.text in (";", "}") and parts
        ):
            parts.append(self._expression())
        if semicolon := self.take(";"):
            return self._group([*parts, _leaf(semicolon)])
        size = len(self.source[start : self.last_end].encode("utf-8", "surrogatepass"))
        kind = parts[-1].kind
        if size < _SHORTEST or kind == "member" or (kind == "word" and self.token.kind == "word"):
            raise ParseError(f"no semicolon behind the statement at {start}")
        return self._group(parts)

    def _block(self) -> _Node:
        parts = [_leaf(self.expect("{"))]
        with self.inside(False):
            while self.token.text != "}":
                parts.append(self._statement())
        parts.append(_leaf(self.expect("}")))
        return self._group(parts)

    def _conditional(self, keyword: Token) -> _Node:
        parts = [_leaf(keyword), self._parenthesized(), self._statement()]
        if other := self.take("else"):
            parts += [_leaf(other), self._statement()]
        return self._group(parts)

    def _declaration(self) -> _Node:
        parts = [self._type(), self._word()]
        if sign := self.take("="):
            parts += [_leaf(sign), self._expression()]
        elif self.token.text == "(":
            raise ParseError("a call or a method, no variable")
        return self._group(parts)

    # expressions

    def _expression(self) -> _Node:
        left = self._ternary()
        sign = self.take(*_ASSIGNMENTS)
        if sign is None:
            return left
        # behind an operator it is the last operand that is assigned to
        target = left
        while target.kind == "operation":
            target = target.parts[-1]
        if target.kind not in ("word", "member"):
            raise ParseError(f"nothing can be assigned at {sign.start}")
        parts = [left, _leaf(sign), self._expression()]
        return self._group(parts, "assignment" if target is left else "operation")

    def _ternary(self) -> _Node:
        condition = self._binary()
        question = self.take("?")
        if question is None:
            return condition
        parts = [condition, _leaf(question), self._expression(), _leaf(self.expect(":"))]
        return self._group([*parts, self._ternary()])

    def _binary(self) -> _Node:
        parts = [self._unary()]
        while sign := self.take(*_BINARY):
            parts.append(_leaf(sign))
            # shifts and `>=` come as single signs, so that generic types can close
            while sign.text == ">" and (more := self.take(">", "=")):
                parts.append(_leaf(more))
            parts.append(self._type() if sign.text == "instanceof" else self._unary())
        return self._group(parts, "operation")

    def _unary(self) -> _Node:
        if sign := self.take(*_PREFIX):
            return self._group([_leaf(sign), self._unary()], "operation")
        if self.token.text == "(":
            for special in (self._lambda, self._cast):
                found: list[_Node] = []
                if self.attempt(lambda parse=special, into=found: into.append(parse())):
                    return found[0]
        elif self.token.kind == "word" and self.ahead(1).text == "->":
            return self._lambda()
        return self._postfix(self._primary())

    def _lambda(self) -> _Node:
        parts: list[_Node] = []
        if opening := self.take("("):
            parts.append(_leaf(opening))
            while self.token.text != ")":
                parts.append(self._type())
                if self.token.kind == "word":
                    parts.append(self._word())
                if comma := self.take(","):
                    parts.append(_leaf(comma))
            parts.append(_leaf(self.expect(")")))
        else:
            parts.append(self._word())
        parts.append(_leaf(self.expect("->")))
        parts.append(self._block() if self.token.text == "{" else self._expression())
        return self._group(parts)

    def _cast(self) -> _Node:
        primitive = self.ahead(1).text in _PRIMITIVES
        parts = [_leaf(self.expect("(")), self._type(), _leaf(self.expect(")"))]
        is_operand = self.token.kind in ("word", "number", "string")
        if not (primitive or is_operand or self.token.text in ("(", "!", "~")):
            raise ParseError("no cast")
        return self._group([*parts, self._unary()])

    def _parenthesized(self) -> _Node:
        parts = [_leaf(self.expect("(")), self._expression()]
        if closing := self.close(")"):
            parts.append(_leaf(closing))
        return self._group(parts)

    def _primary(self) -> _Node:
        token = self.token
        if token.kind == "string":
            return _leaf(self.advance(), "string")
        if token.kind == "number" or token.text in _LITERALS:
            return _leaf(self.advance())
        if self.take("new"):
            return self._creation(token.start)
        if token.text in _PRIMITIVES:
            return self._type()
        if token.kind == "word" and token.text != "switch":
            name = self._word()
            return self._call([name]) if self.token.text == "(" else name
        return self._parenthesized()

    def _postfix(self, node: _Node) -> _Node:
        while sign := self.take(".", "[", "::", "++", "--"):
            parts = [node, _leaf(sign)]
            if sign.text == ".":
                node = self._member(parts)
                continue
            if sign.text == "[":
                parts.append(self._expression())
                if closing := self.close("]"):
                    parts.append(_leaf(closing))
            elif sign.text == "::":
                new = self.take("new")
                parts.append(_leaf(new) if new else self._word())
            node = self._group(parts, "member" if sign.text == "[" else "group")
        return node

    def _member(self, parts: list[_Node]) -> _Node:
        """What follows a dot: a method call, a field, `class`, or `new`."""
        target = parts[0]
        if self.take("new"):
            return self._creation(target.start)
        if self.token.text == "class" and self.ahead(1).text != "(":
            self.advance()
            return _Node("class", target.start, self.last_end)
        if self.token.text == "<":
            self._type_arguments()
        name = _leaf(self.advance()) if self.token.kind == "word" else self._word()
        if self.token.text == "(":
            return self._call([target, name])
        return self._group([*parts, name], "member")

    def _call(self, parts: list[_Node]) -> _Node:
        arguments = self._arguments()
        return _Node("call", parts[0].start, self.last_end, (*parts, arguments))

    def _arguments(self) -> _Node:
        """A list of arguments without its commas."""
        start = self.expect("(").start
        parts: list[_Node] = []
        if self.take(")") is None:
            with self.inside(True):
                parts.append(self._expression())
                while self.take(","):
                    if self.token.text == ")" and self.ahead(1).kind == "end":
                        # tree-sitter repairs a last comma with an empty name
                        parts.append(_Node("word", self.last_end, self.last_end))
                    else:
                        parts.append(self._expression())
                self.close(")")
        return _Node("group", start, self.last_end, tuple(parts))

    def _creation(self, start: int) -> _Node:
        kind = self._type(dimensions=False)
        if self.token.text == "[":
            sized = False
            while self.take("["):
                if self.take("]") is None:
                    sized = True
                    self._expression()
                    self.expect("]")
            if sized:
                return _Node("sized array", start, self.last_end)
            parts = (kind, self._array_values())
            return _Node("new array", start, self.last_end, parts)
        arguments = self._arguments()
        if self.token.text == "{":
            self._class_body()
        return _Node("new object", start, self.last_end, (kind, *arguments.parts))

    def _array_values(self) -> _Node:
        parts = [_leaf(self.expect("{"))]
        while self.token.text not in ("}", ")", ";"):
            parts.append(self._array_values() if self.token.text == "{" else self._expression())
            comma = self.take(",")
            if comma is None:
                break
            parts.append(_leaf(comma))
        if closing := self.close("}"):
            parts.append(_leaf(closing))
        return self._group(parts)

    def _class_body(self) -> None:
        self.expect("{")
        while self.take("}") is None:
            if self.token.text == "{":
                self._block()
                continue
            while self.token.text not in ("{", ";"):
                if self.token.text == "}":
                    raise ParseError("an unfinished member of a class")
                self.skip_balanced()
            self.skip_balanced()

    # names and types

    def _type(self, *, dimensions: bool = True) -> _Node:
        parts = [self._word()]
        while True:
            if self.token.text == "<":
                parts += self._type_arguments()
            dot = self.take(".")
            if dot is None:
                break
            parts += [_leaf(dot), self._word()]
        while dimensions and (self.token.text, self.ahead(1).text) == ("[", "]"):
            parts += [_leaf(self.advance()), _leaf(self.advance())]
        return self._group(parts)

    def _type_arguments(self) -> list[_Node]:
        parts = [_leaf(self.expect("<"))]
        while self.token.text != ">":
            if mark := self.take("?"):
                parts.append(_leaf(mark))
                if bound := self.take("extends", "super"):
                    parts += [_leaf(bound), self._type()]
            else:
                parts.append(self._type())
            if comma := self.take(","):
                parts.append(_leaf(comma))
        return [*parts, _leaf(self.expect(">"))]

    def _word(self) -> _Node:
        token = self.token
        if token.kind != "word" or (_RESERVED.fullmatch(token.text) and not self.in_arguments):
            raise ParseError(f"{token.text!r} at {token.start} in place of a name")
        return _leaf(self.advance(), "word")

    def _group(self, parts: list[_Node], kind: str = "group") -> _Node:
        if len(parts) == 1:
            return parts[0]
        return _Node(kind, parts[0].start, self.last_end, tuple(parts))


def _leaf(token: Token, kind: str = "leaf") -> _Node:
    return _Node(kind, token.start, token.end)
