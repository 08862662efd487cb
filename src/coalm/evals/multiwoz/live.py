"""What a live dialogue came to, read from its conversation alone.

Every user message opens a turn. The turn's response is the assistant's last message without a call;
what the tools were asked and what they returned stands in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from coalm.evals.multiwoz.autotod import Booking, Exchange, Transcript
from coalm.evals.multiwoz.data import State
from coalm.evals.multiwoz.delex import Lexicon, Value, row_values
from coalm.evals.multiwoz.normalize import DONT_CARE, UNSET, evaluator_slot
from coalm.evals.multiwoz.placeholders import named_domains, rewrite
from coalm.evals.multiwoz.schemas import TOOLS, state_schemas
from coalm.evals.multiwoz.success import JudgedTurn, evaluator_state
from coalm.types import Conversation, Message, ToolCall

_STATE_SLOTS = {
    schema.name: {evaluator_slot(slot) for slot in schema.properties} for schema in state_schemas()
}


class Step(NamedTuple):
    """A call and what came back."""

    call: ToolCall
    result: Mapping[str, JsonValue]
    """What the tool returned; `{"error": ...}` when it was not carried out."""

    @property
    def domain(self) -> str | None:
        """Domain of the tool; None when there is no such tool."""
        return TOOLS[self.call.name].domain if self.call.name in TOOLS else None

    @property
    def failed(self) -> bool:
        """Whether the call was not carried out."""
        return "error" in self.result

    @property
    def booking(self) -> Booking | None:
        """The booking that was made; None when the step made none."""
        if self.failed or self.domain is None or not TOOLS[self.call.name].books:
            return None
        details = {_detail(name): str(value) for name, value in self.result.items()}
        return Booking(self.domain, details.pop("reference", ""), details)


class LiveTurn(NamedTuple):
    """One turn of a dialogue."""

    user: str
    steps: Sequence[Step]
    response: str
    """Empty when the agent did not get to answer."""


def live_turns(conversation: Conversation) -> list[LiveTurn]:
    """The turns of a dialogue, one for each user message."""
    turns: list[LiveTurn] = []
    messages = conversation.messages
    starts = [at for at, message in enumerate(messages) if message.role == "user"]
    for start, end in zip(starts, [*starts[1:], len(messages)], strict=True):
        said = messages[start + 1 : end]
        spoken = [m.content for m in said if m.role == "assistant" and not m.tool_calls]
        response = spoken[-1] if spoken else ""
        turns.append(LiveTurn(messages[start].content, list(_steps(said)), response))
    return turns


def _steps(messages: Iterable[Message]) -> Iterator[Step]:
    """Calls with their results, which follow in the same order."""
    waiting: list[ToolCall] = []
    for message in messages:
        if message.role == "assistant":
            waiting = list(message.tool_calls)
        elif message.role == "tool" and waiting:
            yield Step(waiting.pop(0), _result(message.content))


def _result(content: str) -> Mapping[str, JsonValue]:
    try:
        found: JsonValue = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"error": content}


def _detail(name: str) -> str:
    """The name of a booking's detail as AutoTOD's checks have it."""
    return {"tickets": "people", "car type": "type"}.get(name, evaluator_slot(name))


def bookings(turns: Iterable[LiveTurn]) -> list[Booking]:
    """All bookings that the tools made, in order."""
    steps = (step for turn in turns for step in turn.steps)
    return [booking for step in steps if (booking := step.booking)]


def transcript(turns: Sequence[LiveTurn]) -> Transcript:
    """What AutoTOD's checks look at."""
    return Transcript([Exchange(turn.user, turn.response) for turn in turns], bookings(turns))


def states_from_calls(turns: Iterable[LiveTurn]) -> list[State]:
    """The state after each turn, collected from the arguments of all calls so far.

    What the user said but the agent has not used in a call is missing; a search without an earlier
    constraint does not take that constraint back.
    """
    state: dict[str, dict[str, str]] = {}
    states: list[State] = []
    for turn in turns:
        for step in turn.steps:
            if step.domain and (slots := _state_slots(step.domain, step.call.arguments)):
                state = {**state, step.domain: {**state.get(step.domain, {}), **slots}}
        states.append(state)
    return states


def _state_slots(domain: str, arguments: Mapping[str, JsonValue]) -> dict[str, str]:
    named = ((_detail(name), state_value(value)) for name, value in arguments.items())
    return {slot: value for slot, value in named if value and slot in _STATE_SLOTS[domain]}


def state_value(value: JsonValue) -> str:
    """A value of a state as text; empty when it says that there is none."""
    values = [str(one).strip() for one in (value if isinstance(value, list) else [value])]
    text = "|".join(values).lower()
    if value is None or text in UNSET:
        return ""
    return "dontcare" if text in DONT_CARE else text


def judged_turns(
    turns: Sequence[LiveTurn], states: Sequence[State | None], booked: Sequence[frozenset[str]]
) -> list[JudgedTurn]:
    """The turns as the rules of Inform and Success see them.

    A response counts through what the tools returned until then; what it names beyond that, made
    up or from elsewhere, stays plain text.

    Args:
        turns: Of one dialogue.
        states: After each turn; None where there is none.
        booked: After each turn, domains whose reference number counts.
    """
    lexicon = Lexicon(())
    judged: list[JudgedTurn] = []
    for turn, state, domains in zip(turns, states, booked, strict=True):
        if turn.steps:
            lexicon = Lexicon(_returned(turn.steps), lexicon)
        response = lexicon.replace(turn.response)
        judged.append(
            JudgedTurn(
                rewrite(response), evaluator_state(state or {}), named_domains(response), domains
            )
        )
    return judged


def booked_so_far(turns: Iterable[LiveTurn]) -> list[frozenset[str]]:
    """After each turn, the domains in which the tools have made a booking."""
    domains: frozenset[str] = frozenset()
    found: list[frozenset[str]] = []
    for turn in turns:
        domains |= {booking.domain for booking in bookings([turn])}
        found.append(domains)
    return found


def _returned(steps: Iterable[Step]) -> Iterator[Value]:
    """Everything that the results of some calls can be quoted by."""
    for step in steps:
        if booking := step.booking:
            details = {**booking.details, "reference": booking.reference}
            yield from _booking_values(booking.domain, details)
        elif step.domain and isinstance(rows := step.result.get("results"), list):
            for row in rows:
                if isinstance(row, dict):
                    texts = {evaluator_slot(column): str(cell) for column, cell in row.items()}
                    yield from row_values(step.domain, texts)


def _booking_values(domain: str, details: Mapping[str, str]) -> Iterator[Value]:
    yield Value(details["reference"], f"{domain}_reference")
    if domain == "taxi":
        yield Value(details.get("phone", ""), "taxi_phone")
    else:
        yield from row_values(domain, details)
