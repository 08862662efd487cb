"""Reading an answer while it is written: what is certain of it goes on at once.

A reader is fed the text of one answer in pieces of any size. What it gives back depends on the
text alone, not on where the pieces end; a text that `PromptFormat.parse` reads without an error
comes to the same message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol

from coalm.formats.text import well_formed, write_json
from coalm.types import Message


class Delta(NamedTuple):
    """Something more of a message."""

    kind: Literal["thought", "content", "call", "arguments"]
    text: str
    """More of the thought or the reply; the name of a further call; more of its arguments as JSON.

    A call that breaks off, or that goes on with something unreadable, ends with the text as the
    model wrote it, so its arguments are no JSON then. What stands for a call and is none is reply.
    """


class Reader(Protocol):
    """Reads one answer."""

    def feed(self, text: str) -> Iterator[Delta]:
        """What is certain after a further piece of text."""
        ...

    def end(self) -> Iterator[Delta]:
        """What is left when the answer is complete, or was cut off."""
        ...


class PlainReader:
    """Takes every text as the reply that it is."""

    def feed(self, text: str) -> Iterator[Delta]:
        """See `Reader.feed`."""
        if text:
            yield Delta("content", well_formed(text))

    def end(self) -> Iterator[Delta]:
        """See `Reader.end`."""
        return iter(())


class HeldReader:
    """Reads formats whose calls can be told from prose only when the answer is complete.

    Prose goes on at once, up to the first line that could belong to calls.
    """

    def __init__(self, parse: Callable[[str], Message], signs: str) -> None:
        """A reader of one answer.

        Args:
            parse: Of the format.
            signs: Characters that a line which belongs to calls can begin with.
        """
        self._parse = parse
        self._call_line = re.compile(rf"^[{re.escape(signs)}]", re.MULTILINE)
        self._text = ""
        self._given = 0
        self._holds = False

    def feed(self, text: str) -> Iterator[Delta]:
        """See `Reader.feed`."""
        self._text = (self._text + well_formed(text)).lstrip()
        if self._holds:
            return
        # a line that ends the text has not shown its first character yet, or is given up to here
        line = self._text.rfind("\n", 0, self._given) + 1
        found = self._call_line.search(self._text, line)
        self._holds = found is not None
        yield from self._give(self._text[: found.start() if found else None].rstrip())

    def end(self) -> Iterator[Delta]:
        """See `Reader.end`."""
        message = self._parse(self._text)
        bad = [call.raw or "" for call in message.tool_calls if call.error is not None]
        yield from self._give("\n".join(filter(None, (message.content, *bad))))
        for call in message.tool_calls:
            if call.error is None:
                yield Delta("call", call.name)
                yield Delta("arguments", write_json(call.arguments))

    def _give(self, content: str) -> Iterator[Delta]:
        if more := content[self._given :]:
            self._given = len(content)
            yield Delta("content", more)
