"""A conversation under way with an agent, and sessions on disk.

::

    session = AgentSession(engine, toolbox, path=Path("talk.jsonl"))
    print(session.send("Find me a train to Oslo").text)

A session's file is the conversation in one line of JSON. It is replaced as a whole and at once, so
that a process killed at any moment leaves the last saved state. It has the form of every other
conversation file of coalm.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from coalm import jsonl
from coalm.agent.react import (
    LIMITS,
    Limits,
    StopReason,
    Watcher,
    end_turn,
    stop_reason,
    user_turn,
)
from coalm.agent.rollout import run_one
from coalm.engines.base import Engine, SamplingParams
from coalm.errors import CoalmError, DataError
from coalm.formats import get_format
from coalm.formats.base import DialogueFormat
from coalm.tools import Toolbox, coroutines_on, in_thread
from coalm.types import Conversation, Message

SUFFIX = ".jsonl"


class SessionFile(NamedTuple):
    """A saved session, for lists."""

    path: Path
    messages: int
    opening: str
    """What the user said first; empty if nothing was said yet."""


def save_session(path: Path, conversation: Conversation) -> None:
    """Write the conversation to `path`, in place of what was there.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        jsonl.write(path, [conversation.model_dump(mode="json", exclude_defaults=True)])
    except OSError as e:
        raise DataError(f"session {path} cannot be written: {e.strerror or e}") from e


def load_session(path: Path) -> Conversation:
    """Read the conversation that was saved to `path`.

    Raises:
        DataError: the file is missing, or does not hold exactly one conversation.
    """
    rows = list(jsonl.read(path))
    if len(rows) != 1:
        raise DataError(f"{path}: a session file holds one conversation, this one {len(rows)}")
    try:
        return Conversation.model_validate(rows[0][1])
    except ValidationError as e:
        problem = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{path}: not a conversation: {where}: {problem['msg']}") from e


def list_sessions(folder: Path) -> list[SessionFile]:
    """The sessions of a folder, the one saved last first; other files are passed over."""
    files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime, reverse=True)
    found: list[SessionFile] = []
    for path in files:
        try:
            conversation = load_session(path)
        except DataError:
            continue
        said = (message.content for message in conversation.messages if message.role == "user")
        found.append(SessionFile(path, len(conversation.messages), next(said, "")))
    return found


class Answer(NamedTuple):
    """How a turn went."""

    text: str
    """The reply; empty if the turn ended without one."""
    stop: str | None
    """Why it ended without a whole reply (`max_steps`, ...); None if it did not."""
    messages: tuple[Message, ...]
    """What the turn added: calls, results, the reply."""


class AgentSession:
    """Holds a conversation and answers in it, one turn at a time, with tools."""

    def __init__(
        self,
        engine: Engine,
        toolbox: Toolbox | None = None,
        *,
        prompt_format: DialogueFormat | str = "react",
        params: SamplingParams | None = None,
        limits: Limits = LIMITS,
        conversation: Conversation | None = None,
        path: Path | None = None,
        watch: Watcher = lambda conversation: None,
    ) -> None:
        """Nothing is asked or written before the first turn.

        Args:
            engine: Answers the prompts. Sessions in several threads share one through
                `SharedEngine`.
            toolbox: What the model can call; None is nothing.
            prompt_format: How the model reads and answers.
            params: How to draw tokens; the format's stop texts are added.
            limits: When a turn ends without a reply.
            conversation: Goes on with it; the tools on offer become those of `toolbox`.
            path: Session file, written after every message.
            watch: Called with the conversation after every message and at the end of a turn.
        """
        self.toolbox = toolbox or Toolbox(())
        self.limits = limits
        self.path = path
        self.watch = watch
        self.conversation = (conversation or Conversation(id="chat")).model_copy(
            update={"tools": self.toolbox.schemas}
        )
        self._engine = engine
        named = isinstance(prompt_format, str)
        self._format = get_format(prompt_format) if named else prompt_format
        drawn = params or SamplingParams()
        stop = tuple(dict.fromkeys((*self._format.stop, *drawn.stop)))
        self._params = drawn.model_copy(update={"stop": stop})
        self._turn = threading.Lock()

    def send(self, text: str) -> Answer:
        """Say `text` to the agent and wait for what it says and does.

        Raises:
            CoalmError: the engine failed, or the session file cannot be written; the turn is ended
                as `error` then.
            KeyboardInterrupt: the turn is ended as `interrupted`.
        """
        return self._send(text, threading.Event())

    def resume(self) -> Answer:
        """Finish a turn that was cut off (see `is_open`); raises as `send`."""
        with self._turn:
            return self._answer(threading.Event())

    async def asend(self, text: str) -> Answer:
        """`send` for an event loop, which stays free; coroutine tools run on it.

        When the task is cancelled, the turn is ended as `interrupted` at its next message.
        """
        loop, abandoned = asyncio.get_running_loop(), threading.Event()

        def work() -> Answer:
            with coroutines_on(loop):
                return self._send(text, abandoned)

        try:
            return await asyncio.wrap_future(in_thread(work))
        except asyncio.CancelledError:
            abandoned.set()
            raise

    def _send(self, text: str, abandoned: threading.Event) -> Answer:
        with self._turn:
            asked = self.conversation.extended(Message(role="user", content=text))
            self._keep(asked)
            return self._answer(abandoned)

    def _answer(self, abandoned: threading.Event) -> Answer:
        def added(conversation: Conversation) -> None:
            self._keep(conversation)
            if abandoned.is_set():
                raise _AbandonedError

        before = len(self.conversation.messages)
        rollout = user_turn(self.conversation, self._format, self.toolbox, self.limits, added)
        try:
            self._keep(run_one(rollout, self._engine, self._params))
        except (KeyboardInterrupt, _AbandonedError):
            self._end("interrupted")
            raise
        except CoalmError as e:
            self._end("error", str(e))
            raise
        last = self.conversation.messages[-1]
        reply = last.content if last.role == "assistant" and not last.tool_calls else ""
        messages = self.conversation.messages[before:]
        return Answer(reply, stop_reason(self.conversation), messages)

    def _end(self, reason: StopReason, detail: str | None = None) -> None:
        self._keep(end_turn(self.conversation, reason, detail))

    def _keep(self, conversation: Conversation) -> None:
        if conversation is self.conversation:
            return
        self.conversation = conversation
        if self.path is not None:
            save_session(self.path, conversation)
        self.watch(conversation)


class _AbandonedError(Exception):
    """Nobody waits for the turn any more."""
