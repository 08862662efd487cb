"""A chat on the terminal: messages out, the user's lines in.

What models, tools and files say is untrusted. It is printed as plain text, never as markup, with
everything that could steer the terminal written out.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pydantic import JsonValue
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from coalm.cli.plain_text import one_line, visible
from coalm.types import Message, ToolCall

_LONGEST_RESULT = 3000
"""Characters of a tool's result that are shown; the session file holds all of them."""


class Screen:
    """Shows messages and reads lines; at a terminal with colours and a sign of waiting."""

    def __init__(self, console: Console | None = None, *, interactive: bool | None = None) -> None:
        self.interactive = sys.stdin.isatty() if interactive is None else interactive
        """Whether a person sits there; if not, what is read is printed, as a person sees it."""
        self._console = console or Console(highlight=False)
        self._status = self._console.status(Text("...", style="dim"))
        if self.interactive:
            with suppress(ImportError):
                # lines can be edited and recalled as soon as this module is loaded
                importlib.import_module("readline")

    def read(self, prompt: str) -> str | None:
        """The next line without its end; None when there are no more."""
        self._status.stop()
        try:
            line = input(prompt)
        except EOFError:
            self._console.print()
            return None
        if not self.interactive:
            self._print(Text(visible(line)))
        return line

    def result_of(self, tool: str) -> Callable[..., str]:
        """A tool's function that asks the user what the result is."""

        def ask(**arguments: JsonValue) -> str:
            answer = self.read(f"Result of {one_line(tool)}: ")
            if answer is None:
                # leaving the question leaves the turn
                raise KeyboardInterrupt
            return answer

        return ask

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show that something goes on; at a terminal only."""
        if self.interactive:
            self._status.start()
        try:
            yield
        finally:
            self._status.stop()

    def note(self, text: str) -> None:
        """A remark of the program."""
        self._print(Text(visible(text), style="dim"))

    def problem(self, text: str) -> None:
        """Something that went wrong, on one line."""
        self._print(Text(one_line(text), style="red"))

    def message(self, message: Message) -> None:
        """One message of the conversation, of whatever role."""
        if message.role == "tool":
            self._box("result", _result_text(message.content), "green")
            return
        if message.thought is not None:
            self._print(Text(f"Thought: {visible(message.thought)}", style="dim italic"))
        if message.content or not message.tool_calls:
            name = {"assistant": "Assistant", "user": "You", "system": "System"}[message.role]
            words = visible(message.content) or "(no words)"
            self._print(Text.assemble((f"{name}: ", "bold"), words))
        for call in message.tool_calls:
            self._call(call)

    def _print(self, text: Text) -> None:
        # words are kept whole at a terminal; a file gets the lines as they are
        self._console.print(text, soft_wrap=not self._console.is_terminal)

    def _call(self, call: ToolCall) -> None:
        if call.error is not None:
            self._box("unreadable call", call.raw or "", "red")
        else:
            lines = (f"{k} = {_json(v)}" for k, v in call.arguments.items())
            self._box(call.name, "\n".join(lines), "cyan")

    def _box(self, title: str, body: str, style: str) -> None:
        panel = Panel(
            Text(visible(body)),
            title=Text(one_line(title)),
            title_align="left",
            border_style=style,
            expand=False,
        )
        self._console.print(Padding(panel, (0, 0, 0, 2), expand=False))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _result_text(content: str) -> str:
    """A tool's result, JSON laid out over lines, and not more than a screen can hold."""
    with suppress(ValueError, RecursionError):
        content = json.dumps(json.loads(content), ensure_ascii=False, indent=1)
    left_out = len(content) - _LONGEST_RESULT
    return f"{content[:_LONGEST_RESULT]}\n... {left_out} more" if left_out > 0 else content
