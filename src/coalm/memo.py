"""Remembers what a function gave for an object, when the object itself cannot be a dict key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


class Memo(Generic[_Item, _Value]):
    """`function`, called once for the same object as long as it is remembered.

    For frozen models, which have lists and dicts in them and so no hash: what counts is that it is
    the same object, not an equal one. Objects are kept alive, so that no other one can get their
    `id` meanwhile.
    """

    def __init__(self, function: Callable[[_Item], _Value], size: int = 4096) -> None:
        self._function = function
        self._size = size
        self._known: dict[int, tuple[_Item, _Value]] = {}

    def __call__(self, item: _Item) -> _Value:
        """What the function gives for `item`."""
        found = self._known.get(id(item))
        if found is None:
            if len(self._known) >= self._size:
                self._known.clear()
            found = self._known[id(item)] = (item, self._function(item))
        return found[1]
