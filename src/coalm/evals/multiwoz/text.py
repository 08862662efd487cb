"""BLEU and diversity of delexicalised responses, as mwzeval computes them.

Responses are compared after placeholders have become kinds and Moses has tokenized and joined them
again (`plain`), because systems put their blanks in different places. The reference of a turn is
the human response with its annotated values replaced. mwzeval takes the annotation of MultiWOZ 2.2;
with that of 2.1, which the release holds, BLEU differs by up to 0.4.
"""

from __future__ import annotations

import importlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import NamedTuple

from coalm.errors import MissingExtraError
from coalm.evals.multiwoz.data import Turn
from coalm.evals.multiwoz.placeholders import rewrite

_ACT_SLOTS = {
    "addr": "address",
    "arrive": "arriveby",
    "depart": "departure",
    "dest": "destination",
    "fee": "entrancefee",
    "leave": "leaveat",
    "open": "openhours",
    "post": "postcode",
    "ticket": "price",
}
"""Slots of the dialogue act annotation that placeholders have another name for."""
_PUNCTUATION = re.compile(r"``|''|-lrb-|-rrb-|sym|[`'.,?!()%/\-_:;]", re.IGNORECASE)
_WINDOW = 50


class Diversity(NamedTuple):
    """How varied the words of a system are."""

    mean_words: float
    """Words per response."""
    words: int
    """Different words."""
    bigrams: int
    trigrams: int
    entropy: float
    """Of the words, in bits."""
    bigram_entropy: float
    """Of a word given the one before it, in bits."""
    msttr: float
    """Mean share of different words in windows of 50."""


def plain(response: str) -> str:
    """A response in the form in which texts are compared.

    Raises:
        MissingExtraError: sacremoses is not installed.
    """
    return _joined(rewrite(response))


@cache
def _joined(text: str) -> str:
    return _moses()(text)


@cache
def _moses() -> Callable[[str], str]:
    moses = _package("sacremoses")
    tokenize = moses.MosesTokenizer(lang="en").tokenize
    detokenize = moses.MosesDetokenizer(lang="en").detokenize
    return lambda text: detokenize(tokenize(text))


def reference(turn: Turn) -> str:
    """The human response with its annotated values as placeholders."""
    words = turn.system.split()
    parts: list[str] = []
    end = 0
    for span in sorted(turn.spans, key=lambda span: span.first):
        if span.first >= end and span.value != "dontcare":
            slot = span.slot.lower()
            parts += [*words[end : span.first], f"[{_ACT_SLOTS.get(slot, slot)}]"]
            end = span.last + 1
    return " ".join((*parts, *words[end:]))


def bleu(responses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU of plain responses, one reference each, 0 to 100.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    return float(_package("sacrebleu").corpus_bleu(responses, [references]).score)


def diversity(responses: Sequence[str]) -> Diversity:
    """Diversity of plain responses; n-grams do not reach from one response into the next."""
    texts = [_words(response) for response in responses]
    everything = [word for text in texts for word in text]
    words = Counter(everything)
    bigrams = Counter(pair for text in texts for pair in itertools.pairwise(text))
    trigrams = {three for t in texts for three in zip(t, t[1:], t[2:], strict=False)}
    total = len(everything)
    return Diversity(
        mean_words=total / max(len(texts), 1),
        words=len(words),
        bigrams=len(bigrams),
        trigrams=len(trigrams),
        entropy=-sum(n / total * math.log2(n / total) for n in words.values()),
        bigram_entropy=-sum(n / total * math.log2(n / words[a]) for (a, _), n in bigrams.items()),
        msttr=_msttr(everything),
    )


def _words(text: str) -> list[str]:
    # a blank at either end gives an empty word, which counts, as in the package lexical-diversity
    return re.sub(r"\s+", " ", _PUNCTUATION.sub("", text)).lower().split(" ")


def _msttr(words: Sequence[str]) -> float:
    if len(words) <= _WINDOW:
        return len(set(words)) / max(len(words), 1)
    starts = range(0, len(words) - _WINDOW + 1, _WINDOW)
    return sum(len(set(words[at : at + _WINDOW])) for at in starts) / _WINDOW / len(starts)


@cache
def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise MissingExtraError(name, "eval") from e
