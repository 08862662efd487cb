from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")

from coalm.engines.hf_cache import TAIL, Strip  # noqa: E402
from coalm.engines.hf_pool import StripPool, shared_length  # noqa: E402

LAYERS = 2


def keys_of(ids: list[int], layer: int) -> torch.Tensor:
    """Keys that follow from the tokens, as a model's do; values are their negatives."""
    return (torch.tensor(ids, dtype=torch.float32) + layer)[None, :, None].expand(1, -1, 2)


def compute(pool: StripPool, strip: Strip, ids: list[int]) -> None:
    """Have a strip hold all the tokens, and check what it gives for each layer."""
    while len(strip.ids) < len(ids):
        assert pool.grow(strip)
        new = ids[len(strip.ids) :][: strip.room]
        for layer in range(LAYERS):
            strip.write(layer, keys_of(new, layer), -keys_of(new, layer))
        strip.extend(new)
    assert strip.ids == ids
    for layer in range(LAYERS):
        keys, values = strip.read(layer, len(ids))
        assert torch.equal(keys, keys_of(ids, layer))
        assert torch.equal(values, -keys_of(ids, layer))


def begin(pool: StripPool, ids: list[int]) -> Strip:
    strip = pool.start(ids)
    assert strip is not None
    return strip


def run(pool: StripPool, prompt: list[int], answer: list[int]) -> int:
    """Answer a prompt; returns how many of its tokens were at hand."""
    strip = begin(pool, prompt)
    known = len(strip.ids)
    assert strip.ids == prompt[:known]
    compute(pool, strip, prompt)
    compute(pool, strip, prompt + answer[:-1])
    pool.finish(strip)
    return known


FIRST, SECOND = list(range(100)), list(range(60)) + list(range(200, 260))
LONG = [number % 90 for number in range(1000)]


def test_a_prompt_begins_after_what_it_shares() -> None:
    pool = StripPool(10_000, 8)
    assert run(pool, FIRST, [1, 2, 3]) == 0
    assert run(pool, SECOND, [4]) == 60
    assert pool.shared(FIRST) == 99  # the last token is asked what comes after it
    assert run(pool, FIRST, [1]) == 99
    assert pool.shared([7, *FIRST]) == 0


def test_a_dialogue_takes_its_strip_over() -> None:
    pool = StripPool(10_000, 8)
    run(pool, FIRST, [1, 2, 3])
    taken = pool.tokens
    assert run(pool, [*FIRST, 1, 2, 9, 9], [5]) == 102
    assert pool.tokens == taken
    run(pool, SECOND, [4])
    assert pool.tokens == 2 * taken


def test_a_dialogue_goes_on_in_its_row_though_every_prompt_ends_alike() -> None:
    pool = StripPool(10_000, 8)
    ending = [91, 92, 93]  # what is to be done, say
    run(pool, LONG[:200] + ending, [5, 6])
    taken = pool.tokens
    for length in (230, 260):
        assert run(pool, LONG[:length] + ending, [5, 6]) == length - 30
        assert pool.tokens == taken
    # less than three quarters: another dialogue, for which a trunk is split off
    assert run(pool, LONG[:190] + [7] * 90, [5]) == 190
    assert pool.tokens == 2 * taken + 192
    assert pool.shared([*LONG[:260], *ending]) == 262


def test_a_long_beginning_is_kept_once() -> None:
    pool = StripPool(10_000, 8)
    first = begin(pool, [*LONG, 1])
    assert first.is_rooting
    compute(pool, first, [*LONG, 1])
    alone = pool.tokens
    others = [begin(pool, [*LONG, number, number]) for number in range(2, 6)]
    assert pool.tokens == alone + 4 * TAIL
    for number, strip in enumerate(others, 2):
        assert strip.trunk is first.trunk
        assert strip.ids == LONG
        compute(pool, strip, [*LONG, number, number, 7])
    for strip in (first, *others):
        pool.finish(strip)
    assert pool.shared([*LONG, 3, 3, 7, 8]) == 1003


def test_what_two_have_in_their_rows_becomes_a_trunk() -> None:
    pool = StripPool(10_000, 8)
    first = begin(pool, LONG[:300])
    compute(pool, first, LONG[:300])
    assert first.trunk is None
    second = begin(pool, [*LONG[:200], 5, 5])
    assert first.trunk is second.trunk is not None
    assert (first.own, second.own) == (100, 0)
    assert pool.tokens == 2 * TAIL + second.trunk.capacity
    compute(pool, first, LONG[:310])
    compute(pool, second, [*LONG[:200], 5, 5, 6])
    third = begin(pool, [*LONG[:250], 5])
    compute(pool, third, [*LONG[:250], 5])
    assert third.trunk is second.trunk  # too little lies in the row: it is copied


def test_a_dialogue_that_outgrows_its_row_keeps_what_others_share() -> None:
    pool = StripPool(10_000, 8)
    first = begin(pool, LONG[:300])
    compute(pool, first, LONG[:300])
    second = begin(pool, [*LONG[:200], 5, 5])
    shared = second.trunk
    for length in (200 + TAIL + 10, 900):  # its own past moves into one trunk, again and again
        compute(pool, first, LONG[:length])
        assert first.trunk is not None
        assert first.trunk.parent is shared
        assert pool.tokens == 2 * TAIL + 256 + first.trunk.capacity
    pool.finish(first)
    pool.finish(second)
    # the dialogue goes on, and is then all that there is
    again = begin(pool, LONG)
    compute(pool, again, LONG)
    pool.finish(again)
    pool.clear()
    assert pool.tokens == 0


def test_running_strips_are_shared_but_not_taken() -> None:
    pool = StripPool(10_000, 8)
    first = begin(pool, FIRST)
    compute(pool, first, FIRST[:50])
    second = begin(pool, [*FIRST, 1, 2])
    assert second is not first
    assert second.ids == FIRST[:50]
    compute(pool, first, FIRST)
    compute(pool, second, [*FIRST, 1, 2])


def test_what_is_half_computed_can_be_shared() -> None:
    pool = StripPool(10_000, 8)
    first = begin(pool, LONG)
    compute(pool, first, LONG[:700])
    second = begin(pool, LONG[:650])
    assert second.ids == LONG[:649]
    pool.finish(first)
    assert not first.is_rooting
    compute(pool, second, LONG[:660])
    again = begin(pool, LONG)
    assert again.ids == LONG[:700]
    compute(pool, again, LONG)


def test_a_trunk_that_was_never_begun_is_not_read() -> None:
    pool = StripPool(10_000, 8)
    first = begin(pool, LONG[:300])
    compute(pool, first, LONG[:300])
    second = begin(pool, LONG)  # asks for a trunk behind the first one's, and is put off
    assert second.is_rooting
    pool.finish(second)
    assert second.trunk is first.trunk
    assert [tokens for _, tokens in second.parts] == [300]
    compute(pool, begin(pool, LONG), LONG)


def test_an_answer_that_outgrows_its_row_goes_on() -> None:
    pool = StripPool(10_000, 2)
    assert run(pool, FIRST, LONG) == 0
    assert pool.shared([*FIRST, *LONG]) == 1099


def test_the_longest_unused_goes_first() -> None:
    pool = StripPool(3 * TAIL, 8)
    prompts = [[number] * 100 for number in range(4)]
    for prompt in prompts[:3]:
        run(pool, prompt, [9])
    assert run(pool, [*prompts[0], 5], [9]) == 100
    run(pool, prompts[3], [9])
    assert [pool.shared(prompt) for prompt in prompts] == [99, 0, 99, 99]
    assert pool.tokens <= pool.limit
    pool.clear()
    assert pool.tokens == 0


def test_trunks_of_no_strip_go_before_strips() -> None:
    pool = StripPool(10_000, 2)
    for number in range(3):
        run(pool, [*LONG, *[number] * 350], [9])
    pool.limit = pool.tokens - 1
    run(pool, [5] * 10, [9])
    assert pool.shared([*LONG, *[2] * 400]) == 1350


def test_a_prompt_waits_while_running_ones_take_all() -> None:
    pool = StripPool(2 * TAIL, 8)
    first, second = begin(pool, [1] * 100), begin(pool, [2] * 100)
    assert pool.start([3] * 100) is None
    compute(pool, first, [1] * TAIL)
    assert not pool.grow(first)
    pool.finish(second)
    assert pool.grow(first)
    assert pool.tokens == 2 * TAIL


def test_a_prompt_waits_while_running_ones_take_all_rows() -> None:
    pool = StripPool(100_000, 2)
    first, second = begin(pool, [1] * 100), begin(pool, [2] * 100)
    assert first.row != second.row
    assert pool.start([3] * 100) is None
    pool.finish(first)
    assert begin(pool, [3] * 100).row == first.row


def test_what_runs_alone_may_take_more() -> None:
    pool = StripPool(TAIL, 3)
    run(pool, [1] * 20, [2])
    strip = begin(pool, [1] * 500)
    assert len(strip.ids) == 20
    compute(pool, strip, [1] * 2000)
    assert pool.start([1] * 5) is None
    pool.finish(strip)
    assert pool.tokens <= TAIL


@pytest.mark.parametrize("limit", [128, 1000, 3000, 10_000])
def test_at_random(limit: int) -> None:
    numbers = random.Random(limit)
    pool = StripPool(limit, 6)
    running: list[tuple[Strip, list[int]]] = []
    seen: list[list[int]] = [[]]
    for _ in range(300):
        if running and numbers.random() < 0.5:
            strip, ids = running.pop(numbers.randrange(len(running)))
            pool.finish(strip)
            seen.append(ids)
        source = numbers.choice(seen)
        start = source[: numbers.randint(0, len(source))]
        ids = [*start, *(numbers.randrange(3) for _ in range(numbers.randint(1, 500)))]
        if strip := pool.start(ids):
            running.append((strip, ids))
        for strip, ids in running:
            compute(pool, strip, ids)  # checks that what was shared and copied is right
        if len(running) > 1:
            assert pool.tokens <= limit
        assert len({strip.row for strip, _ in running}) == len(running)
    for strip, _ in running:
        pool.finish(strip)
    pool.clear()
    assert pool.tokens == 0


@pytest.mark.parametrize(
    ("a", "b", "beyond", "length"),
    [
        ([], [1], 0, 0),
        ([1, 2, 3], [1, 2, 3], 0, 3),
        ([1, 2, 3], [1, 2, 4, 5], 0, 2),
        ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7], 3, 7),
        ([1, 2, 3], [1, 2, 4], 1, 2),
        ([1, 2, 3], [1, 2, 4], 2, 0),
        ([2, 2], [1, 2], 0, 0),
    ],
)
def test_shared_length(a: list[int], b: list[int], beyond: int, length: int) -> None:
    assert shared_length(a, b, beyond) == length
