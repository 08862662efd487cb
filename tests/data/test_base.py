from __future__ import annotations

import pytest

from coalm.data.base import Ledger, chance, draw, pick, sample, shuffled
from coalm.types import Message


def test_drawn_numbers_are_the_same_everywhere() -> None:
    assert draw(7, "order", "sgd/train/1_00000/01/reply") == 17961697408475804906
    assert chance(7, "split", "a") == pytest.approx(0.757407, abs=1e-6)


def test_draws_depend_on_every_part_and_on_where_parts_end() -> None:
    assert (
        len({draw("a", "b"), draw("ab"), draw("a", "c"), draw("b", "a"), draw("a", "b", "")}) == 5
    )


def test_chance_is_even() -> None:
    numbers = [chance("even", n) for n in range(2000)]
    assert all(0 <= number < 1 for number in numbers)
    assert sum(number < 0.25 for number in numbers) == pytest.approx(500, abs=60)


def test_pick_uses_all_items() -> None:
    assert {pick("abc", n) for n in range(50)} == set("abc")


def test_the_chosen_few_do_not_come_out_in_front() -> None:
    firsts = 0
    for n in range(500):
        chosen = shuffled(range(10, 30), 7, "choose", n)[:2]
        firsts += shuffled([1, 2, *chosen], 7, "order", n)[0] in chosen
    assert firsts == pytest.approx(250, abs=60)


def test_a_ledger_counts_reasons_the_most_frequent_first() -> None:
    ledger = Ledger()
    for where, reason in (("a:1", "rare"), ("a:2", "often"), ("a:3", "often")):
        ledger.reject(where, reason)
    assert list(ledger.reasons().items()) == [("often", 2), ("rare", 1)]


def test_a_sample_says_where_it_belongs() -> None:
    made = sample(
        "snips/x/1",
        [Message(role="user", content="Hi")],
        (),
        source="snips",
        skill="TOD",
        prompt_format="dst",
        group="snips",
        split="validation",
    )
    assert made.meta == {
        "source": "snips",
        "skill": "TOD",
        "format": "dst",
        "group": "snips",
        "split": "validation",
    }
