"""What one dialogue of the task is worth, as numbers that add up, a verdict and its reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from coalm.evals.multiwoz.autotod import Outcome, check_transcript
from coalm.evals.multiwoz.data import DOMAINS, Dialogue, State
from coalm.evals.multiwoz.database import TABLES, Database
from coalm.evals.multiwoz.live import LiveTurn, booked_so_far, judged_turns, transcript
from coalm.evals.multiwoz.state import StateScore, compare_states
from coalm.evals.multiwoz.success import Verdict, evaluator_goal, judge

_BOOKING_SLOTS = {
    "restaurant": {"people", "day", "time"},
    "hotel": {"people", "day", "stay"},
    "train": {"people"},
}


class Grades(NamedTuple):
    """All judgements on one dialogue of an agent."""

    verdict: Verdict
    """A reference number counts from the agent's own booking on."""
    strict: Verdict
    """A reference number counts from the turn on at which the corpus has the booking."""
    outcomes: Mapping[str, Outcome]
    """AutoTOD's checks without a judge, by domain."""


def grade_dialogue(
    dialogue: Dialogue,
    turns: Sequence[LiveTurn],
    states: Sequence[State | None],
    database: Database,
) -> Grades:
    """Judge a dialogue.

    `turns` and `states` are as many as the dialogue has turns, or any number when it has none
    because its user was simulated: then the strict verdict is the other one.
    """
    goal = evaluator_goal(dialogue.goal)
    own = judged_turns(turns, states, booked_so_far(turns))
    booked = [known.booked for known in dialogue.turns] or [turn.booked for turn in own]
    gold = [turn._replace(booked=known) for turn, known in zip(own, booked, strict=True)]
    return Grades(
        judge(goal, own, database),
        judge(goal, gold, database),
        check_transcript(dialogue.goal, transcript(turns), database),
    )


def grade_states(dialogue: Dialogue, states: Sequence[State | None]) -> list[StateScore]:
    """Compare every state with the gold one; a dialogue without turns has none."""
    return [
        compare_states(turn.state, state)
        for turn, state in zip(dialogue.turns, states, strict=bool(dialogue.turns))
    ]


def success_values(grades: Grades) -> dict[str, float]:
    """Numbers of Inform, Success and AutoTOD's checks, the same names for every dialogue."""
    values = {
        "inform": float(grades.verdict.informed),
        "success": float(grades.verdict.succeeded),
        "success strict": float(grades.strict.succeeded),
    }
    for domain in DOMAINS:
        values[f"{domain} goals"] = float(domain in grades.verdict.inform)
        values[f"{domain} inform"] = float(grades.verdict.inform.get(domain, False))
        values[f"{domain} success"] = float(grades.verdict.success.get(domain, False))
    for kind in ("inform", "success", "book"):
        flags = [getattr(outcome, kind) for outcome in grades.outcomes.values()]
        flags = [flag for flag in flags if flag is not None]
        values[f"autotod {kind} asked"] = float(bool(flags))
        values[f"autotod {kind}"] = float(bool(flags) and all(flags))
    combined = [outcome.combined for outcome in grades.outcomes.values()]
    values["autotod combined"] = sum(combined) / max(len(combined), 1)
    return values


def state_values(scores: Sequence[StateScore]) -> dict[str, float]:
    """Numbers of joint goal accuracy and slots, the same names for every dialogue."""
    values = {
        "turns": float(len(scores)),
        "jga fuzzy": float(sum(score.fuzzy for score in scores)),
        "jga exact": float(sum(score.exact for score in scores)),
        "jga fair": float(sum(score.fair for score in scores)),
    }
    for name in ("right", "extra", "missing"):
        values[f"slots fuzzy {name}"] = float(sum(getattr(s.fuzzy_slots, name) for s in scores))
        values[f"slots fair {name}"] = float(sum(getattr(s.fair_slots, name) for s in scores))
    for domain in DOMAINS:
        having = [score.domains[domain] for score in scores if domain in score.domains]
        values[f"{domain} turns"] = float(len(having))
        values[f"{domain} jga"] = float(sum(having))
    return values


class Finding(NamedTuple):
    """The first thing that went wrong, and all of them in words."""

    verdict: str
    """`success`, `no answer`, `never searched`, `nothing offered`, `wrong state`,
    `booked too early`, `never booked` or `answer not given`."""
    explanation: str | None


def find_errors(dialogue: Dialogue, turns: Sequence[LiveTurn], verdict: Verdict) -> Finding:
    """Why a dialogue did not succeed."""
    if verdict.succeeded:
        return Finding("success", None)
    if not any(turn.response for turn in turns):
        return Finding("no answer", "the agent never answered")
    errors = [*_inform_errors(turns, verdict)] or [*_answer_errors(dialogue, turns, verdict)]
    return Finding(errors[0].kind, "; ".join(f"{e.domain}: {e.text}" for e in errors))


class _Error(NamedTuple):
    kind: str
    domain: str
    text: str


def _inform_errors(turns: Sequence[LiveTurn], verdict: Verdict) -> Iterator[_Error]:
    searched = {step.domain for turn in turns for step in turn.steps}
    for domain, informed in verdict.inform.items():
        if informed:
            continue
        if domain in TABLES and domain not in searched:
            yield _Error("never searched", domain, "no tool of this domain was called")
        elif not verdict.offered.get(domain):
            yield _Error("nothing offered", domain, "nothing was named that fits the state")
        else:
            yield _Error("wrong state", domain, "what was offered does not all fit the goal")


def _answer_errors(
    dialogue: Dialogue, turns: Sequence[LiveTurn], verdict: Verdict
) -> Iterator[_Error]:
    booked = booked_so_far(turns)
    for domain, missing in verdict.missing.items():
        answers = ", ".join(sorted(missing))
        text = f"{answers} not given{_refusal(domain, turns)}"
        if "REFERENCE" in missing and not any(domain in domains for domains in booked):
            yield _Error("never booked", domain, text)
        elif "REFERENCE" in missing and _booked_early(domain, dialogue, booked):
            yield _Error("booked too early", domain, text)
        elif missing:
            yield _Error("answer not given", domain, text)


def _refusal(domain: str, turns: Sequence[LiveTurn]) -> str:
    """What the tools of a domain said last, if they refused."""
    steps = [step for turn in turns for step in turn.steps if step.domain == domain]
    return f" ({steps[-1].result['error']})" if steps and steps[-1].failed else ""


def _booked_early(domain: str, dialogue: Dialogue, booked: Sequence[frozenset[str]]) -> bool:
    """Whether the agent booked before the corpus' user had said all that a booking needs."""
    for known, domains in zip(dialogue.turns, booked, strict=bool(dialogue.turns)):
        if domain in domains:
            return not _BOOKING_SLOTS.get(domain, set()) <= known.state.get(domain, {}).keys()
    return False
