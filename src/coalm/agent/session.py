"""Chat sessions on disk: a session is a conversation, and its file one line of JSON.

The file is replaced as a whole and at once, so that a process killed at any moment leaves the last
saved state. It has the form of every other conversation file of coalm.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from coalm import jsonl
from coalm.errors import DataError
from coalm.types import Conversation

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
