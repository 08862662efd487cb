from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import DataError
from coalm.evals.multiwoz.data import Corpus, Span, dialogue_id, load_corpus
from coalm.evals.multiwoz.release import Release

Write = Callable[..., Path]


def test_a_state_holds_search_and_booking_slots(corpus: Corpus) -> None:
    turns = corpus.dialogues["mul0001"].turns
    assert turns[0].state == {"restaurant": {"food": "chinese", "area": "dontcare"}}
    assert turns[2].state == {
        "restaurant": {"food": "chinese", "area": "dontcare", "people": "2", "day": "monday"},
        "hotel": {"type": "guest house", "area": "east|west"},
    }
    ride = corpus.dialogues["sng0002"].turns[0].state["train"]
    assert ride == {
        "departure": "cambridge",
        "destination": "ely",
        "day": "monday",
        "arrive": "10:00",
    }


def test_a_turn_holds_both_texts_bookings_and_spans(corpus: Corpus) -> None:
    first, second, third = corpus.dialogues["mul0001"].turns
    assert (first.user, first.system) == ("I want Chinese food.", "Golden Lantern is nice .")
    assert first.booked == frozenset()
    assert second.booked == {"restaurant"}
    assert second.bookings["restaurant"][0]["reference"] == "AB12CD34"
    assert third.spans[0] == Span("Hotel-Inform", "Name", "Elm Guest House", 0, 2)


def test_a_taxi_is_never_booked(write_release: Write, data: dict[str, Any]) -> None:
    log = data["SNG0002.json"]["log"]
    log[1]["metadata"]["taxi"]["book"]["booked"] = [{"phone": "0123", "type": "red ford"}]
    turn = load_corpus(Release(write_release(data=data))).dialogues["sng0002"].turns[0]
    assert turn.booked == frozenset()
    assert turn.bookings["taxi"][0]["phone"] == "0123"


def test_the_goal_has_only_the_domains_in_use(corpus: Corpus) -> None:
    dialogue = corpus.dialogues["mul0001"]
    assert list(dialogue.goal) == ["restaurant", "hotel"]
    assert dialogue.goal["hotel"].reqt == ("postcode",)
    assert dialogue.goal["hotel"].book is None
    assert dialogue.goal["restaurant"].book is not None
    assert dialogue.message == ["You want Chinese food", "You want a guesthouse"]
    assert corpus.dialogues["sng0002"].message == ["Task 12345: You want a train."]


def test_long_texts_fall_to_the_filter(corpus: Corpus) -> None:
    assert corpus.kept == {"mul0001", "sng0002"}
    assert corpus.turns == 5
    assert len(corpus.dialogues) == 3


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("word " * 50, True),
        ("word " * 49 + "a-b", False),
        ("word " * 48 + "end.", True),
        ("word " * 50 + "!", False),
        ("1 " * 80, True),
        ("it’s fine", True),
        ("café", False),
    ],
)
def test_the_filter_counts_words_and_refuses_other_alphabets(
    write_release: Write, data: dict[str, Any], text: str, kept: bool
) -> None:
    data["SNG0003.json"]["log"][0]["text"] = text
    data["SNG0003.json"]["log"][1]["text"] = "short"
    corpus = load_corpus(Release(write_release(data=data)))
    assert ("sng0003" in corpus.kept) == kept


def test_an_odd_log_falls_to_the_filter(write_release: Write, data: dict[str, Any]) -> None:
    data["SNG0002.json"]["log"].append({"text": "Hello?", "metadata": {}})
    corpus = load_corpus(Release(write_release(data=data)))
    assert "sng0002" not in corpus.kept
    assert len(corpus.dialogues["sng0002"].turns) == 2


def test_only_the_test_list_is_read(write_release: Write) -> None:
    corpus = load_corpus(Release(write_release(names=["SNG0002.json"])))
    assert list(corpus.dialogues) == ["sng0002"]


def test_dialogues_that_are_not_there_are_named(write_release: Write) -> None:
    names = ["SNG0002.json", "SNG0009.json"]
    with pytest.raises(DataError, match="1 of 2 test dialogues are missing, the first one is SNG0"):
        load_corpus(Release(write_release(names=names)))


def test_a_broken_file_is_named_with_its_dialogue(
    write_release: Write, data: dict[str, Any]
) -> None:
    del data["SNG0002.json"]["log"][1]["text"]
    with pytest.raises(DataError, match=r"dialogue SNG0002\.json\.log\.1\.text: Field required"):
        load_corpus(Release(write_release(data=data)))
    data["SNG0002.json"]["log"] = []
    data["SNG0002.json"]["goal"]["train"]["info"] = "ely"
    with pytest.raises(DataError, match=r"SNG0002\.json: goal: Input should be a valid dict"):
        load_corpus(Release(write_release(data=data)))


def test_ids_are_written_in_one_way() -> None:
    assert dialogue_id("SNG0073.json") == dialogue_id("sng0073") == "sng0073"
