from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coalm.data import DataConfig, build, load_sources
from coalm.data.browse import Choice, browser_page, choose, plain_pieces
from coalm.data.stats import render_sample
from coalm.errors import DataError
from coalm.types import Conversation, Message

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("data")
    config = DataConfig(
        output_dir=output, root=FIXTURES, sources=("snips", "sgd", "sgd_calls"), workers=1
    )
    build(config, load_sources(config))
    return output


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="records">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def kind(sample: Conversation) -> tuple[str, bool]:
    return str(sample.meta["source"]), bool(sample.messages[-1].tool_calls)


def test_every_kind_is_shown_as_often_as_any_other(built: Path) -> None:
    choice = choose(built, 10)
    assert len({sample.id for _, sample in choice.samples}) == 10
    assert max(Counter(kind(sample) for _, sample in choice.samples).values()) <= 4
    assert sum(shown for _, shown in choice.counts.values()) == 10
    lines = sum(len(path.read_text().splitlines()) for path in built.glob("[tv]*n.jsonl"))
    assert sum(total for total, _ in choice.counts.values()) == lines


def test_the_choice_is_the_same_every_time_and_another_with_another_seed(built: Path) -> None:
    assert choose(built, 8) == choose(built, 8)
    assert choose(built, 8).samples != choose(built, 8, seed=1).samples


def test_a_choice_of_more_than_there_is_holds_everything(built: Path) -> None:
    choice = choose(built / "train.jsonl", 10_000)
    ids = [json.loads(line)["id"] for line in (built / "train.jsonl").read_text().splitlines()]
    assert sorted(sample.id for _, sample in choice.samples) == sorted(ids)
    assert all(split == "train" for split, _ in choice.samples)


def test_what_is_learned_is_marked(built: Path) -> None:
    choice = choose(built, 6)
    page = payload(browser_page("Samples", choice, plain_pieces, "About"))
    for (split, sample), record in zip(choice.samples, page["records"], strict=True):
        prompt, reply = render_sample(sample)
        pieces = record["parts"][0][1]["pieces"]
        assert [page["texts"][text] for text, marked in pieces if marked] == [reply]
        assert page["texts"][pieces[0][0]] == prompt[0].content + "\n"
        assert record["tags"][0] == [sample.meta["source"]]
        assert [split] in record["tags"]


def test_html_in_the_data_stays_text() -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    sample = Conversation(
        id=evil,
        messages=(Message(role="user", content=evil), Message(role="assistant", content=evil)),
        meta={"source": evil, "skill": "CRA", "format": "react", "group": "g"},
    )
    page = browser_page(evil, Choice([("train", sample)], {}), plain_pieces, evil)
    assert "<img" not in page
    assert payload(page)["records"][0]["id"] == evil


def test_a_line_that_is_no_sample_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "a", "messages": 3}\n')
    with pytest.raises(DataError, match=r"x\.jsonl:1: not a conversation: messages: "):
        choose(tmp_path / "x.jsonl", 3)
