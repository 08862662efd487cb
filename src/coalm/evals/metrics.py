"""How alike two texts are: ROUGE-1, -2, -L and BLEU-4 as LLaMA-Factory's evaluation has them.

Published API-Bank figures come from its class `ComputeSimilarity` (llamafactory 0.8.3 to 0.9.5,
`llamafactory/train/sft/metric.py`), which has habits no textbook has: words come from the Chinese
segmenter jieba, so every punctuation sign is a word; ROUGE-1 and -2 compare sets and ROUGE-L lists;
BLEU counts characters. Scores are percentages, rounded to 4 places per pair::

    >>> text_likeness("[]", '[{"name": "f"}]')
    TextLikeness(rouge_1=40.0, rouge_2=0.0, rouge_l=30.7692, bleu_4=0.0532)

ROUGE is written out here instead of calling rouge-chinese (1.0.3, whose rule it is): that package
fills a table of prediction x label words in Python, and a long prediction would take all memory.
"""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import ModuleType
from typing import NamedTuple

from coalm.errors import MissingExtraError

MAX_CHARS = 20_000
"""What is longer is cut before it is scored: jieba needs quadratic time for text in Chinese signs,
and no answer to a benchmark comes near."""

_SENTENCE_END = re.compile(r"([。！？?])([^”’])")
_SIX_DOTS = re.compile(r"(\.{6})([^”’])")


class TextLikeness(NamedTuple):
    """The four scores of one prediction, 0 to 100."""

    rouge_1: float
    rouge_2: float
    rouge_l: float
    bleu_4: float


def text_likeness(prediction: str, label: str) -> TextLikeness:
    """Score `prediction` against `label`; nothing is stripped or lower-cased.

    Raises:
        MissingExtraError: jieba or nltk is not installed.
    """
    prediction, label = prediction[:MAX_CHARS], label[:MAX_CHARS]
    bleu_4 = _percent(_bleu_4(prediction, label))
    said, wanted = words(prediction), words(label)
    if not any(said) or not any(wanted):
        return TextLikeness(0.0, 0.0, 0.0, bleu_4)
    return TextLikeness(
        rouge_1=_percent(_rouge_n(said, wanted, 1)),
        rouge_2=_percent(_rouge_n(said, wanted, 2)),
        rouge_l=_percent(_f_measure(_common_length(said, wanted), len(said), len(wanted))),
        bleu_4=bleu_4,
    )


def words(text: str) -> list[str]:
    """The words that ROUGE compares, an empty one for each line of blanks.

    jieba's words are joined by blanks, broken into lines at newlines and after sentence signs, and
    split at white space. A line of blanks counts as one empty word, as in rouge-chinese; the end of
    the text is trimmed, its start is not.
    """
    joined = " ".join(_cutter()(text))
    for sentence_end in (_SENTENCE_END, _SIX_DOTS):
        joined = sentence_end.sub(r"\1\n\2", joined)
    found: list[str] = []
    for line in joined.rstrip().split("\n"):
        if line:
            found.extend(line.split() or [""])
    return found


def _percent(share: float) -> float:
    return round(share * 100, 4)


def _rouge_n(said: Sequence[str], wanted: Sequence[str], size: int) -> float:
    ours, theirs = _ngrams(said, size), _ngrams(wanted, size)
    return _f_measure(len(ours & theirs), len(ours), len(theirs))


def _ngrams(tokens: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)}


def _f_measure(common: int, said: int, wanted: int) -> float:
    precision = common / said if said else 0.0
    recall = common / wanted if wanted else 0.0
    # the constant is rouge-chinese's
    return 2 * precision * recall / (precision + recall + 1e-8)


def _common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, by bit rows (Hyyro 2004): O(len(b)) additions.

    Bit i of `row` is 0 where the optimum grows by one at the i-th word of `a`.
    """
    places: dict[str, int] = {}
    for at, token in enumerate(a):
        places[token] = places.get(token, 0) | (1 << at)
    full = row = (1 << len(a)) - 1
    for token in b:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(a) - row.bit_count()


def _bleu_4(prediction: str, label: str) -> float:
    bleu = _package("nltk.translate.bleu_score")
    smooth = bleu.SmoothingFunction().method3
    return float(bleu.sentence_bleu([list(label)], list(prediction), smoothing_function=smooth))


@cache
def _cutter() -> Callable[[str], Iterable[str]]:
    """How jieba cuts text with its own dictionary, which is loaded once (half a second).

    The dictionary is read straight from the package. The start-up of jieba would keep a copy in the
    shared temporary folder and trust whatever lies there.
    """
    jieba = _package("jieba")
    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter.cut


@cache
def _package(name: str) -> ModuleType:
    """A package of the extra `eval`, imported without the warnings of old code in it.

    jieba 0.42 uses pkg_resources and has escape sequences that Python 3.12 objects to.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as e:
        raise MissingExtraError(name.partition(".")[0], "eval") from e
