"""Remembers what a function gave for an object, when the object itself cannot be a dict key."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


class Memo(Generic[_Item, _Value]):
    """`function`, called once for the same object as long as it is remembered.

    For frozen models, which have lists and dicts in them and so no hash: what counts is that it is
    the same object, not an equal one. An object that nobody else holds is forgotten, so that a
    server does not keep what its clients once sent, and no other object can have its `id`.
    """

    def __init__(self, function: Callable[[_Item], _Value], size: int = 4096) -> None:
        self._function = function
        self._size = size
        self._known: dict[int, tuple[weakref.ref[_Item], _Value]] = {}

    def __call__(self, item: _Item) -> _Value:
        """What the function gives for `item`."""
        found = self._known.get(id(item))
        if found is None:
            if len(self._known) >= self._size:
                self._known.clear()
            value = self._function(item)
            found = (weakref.ref(item, partial(self._forget, id(item))), value)
            self._known[id(item)] = found
        return found[1]

    def _forget(self, key: int, gone: weakref.ref[_Item]) -> None:
        self._known.pop(key, None)
