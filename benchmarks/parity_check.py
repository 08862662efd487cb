"""One comparison of a recorded result with ours, and the report over many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SHOWN = 10
"""Differences printed per measure."""


class Check(NamedTuple):
    """One comparison of a recorded result with ours."""

    measure: str
    case: str
    expected: object
    found: object
    agrees: bool


def report(checks: Iterable[Check], floors: Mapping[str, float] | None = None) -> int:
    """Print agreement by measure and the first differences; the exit status.

    `floors` names the measures for which less than full agreement is enough, as a share of 1.
    """
    by_measure: dict[str, list[Check]] = {}
    for check in checks:
        by_measure.setdefault(check.measure, []).append(check)
    right = total = failures = 0
    for measure, found in by_measure.items():
        off = [check for check in found if not check.agrees]
        print(f"{measure}: {len(found) - len(off)}/{len(found)}")
        for check in off[:SHOWN]:
            print(f"  {check.case}: expected {check.expected!r}, found {check.found!r}")
        right += len(found) - len(off)
        total += len(found)
        failures += len(off) > len(found) * (1 - (floors or {}).get(measure, 1.0))
    print(f"all: {right}/{total}")
    return 1 if failures or not total else 0
