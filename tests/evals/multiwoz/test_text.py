from __future__ import annotations

import importlib
import math

import pytest

from coalm.errors import MissingExtraError
from coalm.evals.multiwoz import text
from coalm.evals.multiwoz.data import Corpus
from coalm.evals.multiwoz.text import bleu, diversity, plain, reference


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("The [hotel_name] 's phone is [hotel_phone] .", "the NAME 's phone is PHONE."),
        ("it 's [value_pricerange] -ly priced , sir !", "it 's PRICE priced, sir!"),
        ("two guesthouse -s", "two guesthouse"),
        ("A&B | C", "a & b | c"),
    ],
)
def test_texts_are_joined_in_one_way(response: str, expected: str) -> None:
    assert plain(response) == expected


def test_spans_become_placeholders(corpus: Corpus) -> None:
    turn = corpus.dialogues["mul0001"].turns[2]
    assert reference(turn) == "[name] , [postcode] ."
    overlap = turn._replace(spans=[*turn.spans, turn.spans[0]._replace(slot="Addr", first=1)])
    assert reference(overlap) == "[name] , [postcode] ."


def test_bleu_is_that_of_the_corpus() -> None:
    assert bleu(["a b c d e", "f g h i"], ["a b c d e", "f g h i"]) == pytest.approx(100)
    assert bleu(["a b c d x", "y"], ["a b c d e", "f"]) == pytest.approx(63.89, abs=0.01)


def test_diversity_of_a_small_text() -> None:
    found = diversity(["a b a b.", "a c"])
    assert (found.mean_words, found.words, found.bigrams, found.trigrams) == (3.0, 3, 3, 2)
    # a a a b b c; ab twice, ba, ac: after a comes b by 2/3 and c by 1/3, after b comes a by 1/2
    assert found.entropy == pytest.approx(0.5 * 1 + 1 / 3 * math.log2(3) + 1 / 6 * math.log2(6))
    chances = 2 / 6 * math.log2(2 / 3) + 1 / 6 * math.log2(1 / 2) + 1 / 6 * math.log2(1 / 3)
    assert found.bigram_entropy == pytest.approx(-chances)
    assert found.msttr == pytest.approx(0.5)


def test_windows_of_fifty_words() -> None:
    words = " ".join(["x"] * 50 + [str(n) for n in range(50)] + ["left", "over"])
    assert diversity([words]).msttr == pytest.approx((1 / 50 + 1) / 2)


@pytest.mark.parametrize(
    ("package", "run"),
    [("sacremoses", lambda: plain("a text never seen")), ("sacrebleu", lambda: bleu(["a"], ["a"]))],
)
def test_a_missing_package_is_named(
    package: str, run: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> None:
        raise ImportError(name)

    for function in (text._package, text._moses):
        function.cache_clear()
    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'coalm\[eval\]'"):
        run()  # type: ignore[operator]
    monkeypatch.undo()
    for function in (text._package, text._moses):
        function.cache_clear()
