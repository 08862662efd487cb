from __future__ import annotations

from coalm.memo import Memo


def test_the_same_object_is_asked_for_once() -> None:
    calls: list[list[int]] = []

    def count(item: list[int]) -> int:
        calls.append(item)
        return len(calls)

    memo = Memo(count)
    one, equal = [1], [1]
    assert [memo(one), memo(one), memo(equal), memo(one)] == [1, 1, 2, 1]
    assert calls == [[1], [1]]


def test_an_object_that_is_gone_is_never_taken_for_another() -> None:
    memo = Memo(str, size=3)
    assert [memo([number]) for number in range(50)] == [f"[{number}]" for number in range(50)]


def test_what_is_remembered_stays_small() -> None:
    calls: list[object] = []
    memo = Memo(calls.append, size=2)
    items = [[1], [2], [3]]
    for item in (*items, items[0]):
        memo(item)
    assert calls == [*items, items[0]]
