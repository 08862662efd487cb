"""What `coalm infer --input` reads: one prompt per row of a JSON-lines file, in three forms.

::

    {"id": "a", "messages": [{"role": "user", "content": "..."}], "tools": [{"name": "F", ...}]}
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function":
        {"name": "F", "arguments": "{}"}}]}, ...], "tools": [{"type": "function", "function": ...}]}
    {"prompt": "words that the model gets as they are"}

The first is a `Conversation`, the second OpenAI's form; keys of a row that say something else are
passed over. A row that cannot be asked is one question with a fault, so that every row keeps its
place.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from coalm.errors import DataError, FormatError
from coalm.formats import PromptFormat
from coalm.types import ChatTurn, Conversation, Prompt

_PASSED_OVER = ("annotations", "refusal")
"""Keys of messages that OpenAI's clients send back and that say nothing to a model."""


class Question(NamedTuple):
    """One row of the input."""

    place: int
    """Index among the rows; blank lines are none."""
    id: str
    """The row's own, else its line number."""
    prompt: Prompt
    fault: str = ""
    """`file:line: what is wrong`, where the row cannot be asked."""


def read_questions(path: Path, prompt_format: PromptFormat) -> Iterator[Question]:
    """The rows of a .jsonl or .jsonl.gz file.

    Raises:
        DataError: the file cannot be read.
    """
    place = 0
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        row_id = str(number)
        try:
            row = _row(line)
            row_id = str(row.get("id", number))
            yield Question(place, row_id, _prompt(row, row_id, prompt_format))
        except (DataError, FormatError) as e:
            yield Question(place, row_id, (), f"{path}:{number}: {e}")
        place += 1


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except (OSError, EOFError) as e:
        raise DataError(f"{path}: cannot be read: {e}") from e


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON: {e}") from e
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, got {type(row).__name__}")
    return row


def _prompt(row: Mapping[str, Any], row_id: str, prompt_format: PromptFormat) -> Prompt:
    text = row.get("prompt")
    if isinstance(text, str) and "messages" not in row:
        return (ChatTurn("user", text),)
    conversation = read_conversation(row, row_id)
    for error in (c.error for message in conversation.messages for c in message.tool_calls):
        if error is not None:
            raise DataError(f"messages: {error}")
    return prompt_format.render(conversation)


def read_conversation(row: Mapping[str, Any], row_id: str) -> Conversation:
    """The conversation of a row of the first or second form.

    A call whose arguments are not JSON is one with an `error`.

    Raises:
        DataError: it is none; the message begins with the key at fault.
    """
    if not isinstance(row.get("messages"), list):
        raise DataError("a row has a list `messages` or a text `prompt`")
    plain = {
        "id": row_id,
        "messages": [_message(message) for message in row["messages"]],
        "tools": _tools(row.get("tools")),
    }
    try:
        return Conversation.model_validate(plain)
    except ValidationError as e:
        problem = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{where}: {problem['msg']}") from e


def _message(message: Any) -> Any:
    """One message in our form; what is of neither form is left for the check that follows."""
    if not isinstance(message, dict):
        return message
    plain = {key: value for key, value in message.items() if value is not None}
    for key in _PASSED_OVER:
        plain.pop(key, None)
    if (thought := plain.pop("reasoning_content", None)) is not None:
        plain.setdefault("thought", thought)
    if plain.get("role") == "developer":
        plain["role"] = "system"
    if isinstance(content := plain.get("content"), list):
        # only texts: a picture would go missing without a word
        plain["content"] = "".join(_text(part) for part in content)
    if isinstance(calls := plain.get("tool_calls"), list):
        plain["tool_calls"] = [_call(call) for call in calls]
    return plain


def _text(part: Any) -> str:
    if isinstance(part, dict) and isinstance(text := part.get("text"), str):
        return text
    raise DataError(f"messages: content that is not text: {json.dumps(part)[:60]}")


def _call(call: Any) -> Any:
    if not isinstance(call, dict) or not isinstance(function := call.get("function"), dict):
        return call
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as e:
            error = f"arguments of a call are not JSON: {e}"
            return {"raw": arguments, "error": error, "id": call.get("id")}
    return {"name": function.get("name"), "arguments": arguments, "id": call.get("id")}


def _tools(tools: Any) -> list[Any]:
    """The schemas without OpenAI's wrapping; tables keep such lists as JSON text."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as e:
            raise DataError(f"tools: not JSON: {e}") from e
    if not isinstance(tools, list | None):
        raise DataError(f"tools: expected a list, got {json.dumps(tools)[:60]}")
    return [t["function"] if isinstance(t, dict) and "function" in t else t for t in tools or ()]
