"""Lines and samples of a built training file, for the benchmarks of training."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from coalm.chat_template import load_tokenizer
from coalm.engines.gguf import base_model
from coalm.train.dataset import TrainingSample, read_samples

Groups = dict[tuple[str, str], list[str]]


def read_groups(path: Path) -> Groups:
    """The lines of a file by source and group."""
    groups: Groups = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            # `meta` is the last key of a line; what comes before it is long
            meta = json.loads(line.rpartition('"meta":')[2].strip()[:-1])
            groups[meta["source"], meta["group"]].append(line)
    return groups


def keys_of(groups: Groups, source: str) -> list[tuple[str, str]]:
    """The groups of one source, always in the same order."""
    return sorted(key for key in groups if key[0] == source)


@cache
def _tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(base_model())


def encode(lines: Iterable[str], length: int) -> list[TrainingSample]:
    """Samples of at most so many tokens of SmolLM2."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        found = read_samples(Path(file.name), _tokenizer(), max_length=length)
        return [sample for sample in found if isinstance(sample, TrainingSample)]
