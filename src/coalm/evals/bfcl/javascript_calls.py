"""The call in JavaScript source text, as the official decoder finds it.

Upstream parses with tree-sitter (`model_handler/parser/js_parser.py` of `bfcl-eval` 2025.6.8): the
first statement that is a call counts, values are kept as written, and text that is quoted from its
first letter to its last loses these two quotes, whatever stands between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from coalm.errors import ParseError
from coalm.evals.bfcl.source_tokens import JAVASCRIPT, Cursor, tokenize
from coalm.evals.bfcl.verdict import Value

_ASSIGNMENTS = (
    *("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "**="),
    *("<<=", ">>=", ">>>=", "&&=", "||=", "??="),
)
_BINARY = (
    *("+", "-", "*", "/", "%", "**", "&", "|", "^", "&&", "||", "??", "<<"),
    *("==", "!=", "===", "!==", "<", ">", "<=", "instanceof", "in"),
)
_PREFIX = ("+", "-", "!", "~", "++", "--", "typeof", "void", "delete", "await")
_RESERVED = re.compile(
    "break|case|catch|class|const|continue|debugger|default|do|else|export|extends|finally|for|"
    "function|if|import|new|return|switch|throw|try|var|while|with"
)


class _Span(NamedTuple):
    """An expression: what it is, where it stands, and its arguments or sides."""

    kind: str
    start: int
    end: int
    parts: tuple[_Span, ...] = ()


def read_javascript_call(source: str) -> dict[str, dict[str | None, Value]] | None:
    """The first statement that is a call, values as text; None when there is none.

    Raises:
        ParseError: the text is not JavaScript, or a parameter is given twice.
    """
    call = _Parser(source).program()
    if call is None:
        return None
    function, *arguments = call.parts
    given: dict[str | None, Value] = {}
    for argument in arguments:
        key: str | None = None
        value = source[argument.start : argument.end]
        if argument.kind == "assignment":
            left, right = argument.parts
            key, value = source[left.start : left.end], source[right.start : right.end]
            if any(value.startswith(quote) and value.endswith(quote) for quote in "\"'"):
                value = value[1:-1]
        elif argument.kind != "name" and value != "true":
            continue
        if key in given:
            raise ParseError(f"{key!r} is given twice")
        given[key] = value
    return {source[function.start : function.end]: given}


class _Parser(Cursor):
    """Recursive descent over the part of JavaScript that calls and arguments are made of."""

    def __init__(self, source: str) -> None:
        super().__init__(source, tokenize(source, JAVASCRIPT, regexes=True))

    def program(self) -> _Span | None:
        """The first call among the statements; all of them have to be sound."""
        found: _Span | None = None
        while self.token.kind != "end":
            statement = self._statement()
            if found is None and statement is not None and statement.kind == "call":
                found = statement
        return found

    # statements

    def _statement(self) -> _Span | None:
        """Step over a statement; the expression if it is nothing but one."""
        start = self.token
        if self.take(";"):
            return None
        if start.text == "{" and self.attempt(self._block):
            return None
        if self.take("if", "while"):
            self._parenthesized()
            self._statement()
            if start.text == "if" and self.take("else"):
                self._statement()
            return None
        if self.take("for"):
            self.skip_balanced()
            self._statement()
            return None
        if start.text == "function":
            self._function()
            return None
        if start.kind == "word" and self.ahead(1).text == ":":
            self.advance()
            self.advance()
            if self.token.kind != "end":
                self._statement()
            return None
        return self._simple_statement()

    def _simple_statement(self) -> _Span | None:
        expression: _Span | None = None
        if self.token.text in ("let", "const", "var") and self.ahead(1).kind == "word":
            self.advance()
            self._listed(self._expression)
        elif self.take("return", "throw"):
            if self.token.text not in (";", "}") and not self.token.after_newline:
                self._sequence()
        else:
            expression = self._sequence()
        token = self.token
        # tree-sitter also repairs a semicolon that is missing right before a word or a number
        glued = token.start == self.last_end and token.kind in ("word", "number")
        if not (self.take(";") or token.after_newline or token.text == "}" or glued):
            raise ParseError(f"{token.text!r} at {token.start} ends no statement")
        return expression

    def _block(self) -> None:
        self.expect("{")
        with self.inside(False):
            while self.take("}") is None:
                self._statement()

    # expressions

    def _sequence(self) -> _Span:
        first = self._expression()
        if self.token.text != ",":
            return first
        while self.take(","):
            self._expression()
        return self._span("sequence", first.start)

    def _listed(self, parse: Callable[[], object]) -> None:
        parse()
        while self.take(","):
            parse()

    def _expression(self) -> _Span:
        start = self.token.start
        if self._may_be_arrow():
            for arrow in (self._arrow_function, self._async_arrow_function):
                if self.attempt(arrow):
                    return self._span("function", start)
        left = self._conditional()
        sign = self.take(*_ASSIGNMENTS)
        if sign is None:
            return left
        # behind an operator it is the last operand that is assigned to
        target = left
        while target.kind == "operation":
            target = target.parts[-1]
        if target.kind not in ("name", "member", "object", "array"):
            raise ParseError(f"nothing can be assigned at {sign.start}")
        right = self._expression()
        plain = sign.text == "=" and target is left
        return _Span("assignment" if plain else "operation", start, self.last_end, (left, right))

    def _may_be_arrow(self) -> bool:
        """Whether an arrow function can start here; most operands are seen to be none."""
        return self.token.text in ("(", "async") or self.ahead(1).text == "=>"

    def _arrow_function(self) -> None:
        if self.token.text == "(":
            self.skip_balanced()
        else:
            self._name()
        self.expect("=>")
        if self.token.text == "{":
            self._block()
        else:
            self._expression()

    def _async_arrow_function(self) -> None:
        self.expect("async")
        self._arrow_function()

    def _conditional(self) -> _Span:
        first = self._binary()
        if self.take("?") is None:
            return first
        self._expression()
        self.expect(":")
        self._expression()
        return self._span("conditional", first.start)

    def _binary(self) -> _Span:
        operand = first = self._unary()
        while sign := self.take(*_BINARY):
            # shifts and `>=` come as single signs
            while sign.text == ">" and self.take(">", "="):
                pass
            last = self._unary()
            operand = _Span("operation", first.start, last.end, (last,))
        return operand

    def _unary(self) -> _Span:
        start = self.token.start
        if self.token.text in _PREFIX and not self._is_plain_name():
            self.advance()
            operand = self._unary()
            return _Span("operation", start, operand.end, (operand,))
        return self._postfix(self._primary())

    def _is_plain_name(self) -> bool:
        """Whether a word such as `await` stands where only a name makes sense."""
        return self.token.text == "await" and self.ahead(1).text in (",", ")", "=", ".")

    def _postfix(self, first: _Span) -> _Span:
        span = first
        while True:
            token = self.token
            if token.text == "(" or token.text.startswith("`"):
                span = self._call(span)
            elif self.take("?."):
                if self.token.text == "(":
                    self._arguments()
                    span = _Span("call", first.start, self.last_end, (span,))
                    continue
                if self.take("["):
                    self._index()
                else:
                    self._property_name()
                span = self._span("member", first.start)
            elif self.take("."):
                self._property_name()
                span = self._span("member", first.start)
            elif self.take("["):
                self._index()
                span = self._span("member", first.start)
            elif not token.after_newline and self.take("++", "--"):
                span = self._span("update", first.start)
            else:
                return span

    def _index(self) -> None:
        self._sequence()
        self.close("]")

    def _call(self, function: _Span) -> _Span:
        if self.token.text == "(":
            arguments = self._arguments()
        else:
            self.advance()  # a template behind a name calls it
            arguments = []
        return _Span("call", function.start, self.last_end, (function, *arguments))

    def _arguments(self) -> list[_Span]:
        self.expect("(")
        with self.inside(True):
            return self._elements(")")

    def _elements(self, closing: str) -> list[_Span]:
        """Expressions between commas, some of which may be left out."""
        found: list[_Span] = []
        while self.token.text != closing:
            if self.take(","):
                continue
            start = self.token.start
            spread = self.take("...")
            element = self._expression()
            found.append(self._span("spread", start) if spread else element)
            if self.take(",") is None:
                break
        self.close(closing)
        return found

    def _parenthesized(self) -> _Span:
        start = self.expect("(").start
        self._sequence()
        self.close(")")
        return self._span("parenthesized", start)

    def _primary(self) -> _Span:
        token = self.token
        if token.kind in ("string", "number", "regex"):
            self.advance()
            return self._span(token.kind, token.start)
        match token.text:
            case "(":
                return self._parenthesized()
            case "[":
                self.advance()
                self._elements("]")
                return self._span("array", token.start)
            case "{":
                self._object()
                return self._span("object", token.start)
            case "function" | "async" if "function" in (token.text, self.ahead(1).text):
                self.take("async")
                self._function()
                return self._span("function", token.start)
            case "class":
                return self._class()
            case "new":
                return self._new()
            case "import" if self.ahead(1).text == "(":
                self.advance()
                return self._span("import", token.start)
            case "true" | "false" | "null" | "this" | "super":
                self.advance()
                return self._span("literal", token.start)
            case _:
                return self._name()

    def _new(self) -> _Span:
        start = self.expect("new").start
        self._primary()
        while sign := self.take(".", "["):
            if sign.text == ".":
                self._property_name()
            else:
                self._index()
        if self.token.text == "(":
            self._arguments()
        return self._span("new", start)

    def _function(self) -> None:
        self.expect("function")
        self.take("*")
        if self.token.kind == "word":
            self._name()
        self._method()

    def _method(self) -> None:
        """Parameters and body."""
        self.skip_balanced("(")
        self._block()

    def _class(self) -> _Span:
        start = self.expect("class").start
        if self.token.kind == "word" and self.token.text != "extends":
            self._name()
        if self.take("extends"):
            self._unary()
        self.skip_balanced("{")
        return self._span("class", start)

    def _object(self) -> None:
        self.expect("{")
        while self.token.text not in ("}", ")"):
            if self.take(","):
                continue
            self._member()
            if self.take(",") is None:
                break
        self.close("}")

    def _member(self) -> None:
        """One member of an object: spread, method, `key: value`, or a bare name."""
        if self.take("..."):
            self._expression()
            return
        while self.token.text in ("get", "set", "async", "*") and self.ahead(1).text not in (
            *(",", ":", "(", "}", "="),
        ):
            self.advance()
        bare = self.token.kind == "word"
        if self.take("["):
            self._expression()
            self.close("]")
        elif self.token.kind in ("string", "number") and self.token.text[0] != "`":
            self.advance()
        else:
            self._property_name()
        if self.token.text == "(":
            self._method()
        elif self.take(":"):
            self._expression()
        elif not bare:
            self.expect(":")

    def _property_name(self) -> None:
        if self.token.kind != "word":
            raise ParseError(f"{self.token.text!r} at {self.token.start} in place of a name")
        self.advance()

    def _name(self) -> _Span:
        token = self.token
        if token.kind != "word" or (_RESERVED.fullmatch(token.text) and not self.in_arguments):
            raise ParseError(f"{token.text!r} at {token.start} in place of a name")
        self.advance()
        return self._span("name", token.start)

    def _span(self, kind: str, start: int) -> _Span:
        return _Span(kind, start, self.last_end)
