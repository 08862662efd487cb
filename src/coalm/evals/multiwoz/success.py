"""Inform and Success of a dialogue, by the rules of mwzeval (Tomiinek/MultiWOZ_Evaluation).

Judged are responses whose values are placeholders, together with a state per turn. A venue counts
as offered when the response has a NAME (of a train, a TRAINID): then every row that fits the state
of that turn is on offer, not only the venue that was really named. Inform asks whether all rows on
offer meet the user's goal, Success whether in addition everything the user wanted to know was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from coalm.evals.multiwoz.data import DomainGoal, State
from coalm.evals.multiwoz.database import TABLES, Database
from coalm.evals.multiwoz.normalize import UNSET, evaluator_slot, evaluator_value

ValueRule: TypeAlias = Callable[[str, str], str]
"""A value of a slot in the form that is compared, from slot and text: see `normalize`."""

_ANSWERS = ("PHONE", "ADDRESS", "POST", "TRAINID")
_COUNTED_OF_VENUES = {"phone": "PHONE", "address": "ADDRESS", "postcode": "POST"}
_COUNTED = {"train": {"trainID": "TRAINID"}, "taxi": {"phone": "PHONE"}}
_NO_VENUE = frozenset({"taxi", "hospital", "police"})


class Goal(NamedTuple):
    """What counts of a user's goal in one domain."""

    constraints: Mapping[str, str]
    wanted: frozenset[str]
    """Kinds of placeholders that must be said: PHONE, ADDRESS, POST, REFERENCE, TRAINID."""


class JudgedTurn(NamedTuple):
    """One turn as the rules see it."""

    response: str
    """With kinds for placeholders, see `placeholders.rewrite`."""
    state: State
    """See `evaluator_state`."""
    active: frozenset[str]
    """Domains that the response may be about."""
    booked: frozenset[str]
    """Domains whose reference number the system can know."""


class Verdict(NamedTuple):
    """What came of one dialogue, by domain of the goal."""

    inform: Mapping[str, bool]
    success: Mapping[str, bool]
    """Empty when the dialogue as a whole has no Inform: then there is no success either."""
    missing: Mapping[str, frozenset[str]]
    """What the user wanted to know of each domain and was not told."""
    offered: Mapping[str, bool]
    """Whether anything was on offer in the end, for domains that have venues or trains."""

    @property
    def informed(self) -> bool:
        """Inform of the dialogue."""
        return all(self.inform.values())

    @property
    def succeeded(self) -> bool:
        """Success of the dialogue."""
        return self.informed and all(self.success.values())


def evaluator_goal(goal: Mapping[str, DomainGoal]) -> dict[str, Goal]:
    """What counts of a goal: the constraints of `info`, and only some of the requests."""
    return {domain: _goal(domain, wish) for domain, wish in goal.items()}


def _goal(domain: str, wish: DomainGoal) -> Goal:
    counted = _COUNTED.get(domain, _COUNTED_OF_VENUES)
    wanted = {counted[request] for request in wish.reqt if request in counted}
    if wish.book is not None:
        wanted.add("REFERENCE")
    return Goal(_slots(wish.info), frozenset(wanted))


def evaluator_state(
    state: State, value_rule: ValueRule = evaluator_value
) -> dict[str, dict[str, str]]:
    """A predicted state with slots and values as the evaluator reads them."""
    return {domain: _slots(slots, value_rule) for domain, slots in state.items()}


def gold_state(state: State, value_rule: ValueRule = evaluator_value) -> dict[str, dict[str, str]]:
    """An annotated state in the same form; `none`, which MultiWOZ 2.1 has, is no value."""
    known = {
        domain: {slot: value for slot, value in slots.items() if value not in UNSET}
        for domain, slots in state.items()
    }
    return evaluator_state({d: slots for d, slots in known.items() if slots}, value_rule)


def _slots(slots: Mapping[str, str], value_rule: ValueRule = evaluator_value) -> dict[str, str]:
    named = ((evaluator_slot(name), value) for name, value in slots.items())
    return {slot: value_rule(slot, value) for slot, value in named}


def estimate_domains(states: Iterable[State]) -> list[frozenset[str]]:
    """What each turn is about, guessed from the changes of the states: one domain, or none yet."""
    current: frozenset[str] = frozenset()
    before: State = {}
    several: Sequence[str] = ()
    found: list[frozenset[str]] = []
    for state in states:
        changed = [domain for domain in state if _has_news(domain, state, before)]
        if not changed:
            # of domains that changed together, the one that was passed over has its turn now
            others = [domain for domain in several if domain in state and domain not in current]
            current = frozenset(others[:1]) or current
        elif current.isdisjoint(changed):
            current = frozenset({_fullest(changed, state)})
        before, several = state, changed
        found.append(current)
    return found


def _has_news(domain: str, state: State, before: State) -> bool:
    known = before.get(domain)
    return bool(state[domain]) if known is None else bool(state[domain].items() - known.items())


def _fullest(domains: Sequence[str], state: State) -> str:
    """The domain with most slots, the first one of several."""
    return max(domains, key=lambda domain: len(state[domain]))


def judge(goal: Mapping[str, Goal], turns: Sequence[JudgedTurn], database: Database) -> Verdict:
    """Walk through the turns of a dialogue and decide on Inform and Success."""
    offers = {domain: frozenset[str]() for domain in goal}
    said = {domain: set[str]() for domain in goal}
    for turn in turns:
        for domain in goal:
            if domain in turn.active:
                offers[domain] = _offer(domain, turn, offers[domain], database)
                said[domain] |= _answers(domain, turn)
    inform = {d: _is_informed(d, goal[d], offers[d], database) for d in goal}
    missing = {domain: wish.wanted - said[domain] for domain, wish in goal.items()}
    success = {domain: not missing[domain] for domain in goal} if all(inform.values()) else {}
    offered = {domain: bool(offers[domain]) for domain in goal if domain in TABLES}
    return Verdict(inform, success, missing, offered)


def _offer(
    domain: str, turn: JudgedTurn, before: frozenset[str], database: Database
) -> frozenset[str]:
    """What is on offer after a turn.

    An offer stays as long as all of it still fits the state, which keeps what was chosen from many.
    """
    if domain not in TABLES or ("TRAINID" if domain == "train" else "NAME") not in turn.response:
        return before
    slots = turn.state.get(domain)
    fitting = frozenset[str]() if slots is None else database.ids(domain, slots)
    return before if before and before <= fitting else fitting


def _answers(domain: str, turn: JudgedTurn) -> set[str]:
    found = {answer for answer in _ANSWERS if answer in turn.response}
    return found | {"REFERENCE"} if _has_reference(domain, turn) else found


def _has_reference(domain: str, turn: JudgedTurn) -> bool:
    return domain in turn.booked and "REFERENCE" in turn.response


def _is_informed(domain: str, goal: Goal, offer: frozenset[str], database: Database) -> bool:
    if domain in _NO_VENUE or "name" in goal.constraints:
        return True
    if not offer:
        # a train that is only to be found need not be named
        return domain == "train" and "TRAINID" not in goal.wanted
    return offer <= database.ids(domain, goal.constraints)
