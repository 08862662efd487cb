"""Joint goal accuracy: is a predicted state the gold one, turn by turn.

A turn is right when both states hold the same slots and every value agrees. Three ways to compare:

- `fuzzy`: the CoALM lab's helper, by which published figures of CoALM were made. Values agree when
  one is found in the other to more than 95 %, so `1` passes for `12`, and `arrive by` is an unknown
  slot.
- `exact`: the same preparation; the value must be the gold one, or one of its alternatives.
- `fair`: `exact` after a preparation that treats both sides alike and forgives spelling.

A missing prediction is wrong, also where the gold state is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple, TypeAlias, TypeVar

from coalm.evals.multiwoz.data import DOMAINS, State
from coalm.evals.multiwoz.fuzzy import partial_ratio
from coalm.evals.multiwoz.normalize import fair_slot, fair_value, gold_text, helper_value

Key: TypeAlias = tuple[str, str]
"""Domain and slot."""
Value = TypeVar("Value")

_ALIKE = 95
_HELPER_SLOTS = {
    "bookday": "day",
    "bookpeople": "people",
    "bookstay": "stay",
    "booktime": "time",
    "arriveby": "arrive",
    "leaveat": "leave",
}
"""The only spellings of slots that the helper knows."""


class SlotCounts(NamedTuple):
    """Slots of a turn, or of many; a wrong value counts as extra and as missing."""

    right: int = 0
    extra: int = 0
    """Predicted, and not so in the gold state."""
    missing: int = 0
    """In the gold state, and not so predicted."""

    def f1(self) -> float:
        """F1 of the slots, 0 to 1; 1 when there are none on either side."""
        wrong = self.extra + self.missing
        return 2 * self.right / (2 * self.right + wrong) if self.right or wrong else 1.0


class StateScore(NamedTuple):
    """How one predicted state compares with the gold one."""

    fuzzy: bool
    exact: bool
    fair: bool
    fuzzy_slots: SlotCounts
    fair_slots: SlotCounts
    domains: Mapping[str, bool]
    """Every domain that either state holds to whether it is right, by `fuzzy`."""


def compare_states(gold: State, predicted: State | None) -> StateScore:
    """Compare a predicted state with the gold one of its turn; None is a missing prediction."""
    wanted, said = _helper_gold(gold), _helper_predicted(predicted or {})
    fair_wanted, fair_said = _fair(gold), _fair(predicted or {})
    agree = _agreement(said, wanted, _is_alike)
    fair = _agreement(fair_said, fair_wanted, _is_within)
    given = predicted is not None
    present = {domain for domain, _ in (*wanted, *said)}
    return StateScore(
        fuzzy=given and all(agree.values()),
        exact=given and all(_agreement(said, wanted, _is_one_of).values()),
        fair=given and all(fair.values()),
        fuzzy_slots=_count(agree, said, wanted),
        fair_slots=_count(fair, fair_said, fair_wanted),
        domains={
            domain: given and all(ok for key, ok in agree.items() if key[0] == domain)
            for domain in DOMAINS
            if domain in present
        },
    )


def _agreement(
    said: Mapping[Key, Value], wanted: Mapping[Key, Value], agree: Callable[[Value, Value], bool]
) -> dict[Key, bool]:
    """Every slot that either side has to whether both have it with the same value."""
    return {
        key: key in said and key in wanted and agree(said[key], wanted[key])
        for key in {**said, **wanted}
    }


def _count(
    agree: Mapping[Key, bool], said: Mapping[Key, object], wanted: Mapping[Key, object]
) -> SlotCounts:
    right = sum(agree.values())
    return SlotCounts(right, len(said) - right, len(wanted) - right)


def _is_alike(said: str, wanted: str) -> bool:
    return partial_ratio(said, wanted) > _ALIKE


def _is_one_of(said: str, wanted: str) -> bool:
    return said == wanted or said in wanted.split("|")


def _is_within(said: frozenset[str], wanted: frozenset[str]) -> bool:
    return said <= wanted


def _helper_gold(state: State) -> dict[Key, str]:
    return {
        (domain, slot): _gold_value(slot, value)
        for domain, slots in state.items()
        for slot, value in slots.items()
    }


@cache
def _gold_value(slot: str, value: str) -> str:
    return helper_value(slot, gold_text(value))


def _helper_predicted(state: State) -> dict[Key, str]:
    return {
        (domain, _HELPER_SLOTS.get(slot, slot)): helper_value(_HELPER_SLOTS.get(slot, slot), value)
        for domain, slots in state.items()
        for slot, value in slots.items()
    }


def _fair(state: State) -> dict[Key, frozenset[str]]:
    found = {
        (domain.lower(), slot): _fair_value(slot, value)
        for domain, slots in state.items()
        for slot, value in ((fair_slot(name), value) for name, value in slots.items())
    }
    return {key: values for key, values in found.items() if values}


_fair_value = cache(fair_value)
