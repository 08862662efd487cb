"""Training records to token ids and loss masks.

A row of a JSON-lines file is one of three things:

- a `Conversation` whose last message is the answer to learn, in the prompt format it names::

    {"id": "sgd-1_00000-2", "messages": [...], "tools": [...],
     "meta": {"format": "react", "skill": "CRA", "source": "sgd", "group": "1_00000"}}

- a chat: `{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", ...}]}`
- an Alpaca row: `{"instruction": "...", "input": "...", "output": "..."}`

A record that cannot teach anything (no token to learn, too long, not sayable in its format) is left
out, counted, and named with file and line; nothing is cut silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coalm import jsonl
from coalm.chat_template import Encoded, encode_dialogue, encode_sample
from coalm.errors import DataError, FormatError, TemplateError
from coalm.formats import AlpacaPrompt, get_format
from coalm.formats.base import one_turn
from coalm.types import ChatTurn, Conversation, Prompt, Role


class _ChatMessage(BaseModel):
    """A message of a plain chat; keys that say nothing to the model (`name`, ...) are ignored."""

    role: Role
    content: str

    @model_validator(mode="before")
    @classmethod
    def _without_calls(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("tool_calls"):
            raise ValueError(
                "a plain chat cannot say tool_calls; make the row a conversation with meta.format"
            )
        return value


_MESSAGES = TypeAdapter(list[_ChatMessage])


class Labels(NamedTuple):
    """Whose record it is."""

    id: str
    source: str
    """The data set it came from; the file's name where the record does not say."""
    skill: str
    """TOD, LA or CRA; the source where the record does not say."""
    group: str
    """Records of one file and one group share a long prefix (a dialogue, an instruction)."""


class TrainingSample(NamedTuple):
    """One record as the model sees it."""

    labels: Labels
    token_ids: Tensor
    """int32 [tokens]."""
    trainable: Tensor
    """bool [tokens]: whether the loss counts for the token; never for the first one."""

    @property
    def targets(self) -> int:
        """How many tokens the loss counts for."""
        return int(self.trainable.sum())


class Dropped(NamedTuple):
    """A record that is left out of training."""

    labels: Labels
    where: str
    """File and line."""
    reason: str


class Chat(NamedTuple):
    """What one row says, as turns."""

    turns: Prompt
    last_only: bool
    """Learn the last turn only, not every assistant turn."""


def read_samples(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, max_length: int, last_only: bool = False
) -> Iterator[TrainingSample | Dropped]:
    """Every record of a file, in order, as a sample or as a reason for having none.

    Args:
        path: JSON lines, may be gzipped.
        tokenizer: with the chat template to train with.
        max_length: tokens; a longer record is dropped, since its end is what it teaches.
        last_only: of a chat with several assistant turns learn only the last.

    Raises:
        DataError: the file cannot be read, or a row has none of the three shapes.
    """
    for number, row in jsonl.read(path):
        where = f"{path}:{number}"
        labels = read_labels(row, path, number)
        try:
            encoded = _encode(tokenizer, read_chat(row, where, last_only=last_only))
        except (FormatError, TemplateError) as e:
            yield Dropped(labels, where, f"cannot be rendered: {e}")
            continue
        if not any(encoded.trainable[1:]):
            yield Dropped(labels, where, "no token to learn")
        elif len(encoded.token_ids) > max_length:
            yield Dropped(labels, where, f"longer than {max_length} tokens")
        else:
            yield _sample(labels, encoded)


def read_labels(row: Mapping[str, Any], path: Path, number: int) -> Labels:
    """Whose record row `number` of `path` is."""
    meta = row.get("meta")
    if not isinstance(meta, dict):
        meta = {}
    record_id = str(row.get("id") or f"{path.name}:{number}")
    source = str(meta.get("source") or path.name)
    return Labels(
        id=record_id,
        source=source,
        skill=str(meta.get("skill") or source),
        # another file has the same dialogue under another schema, or nothing in common with this
        group=f"{path}:{meta.get('group') or row.get('id') or number}",
    )


def read_chat(row: Mapping[str, Any], where: str, *, last_only: bool = False) -> Chat:
    """The chat in one row, whichever of the three shapes it has.

    Raises:
        DataError: it has none of them.
        FormatError: a conversation that its prompt format cannot say.
    """
    if "messages" in row and "meta" in row:
        return _from_conversation(row, where)
    if "messages" in row:
        return _from_messages(row["messages"], where, last_only)
    if "instruction" in row and "output" in row:
        return _from_alpaca(row, where)
    raise DataError(
        f"{where}: not a training record: expected the keys messages, or instruction and output; "
        f"got {', '.join(row) or 'none'}"
    )


def _from_conversation(row: Mapping[str, Any], where: str) -> Chat:
    try:
        conversation = Conversation.model_validate(row)
    except ValidationError as e:
        raise DataError(f"{where}: not a conversation: {_first_fault(e)}") from e
    name = conversation.meta.get("format")
    if not isinstance(name, str):
        raise DataError(
            f"{where}: meta.format must name the prompt format of conversation "
            f"{conversation.id!r}, got {name!r}"
        )
    if not conversation.messages or conversation.messages[-1].role != "assistant":
        raise DataError(
            f"{where}: conversation {conversation.id!r} does not end with an assistant message, "
            "so it has no answer to learn"
        )
    *context, target = conversation.messages
    prompt_format = get_format(name)
    prompt = prompt_format.render(conversation.model_copy(update={"messages": tuple(context)}))
    return Chat((*prompt, ChatTurn("assistant", prompt_format.render_reply(target))), True)


def _from_messages(messages: Any, where: str, last_only: bool) -> Chat:
    try:
        read = _MESSAGES.validate_python(messages)
    except ValidationError as e:
        raise DataError(f"{where}: not a chat: {_first_fault(e, 'messages')}") from e
    return Chat(tuple(ChatTurn(message.role, message.content) for message in read), last_only)


def _from_alpaca(row: Mapping[str, Any], where: str) -> Chat:
    question = row.get("input")
    alpaca = AlpacaPrompt(row["instruction"], "" if question is None else question)
    texts = {**alpaca._asdict(), "output": row["output"]}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{where}: {key} must be a text, got {text!r:.40}")
    prompt = one_turn(alpaca) if alpaca.input else (ChatTurn("user", alpaca.instruction),)
    return Chat((*prompt, ChatTurn("assistant", row["output"])), True)


def _first_fault(error: ValidationError, *below: str) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, (*below, *first["loc"])))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


def _encode(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> Encoded:
    if not chat.last_only:
        return encode_dialogue(tokenizer, chat.turns)
    if chat.turns and chat.turns[-1].role == "assistant":
        return encode_sample(tokenizer, chat.turns[:-1], chat.turns[-1].content)
    unspoken = encode_dialogue(tokenizer, chat.turns)
    return unspoken._replace(trainable=[False] * len(unspoken.trainable))


def _sample(labels: Labels, encoded: Encoded) -> TrainingSample:
    trainable = torch.tensor(encoded.trainable)
    trainable[0] = False  # nothing comes before it that could predict it
    return TrainingSample(labels, torch.tensor(encoded.token_ids, dtype=torch.int32), trainable)


class SourceCount(NamedTuple):
    """What one source gives to the training of one skill."""

    samples: int = 0
    tokens: int = 0
    trainable: int = 0
    dropped: int = 0


def count_sources(
    samples: Iterable[TrainingSample], dropped: Iterable[Dropped]
) -> dict[tuple[str, str], SourceCount]:
    """(skill, source) to its counts, in order of appearance."""
    counts: dict[tuple[str, str], SourceCount] = {}
    for sample in samples:
        key = (sample.labels.skill, sample.labels.source)
        count = counts.get(key, SourceCount())
        counts[key] = count._replace(
            samples=count.samples + 1,
            tokens=count.tokens + len(sample.token_ids),
            trainable=count.trainable + int(sample.trainable.sum()),
        )
    for record in dropped:
        key = (record.labels.skill, record.labels.source)
        count = counts.get(key, SourceCount())
        counts[key] = count._replace(dropped=count.dropped + 1)
    return counts
