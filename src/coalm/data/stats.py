"""Figures of data files: how many samples of each kind, and how long they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from coalm import jsonl
from coalm.data.base import SPLITS, Watch
from coalm.data.files import first_fault
from coalm.data.tally import Kind, Rows, Tally
from coalm.errors import DataError
from coalm.formats import get_format
from coalm.types import Conversation, Prompt

CountTokens = Callable[[Prompt, str], int]
"""How many tokens a prompt and the reply to it are together."""


class Published(NamedTuple):
    """One row of table 1 of the paper (arXiv 2502.08820)."""

    samples: int
    each: float
    """Tokens of a sample, on average."""


PAPER = {
    "snips": Published(13_028, 942.49),
    "sgd": Published(82_236, 726.02),
    "hammer": Published(202_500, 637.04),
    "toolace": Published(13_819, 738.05),
}
"""By source. The paper has the names of the last two the other way round: 202,500 rows are three
passes over xLAM's 60,000 and 7,500 irrelevant ones, which is Hammer's recipe."""


class Counted(NamedTuple):
    """The figures of a data set, with its tokens."""

    tokenizer: str
    """Whose tokens were counted."""
    rows: Sequence[Rows]


def data_files(path: Path) -> list[Path]:
    """The conversation files that a path stands for: itself, or those of a built data set.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        return [path]
    found = [path / f"{split}.jsonl" for split in SPLITS if (path / f"{split}.jsonl").is_file()]
    if not found:
        raise DataError(f"{path}: no file, and no folder with {SPLITS[0]}.jsonl in it")
    return found


def read_samples(path: Path) -> Iterator[Conversation]:
    """The samples of one file.

    Raises:
        DataError: the file cannot be read, or a line is no sample (file:line named).
    """
    for number, row in jsonl.read(path):
        yield sample_of(row, f"{path}:{number}")


def sample_of(row: Mapping[str, Any], where: str) -> Conversation:
    """A row of a file as a sample.

    Raises:
        DataError: it is none; `where` is named.
    """
    try:
        conversation = Conversation.model_validate(row)
    except ValidationError as e:
        raise DataError(f"{where}: not a conversation: {first_fault(e)}") from e
    if not conversation.messages or conversation.messages[-1].role != "assistant":
        raise DataError(f"{where}: not a sample: it does not end with the assistant")
    return conversation


def split_of(file: Path) -> str:
    """The split that a file holds, by its name."""
    return file.name.removesuffix(".gz").removesuffix(".jsonl")


def render_sample(conversation: Conversation) -> tuple[Prompt, str]:
    """Prompt and reply of a sample, as it is trained on.

    Raises:
        FormatError: its format is unknown or cannot say it.
    """
    prompt_format = get_format(str(conversation.meta.get("format")))
    *context, target = conversation.messages
    prompt = prompt_format.render(conversation.model_copy(update={"messages": tuple(context)}))
    return prompt, prompt_format.render_reply(target)


def statistics(
    path: Path,
    count_tokens: CountTokens | None = None,
    watch: Watch = lambda _split, _samples: None,
) -> list[Rows]:
    """Figures by split (file name), source, skill and format, sorted by these.

    Raises:
        DataError: a file cannot be read or holds something else.
    """
    tally = Tally()
    for file in data_files(path):
        split = split_of(file)
        for conversation in read_samples(file):
            watch(split, 1)
            prompt, reply = render_sample(conversation)
            names = [str(conversation.meta.get(key, "")) for key in ("source", "skill", "format")]
            tally.add(
                Kind(split, *names),
                sum(len(turn.content) for turn in prompt),
                len(reply),
                count_tokens(prompt, reply) if count_tokens else None,
            )
    return tally.rows()
