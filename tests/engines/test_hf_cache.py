from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")

from coalm.engines.hf_cache import Strip, StripPool, shared_length  # noqa: E402


def compute(strip: Strip, ids: list[int], layers: int = 2) -> None:
    """Write keys and values that follow from the tokens, as a model would."""
    new = ids[len(strip.ids) :]
    numbers = torch.tensor(new, dtype=torch.float32)
    for layer in range(layers):
        keys = (numbers + layer).expand(1, 3, -1)
        values = (numbers - layer)[None, :, None].expand(1, -1, 2)
        all_keys, all_values = strip.write(layer, keys, values)
        whole = torch.tensor(ids, dtype=torch.float32)
        assert torch.equal(all_keys, (whole + layer).expand(1, 3, -1))
        assert torch.equal(all_values, (whole - layer)[None, :, None].expand(1, -1, 2))
    strip.ids = list(ids)


def begin(pool: StripPool, ids: list[int]) -> Strip:
    strip = pool.start(ids)
    assert strip is not None
    return strip


def run(pool: StripPool, prompt: list[int], answer: list[int]) -> int:
    """Answer a prompt; returns how many of its tokens were at hand."""
    strip = begin(pool, prompt)
    known = len(strip.ids)
    assert strip.ids == prompt[:known]
    compute(strip, prompt)
    for count in range(1, len(answer)):
        assert pool.grow(strip, len(prompt) + count)
        compute(strip, prompt + answer[:count])
    pool.finish(strip)
    return known


FIRST, SECOND = list(range(100)), list(range(60)) + list(range(200, 260))


def test_a_prompt_begins_after_what_it_shares() -> None:
    pool = StripPool(10_000)
    assert run(pool, FIRST, [1, 2, 3]) == 0
    assert run(pool, SECOND, [4]) == 60
    assert pool.shared(FIRST) == 99  # the last token is asked what comes after it
    assert run(pool, FIRST, [1]) == 99
    assert pool.shared([7, *FIRST]) == 0


def test_a_dialogue_takes_its_strip_over() -> None:
    pool = StripPool(10_000)
    run(pool, FIRST, [1, 2, 3])
    taken = pool.tokens
    assert run(pool, [*FIRST, 1, 2, 9, 9], [5]) == 102
    assert pool.tokens == taken
    run(pool, SECOND, [4])
    assert pool.tokens == 2 * taken


def test_running_strips_are_shared_but_not_taken() -> None:
    pool = StripPool(10_000)
    first = begin(pool, FIRST)
    compute(first, FIRST[:50])
    second = begin(pool, [*FIRST, 1, 2])
    assert second is not first
    assert second.ids == FIRST[:50]
    compute(first, FIRST)
    compute(second, [*FIRST, 1, 2])


def test_the_longest_unused_goes_first() -> None:
    pool = StripPool(384)
    prompts = [[number] * 100 for number in range(4)]
    for prompt in prompts[:3]:
        run(pool, prompt, [9])
    assert run(pool, [*prompts[0], 5], [9]) == 100
    run(pool, prompts[3], [9])
    assert [pool.shared(prompt) for prompt in prompts] == [99, 0, 99, 99]
    assert pool.tokens <= 384
    pool.clear()
    assert pool.tokens == 0


def test_a_prompt_waits_while_running_ones_take_all() -> None:
    pool = StripPool(256)
    first, second = begin(pool, [1] * 100), begin(pool, [2] * 100)
    assert pool.start([3] * 100) is None
    assert pool.grow(first, 128)
    assert not pool.grow(first, 129)
    pool.finish(second)
    assert pool.grow(first, 129)
    assert first.capacity == 256


def test_what_runs_alone_may_take_more() -> None:
    pool = StripPool(128)
    run(pool, [1] * 20, [2])
    strip = begin(pool, [1] * 300)
    assert len(strip.ids) == 20
    compute(strip, [1] * 300)
    assert pool.grow(strip, 1000)
    compute(strip, [1] * 1000)
    assert pool.start([1] * 5) is None
    pool.finish(strip)
    assert pool.tokens == 0


@pytest.mark.parametrize("limit", [128, 300, 1000, 5000])
def test_at_random(limit: int) -> None:
    numbers = random.Random(limit)
    pool = StripPool(limit)
    running: list[tuple[Strip, list[int]]] = []
    seen: list[list[int]] = [[]]
    for _ in range(300):
        if running and numbers.random() < 0.5:
            strip, ids = running.pop(numbers.randrange(len(running)))
            pool.finish(strip)
            seen.append(ids)
        source = numbers.choice(seen)
        start = source[: numbers.randint(0, len(source))]
        ids = [*start, *(numbers.randrange(3) for _ in range(numbers.randint(1, 150)))]
        if strip := pool.start(ids):
            running.append((strip, ids))
        for strip, ids in running:
            compute(strip, ids)  # checks that what was shared and copied is right
        if len(running) > 1:
            assert pool.tokens <= limit
        assert len({id(strip) for strip, _ in running}) == len(running)


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
