"""Names, streets and numbers that the mini world is filled with."""

from __future__ import annotations

import random
from functools import cache
from typing import cast

from coalm.world.package_files import read_yaml


@cache
def cities() -> tuple[str, ...]:
    """The towns of the world."""
    return tuple(words_by("cities"))


def words(kind: str) -> list[str]:
    """A list of names.yaml."""
    return cast("list[str]", read_yaml("names.yaml")[kind])


def words_by(kind: str) -> dict[str, list[str]]:
    """A table of lists of names.yaml."""
    return cast("dict[str, list[str]]", read_yaml("names.yaml")[kind])


def address(rng: random.Random) -> str:
    """A street and a house number."""
    return f"{rng.randint(1, 140)} {rng.choice(words('streets'))}"


def phone_number(rng: random.Random) -> str:
    """A number in the range that is set aside for invented ones."""
    return f"{rng.randint(201, 989)}-555-{rng.randint(100, 199):04}"


def people(rng: random.Random, count: int) -> list[str]:
    """So many different people, first and last name."""
    names = [f"{first} {last}" for first in words("first_names") for last in words("last_names")]
    return rng.sample(names, count)
