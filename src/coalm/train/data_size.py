"""How much there is to learn from, counted before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from transformers import PreTrainedTokenizerBase

from coalm import jsonl
from coalm.chat_template import load_tokenizer
from coalm.engines.named import resolve_model
from coalm.errors import CoalmError, ConfigError, FormatError
from coalm.train.config import TrainConfig
from coalm.train.dataset import Dropped, read_chat, read_labels, read_samples

_CHARACTERS = 4
"""Characters of English in a token, where the tokenizer is out of reach."""
_PAPER_SAMPLES = 311_583
_PAPER_TOKENS = 211_184_321
"""Size of CoALM-IT (arXiv 2502.08820, table 1)."""
_LEARNED = 10
"""Of so many tokens at most one is to be learned, where no sample can be looked at."""


Tokens: TypeAlias = tuple[int, ...] | str
"""A sample as token ids, or as text for want of a tokenizer."""


class DataSize(NamedTuple):
    """What one epoch reads."""

    samples: int
    tokens: int
    shared: int | None
    """Tokens that are left when each common beginning of a group counts once; None if unknown."""
    longest: int
    """Tokens of the longest sample."""
    learned: int
    """Most tokens to learn in one sample."""
    origin: str
    """How these numbers were found."""


class _Record(NamedTuple):
    group: str
    sequence: Tokens
    learned: int


def measure_data(config: TrainConfig, limit: int) -> DataSize:
    """Count the training data of `config`; samples of more than `limit` tokens are left out.

    Without the model's tokenizer, tokens are estimated from characters; without the data, the
    published size of CoALM-IT stands in. `origin` says so.

    Raises:
        DataError: a data file is damaged.
    """
    try:
        config.data.train.require("data.train")
    except ConfigError as e:
        return DataSize(
            *(_PAPER_SAMPLES, _PAPER_TOKENS, None, limit, limit // _LEARNED),
            f"the size of CoALM-IT as published ({e})",
        )
    try:
        path = resolve_model(config.model.model_name)
        tokenizer = load_tokenizer(path, config.model.chat_template)
    except CoalmError:
        return _count(_texts(config), limit, _CHARACTERS, "estimated, four characters a token")
    return _count(_tokens(config, tokenizer), limit, 1, "counted with the model's tokenizer")


def shared_length(sequences: Iterable[Tokens]) -> int:
    """Length of the prefix tree over `sequences`: every common beginning counts once."""
    total = 0
    before: Tokens = ""
    for sequence in sorted(sequences):  # neighbours in order share the longest beginnings
        total += len(sequence) - _common(before, sequence)
        before = sequence
    return total


def _common(one: Tokens, other: Tokens) -> int:
    """Length of the common beginning, by halves: slices are compared at the speed of C."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _tokens(config: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> Iterator[_Record]:
    for dataset in config.data.train.datasets:
        if dataset.dataset_path is None:
            continue
        for found in read_samples(dataset.dataset_path, tokenizer, max_length=2**31):
            if not isinstance(found, Dropped):
                ids = tuple(found.token_ids.tolist())
                yield _Record(found.labels.group, ids, int(found.trainable.sum()))


def _texts(config: TrainConfig) -> Iterator[_Record]:
    """The same in characters, for want of a tokenizer."""
    for dataset in config.data.train.datasets:
        if (path := dataset.dataset_path) is None:
            continue
        for number, row in jsonl.read(path):
            try:
                chat = read_chat(row, f"{path}:{number}")
            except FormatError:
                continue
            said = [turn.content for turn in chat.turns if turn.role == "assistant"]
            learned = sum(map(len, said[-1:] if chat.last_only else said))
            text = "\n".join(turn.content for turn in chat.turns)
            yield _Record(read_labels(row, path, number).group, text, learned)


def _count(records: Iterable[_Record], limit: int, unit: int, origin: str) -> DataSize:
    """Add up records whose sequences hold `unit` elements a token."""
    by_group = attrgetter("group")
    kept = sorted((one for one in records if len(one.sequence) <= limit * unit), key=by_group)
    if not kept:
        return DataSize(0, 0, 0, 0, 0, origin)
    groups = (members for _, members in groupby(kept, key=by_group))
    return DataSize(
        samples=len(kept),
        tokens=sum(len(one.sequence) for one in kept) // unit,
        shared=sum(shared_length(one.sequence for one in members) for members in groups) // unit,
        longest=max(len(one.sequence) for one in kept) // unit,
        learned=-(-max(one.learned for one in kept) // unit),
        origin=origin,
    )
