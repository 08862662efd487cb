from __future__ import annotations

import pytest

from coalm.data.offers import Distractors, Offers
from coalm.types import ToolSchema

POOL = [
    ToolSchema(name=name)
    for name in ("get_weather", "weatherForecast", "book_table", "play_song", "sing", "cookRice")
]


def offers(distractors: int | None, seed: int = 7, most: int | None = None) -> Offers:
    numbers = None if distractors is None else Distractors(distractors, most or distractors)
    made = Offers(numbers, seed)
    made.add(POOL)
    return made


def names(tools: tuple[ToolSchema, ...]) -> list[str]:
    return [tool.name for tool in tools]


def test_own_functions_keep_their_order() -> None:
    assert names(offers(0).offer([POOL[3], POOL[0]], "a")) == ["play_song", "get_weather"]
    assert not offers(0).wants_others


def test_distractors_are_others_with_another_subject() -> None:
    for number in range(30):
        found = names(offers(3).offer([POOL[2]], f"sample {number}"))
        assert len(found) == len(set(found)) == 4
        assert "book_table" in found
    close = Offers(Distractors(5, 5), 7)
    close.add([ToolSchema(name=name) for name in ("get_weather", "find_weather", "find_road")])
    assert set(names(close.offer([ToolSchema(name="get_weather")], "a"))) == {
        "get_weather",
        "find_road",
    }


def test_all_functions_stand_in_the_order_of_the_source_with_the_sample_s_own_version() -> None:
    mine = ToolSchema(name="sing", description="mine")
    found = offers(None).offer([mine], "a")
    assert names(found) == names(tuple(POOL))
    assert found[4] is mine


def test_of_a_range_every_number_occurs() -> None:
    varied = offers(0, most=3)
    assert varied.wants_others
    found = {len(varied.offer([POOL[2]], f"sample {number}")) for number in range(40)}
    assert found == {1, 2, 3, 4}


@pytest.mark.parametrize("distractors", [0, 2, None])
def test_the_choice_depends_on_seed_and_sample_alone(distractors: int | None) -> None:
    first = [offers(distractors).offer([POOL[4]], str(n)) for n in range(20)]
    assert first == [offers(distractors).offer([POOL[4]], str(n)) for n in range(20)]
    other = [offers(distractors, seed=8).offer([POOL[4]], str(n)) for n in range(20)]
    assert (first != other) == (distractors == 2)
