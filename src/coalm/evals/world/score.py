"""Whether an errand was done, want by want, and if not, what went wrong first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coalm.evals.world.errands import REFERENCE, Errand, Want, agrees
from coalm.evals.world.steps import Dialogue, Step
from coalm.world.rules import Row
from coalm.world.schema import services
from coalm.world.wording import names

DONE = "done"
KINDS = {
    DONE: "everything was done and told",
    "not told": "the right result was there, but what the user wanted to know was never said",
    "wrong arguments": "the function was called, but never with what the user wanted",
    "booked too early": "booked before the user had said everything, and otherwise than wished",
    "booked something else": "beside what was wished, something was booked that nobody wanted",
    "call failed": "the function was called, but every call was refused",
    "wrong function": "another function changed something that it should not have",
    "never called": "the function was never called",
    "no dialogue": "the dialogue failed",
}
"""Every verdict, with what it says."""


class Verdict(NamedTuple):
    """What became of one want, or of all."""

    kind: str
    detail: str = ""


class Judged(NamedTuple):
    """What became of an errand."""

    wants: Sequence[Verdict]
    """In their order."""
    verdict: Verdict
    """The first that is not done."""


def judge(errand: Errand, dialogue: Dialogue) -> Judged:
    """Hold what the tools returned, and what was said, against what was wanted."""
    found: list[Verdict] = []
    used: list[Step] = []
    reference = ""
    for want in errand.wants:
        row = want.row
        if _takes_reference(want) and REFERENCE not in row:
            row = {**row, REFERENCE: reference}
        step = next((s for s in _steps(want, dialogue) if s not in used and _row(s, row)), None)
        if step is None:
            found.append(_missed(errand, want, row, dialogue))
            continue
        used.append(step)
        result = _row(step, row) or {}
        reference = result.get(REFERENCE, reference)
        found.append(_told(want, row, step, dialogue))
    extra = _extra(errand, used, dialogue)
    verdicts = [*found, *([extra] if extra else [])]
    first = next((verdict for verdict in verdicts if verdict.kind != DONE), Verdict(DONE))
    return Judged(found, first)


def _takes_reference(want: Want) -> bool:
    return REFERENCE in services()[want.service].intents[want.intent].required


def _steps(want: Want, dialogue: Dialogue) -> list[Step]:
    return [step for step in dialogue.steps if step.call.name == want.intent]


def _row(step: Step, wanted: Row) -> Row | None:
    return next((row for row in step.rows if agrees(row, wanted)), None)


def _told(want: Want, wanted: Row, step: Step, dialogue: Dialogue) -> Verdict:
    """Whether the agent has said, from then on, what the user wanted to know of the result."""
    slots = services()[want.service].slots
    spoken = " ".join(turn.reply for turn in dialogue.turns[step.turn :])
    rows = [row for row in step.rows if agrees(row, wanted)]
    for row in rows:
        if all(names(spoken, slots[slot], row.get(slot, "")) for slot in want.tell):
            return Verdict(DONE)
    missing = [s for s in want.tell if not names(spoken, slots[s], rows[0].get(s, ""))]
    return Verdict("not told", f"{want.intent}: {', '.join(missing)}")


def _missed(errand: Errand, want: Want, wanted: Row, dialogue: Dialogue) -> Verdict:
    """Why no step meets a want."""
    made = _steps(want, dialogue)
    if not made:
        other = _unwanted(errand, dialogue)
        if other is not None:
            return Verdict("wrong function", f"{other.call.name} instead of {want.intent}")
        return Verdict("never called", want.intent)
    if all(step.failed for step in made):
        return Verdict("call failed", f"{want.intent}({made[-1].call.arguments})")
    last = next(step for step in reversed(made) if not step.failed)
    said = " ".join(turn.user for turn in dialogue.turns[: last.turn + 1])
    slots = services()[want.service].slots
    unsaid = [s for s, v in want.wishes.items() if not names(said, slots[s], v)]
    early = services()[want.service].intents[want.intent].transactional and unsaid
    kind = "booked too early" if early else "wrong arguments"
    return Verdict(kind, f"{want.intent}({last.call.arguments}), wanted {dict(wanted)}")


def _changes(step: Step) -> bool:
    """Whether the step changed something."""
    for service in services().values():
        if step.call.name in service.intents:
            return service.intents[step.call.name].transactional and not step.failed
    return False


def _unwanted(errand: Errand, dialogue: Dialogue) -> Step | None:
    """A change by a function that the user has no use for."""
    wanted = {want.intent for want in errand.wants}
    return next((s for s in dialogue.steps if _changes(s) and s.call.name not in wanted), None)


def _extra(errand: Errand, used: Sequence[Step], dialogue: Dialogue) -> Verdict | None:
    """A change beside those that were wanted."""
    for step in dialogue.steps:
        if _changes(step) and step not in used:
            return Verdict("booked something else", f"{step.call.name}({step.call.arguments})")
    return None
