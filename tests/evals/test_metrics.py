from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalm.errors import MissingExtraError
from coalm.evals import metrics
from coalm.evals.metrics import TextLikeness, text_likeness, words

LABEL = '```\n[{"name": "GetToday", "arguments": {}}]\n```'


@pytest.mark.parametrize(
    ("prediction", "label", "expected"),
    [
        (LABEL, LABEL, (100, 100, 100, 100)),
        ("", LABEL, (0, 0, 0, 0)),
        (" \n", LABEL, (0, 0, 0, 0)),
        ("abc", " ", (0, 0, 0, 0)),
        ("", "", (0, 0, 0, 0)),
        ("qqq", LABEL, (0, 0, 0, 0)),
        # the fence that is missing costs words in every score
        (LABEL.strip("`\n"), LABEL, (95.2381, 91.4286, 85.7143, 81.4543)),
        # given twice: nothing new for the sets, half of the list is too much
        (LABEL + LABEL, LABEL, (100, 100, 66.6667, 49.1779)),
        # case counts
        ("Abc", "abc", (0, 0, 0, 45.1801)),
    ],
)
def test_pairs_scored_by_rouge_chinese_1_0_3_and_nltk_3_10_4(
    prediction: str, label: str, expected: tuple[float, ...]
) -> None:
    assert text_likeness(prediction, label) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("new_date", ["new", "_", "date"]),
        ("2023-03-26 3.50 15%", ["2023", "-", "03", "-", "26", "3.50", "15%"]),
        ("```", ["`", "`", "`"]),
        ("a\nb", ["a", "b"]),
        ("a\n\nb", ["a", "", "b"]),
        ("a?\nb", ["a", "?", "", "b"]),
        ("\n\na", ["", "a"]),
        ("a\n\n", ["a"]),
        ("a。b", ["a", "。", "b"]),
        ("......\nb", ["......", "", "b"]),
        ("北京大学", ["北京大学"]),
        (" \n ", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_a_text_of_blank_lines_only_has_no_words() -> None:
    assert text_likeness("\n\n", LABEL).rouge_l == 0


SIGNS = st.text(
    st.sampled_from(list('ab.?!。！？…”’\n\r\t \x0b\x1c\u2028中国0%-_+#&{}[]":`，')), max_size=30
)


@settings(max_examples=300, deadline=None)
@given(SIGNS | st.just("......"), SIGNS)
def test_rouge_equals_rouge_chinese(prediction: str, label: str) -> None:
    ours = text_likeness(prediction, label)
    assert ours[:3] == pytest.approx(rouge_chinese(prediction, label), abs=1e-9)


def rouge_chinese(prediction: str, label: str) -> tuple[float, ...]:
    """What LLaMA-Factory does: the package rouge-chinese on jieba's words joined by blanks."""
    rouge: Any = pytest.importorskip("rouge_chinese")
    jieba: Any = metrics._package("jieba")
    jieba.setLogLevel("ERROR")
    texts = [" ".join(jieba.cut(text)) for text in (prediction, label)]
    if not all(text.split() for text in texts):
        return (0.0, 0.0, 0.0)
    (scores,) = rouge.Rouge().get_scores(*texts)
    return tuple(round(scores[name]["f"] * 100, 4) for name in ("rouge-1", "rouge-2", "rouge-l"))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40))
def test_any_unicode_has_a_score(prediction: str, label: str) -> None:
    assert all(0 <= value <= 100 for value in text_likeness(prediction, label))


@pytest.mark.parametrize(
    "text", ["\ud800", "\x00", "a\ud800\udc00b", "\ud83d half", "\uffff\ufeff"]
)
def test_broken_unicode_has_a_score(text: str) -> None:
    assert text_likeness(text, LABEL).bleu_4 >= 0
    assert text_likeness(text, text).rouge_1 in (0, 100)


@pytest.mark.parametrize("text", ["中" * 1_000_000, '[{"name": "f"}]' * 70_000, "?\n" * 500_000])
def test_a_megabyte_is_scored_in_seconds(text: str) -> None:
    started = time.monotonic()
    assert text_likeness(text, LABEL).rouge_l < 20
    assert time.monotonic() - started < 20


def test_what_is_too_long_is_cut() -> None:
    text = "a " * metrics.MAX_CHARS
    assert text_likeness(text, text[: metrics.MAX_CHARS]) == TextLikeness(100, 100, 100, 100)


def test_scoring_prints_nothing_warns_of_nothing_and_leaves_no_file(tmp_path: Path) -> None:
    code = "from coalm.evals.metrics import text_likeness; text_likeness('a', 'b')"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    metrics._package.cache_clear()
    with pytest.raises(MissingExtraError, match=r"^jieba is not installed.*'coalm\[eval\]'$"):
        metrics._package("jieba")
    metrics._package.cache_clear()
