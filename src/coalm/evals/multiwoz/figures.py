"""The figures of a run, from sums over its dialogues."""

from __future__ import annotations

from collections.abc import Mapping

from coalm.evals.multiwoz.data import DOMAINS
from coalm.evals.multiwoz.state import SlotCounts

AGENT_FIGURES = {
    "inform": "dialogues in which everything offered meets the goal",
    "success": "dialogues with Inform in which every answer was given; own bookings count",
    "success strict": "the same; a reference counts once the corpus has the booking",
    "autotod inform": "dialogues whose venues meet the goal by AutoTOD's checks, without its judge",
    "autotod success": "dialogues of those that ask for something, with all of it told",
    "autotod book": "dialogues of those that book something, with all of it booked as wished",
    "autotod combined": "half inform, half success and book, mean over domains",
    **{f"inform {domain}": f"goals of {domain} with Inform" for domain in DOMAINS},
    **{f"success {domain}": f"goals of {domain} with Success" for domain in DOMAINS},
}
"""What a live agent is measured by, besides its states."""
STATE_FIGURES = {
    "jga fuzzy": "turns with the right state as the CoALM lab's helper compares",
    "jga exact": "turns with the right state, values exact, prepared as by the helper",
    "jga fair": "turns with the right state, both sides prepared alike",
    "slot f1 fuzzy": "F1 of the slots as the helper compares",
    "slot f1 fair": "F1 of the slots, both sides prepared alike",
    **{f"jga fuzzy {domain}": f"turns with the right state of {domain}" for domain in DOMAINS},
}
"""What states are measured by."""


def figure(name: str, totals: Mapping[str, float]) -> float:
    """A figure in percent.

    Args:
        name: Key of one of the two tables.
        totals: Sums of `grade.success_values` and `grade.state_values`, and `samples`.
    """
    kind, _, domain = name.rpartition(" ")
    if name.startswith("slot f1 "):
        counts = (totals[f"slots {domain} {part}"] for part in SlotCounts._fields)
        return 100 * SlotCounts(*map(int, counts)).f1()
    if kind == "jga fuzzy":
        return _share(totals[f"{domain} jga"], totals[f"{domain} turns"])
    if name.startswith("jga "):
        return _share(totals[name], totals["turns"])
    if domain in DOMAINS:
        return _share(totals[f"{domain} {kind}"], totals[f"{domain} goals"])
    return _share(totals[name], totals.get(f"{name} asked", totals["samples"]))


def _share(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0
