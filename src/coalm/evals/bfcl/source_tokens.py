"""Tokens of Java and JavaScript source text, for the readers of calls in these languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from coalm.errors import ParseError

_NUMBER = r"""
    0[xX][0-9a-fA-F_]+[lLn]? | 0[bB][01_]+[lLn]? | 0[oO][0-7_]+n?
    | (?: [0-9][0-9_]* (?: \.[0-9_]* )? | \.[0-9][0-9_]* ) (?: [eE][+-]?[0-9_]+ )? [lLfFdDn]?
"""
_WORD = r"(?:[^\W\d]|\$)(?:\w|\$)*"
_ESCAPE = r"\\(?:[^xu0-7]|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]+\})"
_OPERATORS = (
    r"\.\.\.|>>>=|===|!==|\*\*=|<<=|>>=|&&=|\|\|=|\?\?=|->|=>|::|\+\+|--|&&|\|\||\?\?|\?\.(?!\d)"
    r"|==|!=|<=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|\*\*|<<|[-+*/%=<>!~?:;,.(){}\[\]&|^@]"
)


def _pattern(strings: str, operators: str) -> re.Pattern[str]:
    return re.compile(
        rf"""(?P<blank>\s+|//[^\n]*)
        |(?P<string>{strings})
        |(?P<number>{_NUMBER})
        |(?P<word>{_WORD})
        |(?P<operator>{operators})""",
        re.VERBOSE | re.DOTALL,
    )


JAVA = _pattern(
    rf'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\]|{_ESCAPE})*"|' + r"'(?:[^'\\\n]|\\.)+'",
    _OPERATORS,
)
JAVASCRIPT = _pattern(
    rf'"(?:[^"\\\n]|{_ESCAPE})*"|' + rf"'(?:[^'\\\n]|{_ESCAPE})*'|" + r"`(?:[^`\\]|\\.)*`",
    _OPERATORS,
)
_REGEX = re.compile(r"/(?![*/])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")


class Token(NamedTuple):
    """One token; `start` and `end` count characters of the source."""

    kind: str
    """string, number, word, operator, regex, or `end` behind the last one."""
    text: str
    start: int
    end: int
    after_newline: bool
    """Whether a line ends between the token before and this one."""


def tokenize(source: str, pattern: re.Pattern[str], *, regexes: bool = False) -> list[Token]:
    """All tokens of a source text, with one of kind `end` behind them.

    Raises:
        ParseError: a character starts no token.
    """
    tokens: list[Token] = []
    at, after_newline = 0, False
    last = source.rfind("*/")  # known once, so that comments without an end cost no search each
    while at < len(source):
        if source.startswith("/*", at) and at + 2 <= last:
            start, at = at, source.index("*/", at + 2) + 2
            after_newline = after_newline or "\n" in source[start:at]
            continue
        found = None
        if regexes and source[at] == "/" and not _ends_operand(tokens):
            found = _REGEX.match(source, at)
        kind = "regex" if found else None
        if found is None:
            found = pattern.match(source, at)
            kind = found.lastgroup if found else None
        if found is None or kind is None:
            raise ParseError(f"{source[at]!r} at {at} starts no token")
        at = found.end()
        if kind == "blank":
            after_newline = after_newline or "\n" in found[0]
            continue
        tokens.append(Token(kind, found[0], found.start(), at, after_newline))
        after_newline = False
    return [*tokens, Token("end", "", len(source), len(source), True)]


def _ends_operand(tokens: Sequence[Token]) -> bool:
    """Whether a slash behind these tokens divides rather than opens a regular expression."""
    if not tokens:
        return False
    last = tokens[-1]
    return last.kind != "operator" or last.text in (")", "]", "}")


class Cursor:
    """A place among tokens, and the ways to move on."""

    def __init__(self, source: str, tokens: Sequence[Token]) -> None:
        self.source = source
        self._tokens = tokens
        self._at = 0
        self._missing = 0
        self.in_arguments = False
        """Whether the cursor is in the arguments of a call, where keywords may serve as names."""

    @property
    def token(self) -> Token:
        """The token at the cursor."""
        return self._tokens[self._at]

    @property
    def last_end(self) -> int:
        """Where the token before the cursor ends."""
        return self._tokens[self._at - 1].end if self._at else 0

    def ahead(self, count: int) -> Token:
        """The token `count` places further on, or the last one."""
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def advance(self) -> Token:
        """Step over the token at the cursor."""
        token = self.token
        if token.kind == "end":
            raise ParseError("the text ends too early")
        self._at += 1
        return token

    def take(self, *texts: str) -> Token | None:
        """Step over the token at the cursor if it is a word or operator of these."""
        return self.advance() if self.token.text in texts else None

    def expect(self, text: str) -> Token:
        """Step over a token that has to be there."""
        token = self.take(text)
        if token is None:
            raise ParseError(f"{self.token.text!r} at {self.token.start} in place of {text!r}")
        return token

    def close(self, text: str) -> Token | None:
        """Step over a closing bracket; None when it is missing and may be.

        The parser of the official scorer repairs one that is missing inside a call; so does this.
        """
        token = self.take(text)
        if token is None:
            self._missing += 1
            if self._missing > 1 or self.token.text not in (",", ")", "]", "}", ";"):
                self.expect(text)
        return token

    def attempt(self, parse: Callable[[], object]) -> bool:
        """Whether `parse` gets through from here; the cursor moves only if it does."""
        at, missing = self._at, self._missing
        try:
            parse()
        except ParseError:
            self._at, self._missing = at, missing
            return False
        return True

    @contextmanager
    def inside(self, arguments: bool) -> Generator[None]:
        """Set `in_arguments` for the time of a block of code."""
        before, self.in_arguments = self.in_arguments, arguments
        try:
            yield
        finally:
            self.in_arguments = before

    def skip_balanced(self, opening: str = "") -> None:
        """Step over a token; if it is a bracket, also over everything up to its end."""
        if opening and self.token.text != opening:
            self.expect(opening)
        depth = 0
        while True:
            token = self.advance()
            depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
            if depth == 0:
                return
