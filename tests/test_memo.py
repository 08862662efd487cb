from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from coalm.memo import Memo


class Item(BaseModel):
    model_config = ConfigDict(frozen=True)

    numbers: list[int]


def test_the_same_object_is_asked_for_once() -> None:
    calls: list[Item] = []

    def count(item: Item) -> int:
        calls.append(item)
        return len(calls)

    memo = Memo(count)
    one, equal = Item(numbers=[1]), Item(numbers=[1])
    assert [memo(one), memo(one), memo(equal), memo(one)] == [1, 1, 2, 1]
    assert calls == [one, equal]


def test_an_object_that_is_gone_is_never_taken_for_another() -> None:
    memo = Memo(lambda item: item.numbers[0], size=3)
    assert [memo(Item(numbers=[number])) for number in range(50)] == [*range(50)]


def test_an_object_that_is_gone_is_forgotten() -> None:
    memo = Memo(lambda item: item.numbers)
    kept = Item(numbers=[0])
    found = [memo(kept), *(memo(Item(numbers=[number])) for number in range(50))]
    assert len(found) == 51
    assert [value for _, value in memo._known.values()] == [[0]]


def test_what_is_remembered_stays_small() -> None:
    calls: list[Item] = []
    memo = Memo(calls.append, size=2)
    items = [Item(numbers=[number]) for number in range(3)]
    for item in (*items, items[0]):
        memo(item)
    assert calls == [*items, items[0]]
