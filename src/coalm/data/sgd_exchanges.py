"""SGD dialogues as exchanges: what the user said, what was called, what came back, what was said.

The call stands on the system turn that answers the user, so an exchange is one user turn and the
system turn after it. Each is checked on the way: a call must fit its schema, and a reply may state
only what an observation or an earlier utterance holds. The first exchange that fails ends the
dialogue, because everything later would have the false statement in its history.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import JsonValue

from coalm.data.base import Said
from coalm.data.sgd_functions import ANY, Key, Offer, typed
from coalm.data.sgd_records import Action, Dialogue, Frame, Service, Turn
from coalm.errors import ToolError
from coalm.tools import check_arguments
from coalm.types import Message, ToolCall, ToolSchema

Row = Mapping[str, str]
Values = Mapping[str, Sequence[str]]


class Fault(NamedTuple):
    """Why an exchange cannot be learned from."""

    part: Literal["call", "reply"]
    """The first sample of the exchange that is false."""
    reason: str
    detail: str


@dataclass(frozen=True)
class Exchange:
    """A user turn and the system turn that answers it."""

    turn: int
    """Index of the system turn in the dialogue."""
    user: str
    reply: str
    heard: str
    """Everything said so far, the user's turn included, in lower case."""
    user_acts: frozenset[str]
    forms: Values
    """Slot to the forms in which the user has given its value."""
    function: ToolSchema | None
    """What the user's active intent is called on offer; None without an intent."""
    transactional: bool
    """Whether that function changes something, so that the user has to confirm it."""
    actions: Sequence[Action]
    """What the system does in its reply."""
    functions: Mapping[str, str]
    """Intent of the service to its name on offer."""
    call: ToolCall | None
    parameters: Row
    """The call's arguments as SGD has them, all text."""
    rows: Sequence[Row]
    """Result rows that the observation shows."""
    earlier: Sequence[Row]
    """Result rows of the same service that earlier observations show."""
    offered: Values
    """Slot to values of the last offer of the same service, before this turn."""
    fault: Fault | None
    slip: bool = False
    """A mistake of the system that the user corrects: to be shown, not to be learned."""

    @property
    def observation(self) -> Message:
        """The tool message with the rows, as text values, in a JSON list."""
        text = json.dumps(list(self.rows), ensure_ascii=False)
        return Message(role="tool", name=self.call.name if self.call else None, content=text)

    def words(self, slot: str) -> str | None:
        """How the user said an argument of the call, see `Said.words`; None if as it is."""
        return self._words(slot, self.parameters[slot])

    def said_of(self, slot: str, value: JsonValue) -> JsonValue:
        """The user's words for a value, or the value itself where there are none."""
        return self._words(slot, str(value)) or value

    def _words(self, slot: str, value: str) -> str | None:
        """The last words for a value; None when it was said itself or the user never gave it."""
        forms = self.forms.get(slot)
        if forms is None:
            return None
        if value in ("True", "False"):
            # these are names of values: "that is true" says nothing about a slot
            forms = [form for form in forms if form != value]
        elif is_said(value, self.heard):
            return None
        said = [form for form in forms if is_said(form, self.heard)]
        return said[-1] if said else ""

    def known(self) -> dict[str, JsonValue]:
        """What the user's function needs and the system does not ask for, as last said."""
        wanted = self.function.properties if self.function else {}
        asked = self.values("REQUEST")
        return {
            slot: typed(wanted[slot].get("type"), forms[-1])
            for slot, forms in self.forms.items()
            if slot in wanted and slot not in asked and forms and forms[-1] != ANY
        }

    def details(self) -> dict[str, JsonValue]:
        """What the user is asked to confirm, with the types that the call will have."""
        wanted = self.function.properties if self.function else {}
        return {
            slot: typed(wanted.get(slot, {}).get("type"), values[0])
            for slot, values in self.values("CONFIRM").items()
            if values
        }

    def said(self) -> list[Said]:
        """What SGD has for the values that the thoughts and the call rest on, if not the words."""
        values = self.call.arguments if self.call else {**self.known(), **self.details()}
        return [
            Said(slot, str(value), words)
            for slot, value in values.items()
            if (words := self._words(slot, str(value))) is not None
        ]

    def acts(self) -> list[str]:
        """The kinds of the system's actions, each once, in order."""
        return list(dict.fromkeys(action.act for action in self.actions))

    def values(self, act: str) -> dict[str, Sequence[str]]:
        """Slot to canonical values of all actions of one kind."""
        return {a.slot: a.canonical_values for a in self.actions if a.act == act}


def read_exchanges(
    dialogue: Dialogue,
    services: Mapping[str, Service],
    offer: Offer,
    result_rows: int | None,
) -> Iterator[Exchange]:
    """The exchanges of a dialogue, up to and with the first that has a fault.

    Args:
        dialogue: alternating turns, each system turn with one frame.
        services: the schemas.
        offer: the dialogue's functions.
        result_rows: longer results are cut to this many rows where that is safe; None never cuts.
    """
    heard = ""
    earlier: dict[str, list[Row]] = {}
    offered: dict[str, Values] = {}
    pairs = list(zip(dialogue.turns[::2], dialogue.turns[1::2], strict=True))
    for number, (user, system) in enumerate(pairs):
        frame = system.frames[0]
        heard += f"{user.utterance.lower()}\n"
        later = [turn.frames[0] for _, turn in pairs[number:]]
        rows = _shown(frame, later, result_rows)
        seen = earlier.setdefault(frame.service, [])
        before = _Before(list(seen), offered.get(frame.service, {}), heard)
        service = services[frame.service]
        exchange = _exchange(2 * number + 1, user, system, service, offer, rows, before)
        yield exchange
        if exchange.fault:
            return
        if not exchange.slip:
            seen += rows
            offered[frame.service] = exchange.values("OFFER") or before.offered
        heard += f"{system.utterance.lower()}\n"


class _Before(NamedTuple):
    """What the dialogue holds when a turn is answered."""

    rows: Sequence[Row]
    offered: Values
    heard: str


def _exchange(
    turn: int,
    user: Turn,
    system: Turn,
    service: Service,
    offer: Offer,
    rows: Sequence[Row],
    before: _Before,
) -> Exchange:
    frame = system.frames[0]
    state = next((f.state for f in user.frames if f.service == frame.service), None)
    method = frame.service_call.method if frame.service_call else frame.slip
    intent = service.intent(method or (state.active_intent if state else ""))
    function = offer.by_key[Key(frame.service, intent.name)] if intent else None
    parameters = frame.service_call.parameters if frame.service_call else {}
    call, fault = _call(function, parameters) if frame.service_call and function else (None, None)
    return Exchange(
        turn=turn,
        user=user.utterance.strip(),
        reply=system.utterance.strip(),
        heard=before.heard,
        user_acts=user.acts,
        forms=state.slot_values if state else {},
        function=function,
        transactional=bool(intent and intent.is_transactional),
        actions=frame.actions,
        functions={i.name: offer.by_key[Key(frame.service, i.name)].name for i in service.intents},
        call=call,
        parameters=parameters,
        rows=rows,
        earlier=before.rows,
        offered=before.offered,
        fault=fault or _reply_fault(frame, rows, before.rows, before.heard),
        slip=frame.slip is not None,
    )


def _call(function: ToolSchema, parameters: Row) -> tuple[ToolCall, Fault | None]:
    """The call with values of the schema's types."""
    try:
        arguments = check_arguments(function, dict(parameters))
    except ToolError as e:
        fault = Fault("call", "call that does not fit its schema", str(e))
        return ToolCall(name=function.name, arguments=dict(parameters)), fault
    return ToolCall(name=function.name, arguments=arguments), None


def _shown(frame: Frame, later: Sequence[Frame], limit: int | None) -> list[Row]:
    """The result rows without those that no reply speaks of, in their order."""
    rows = frame.service_results or []
    counted = any(action.act == "INFORM_COUNT" for action in frame.actions)
    if limit is None or len(rows) <= limit or counted:
        # a reply that says "there are 7" can only be learned from all 7
        return list(rows)
    offers = [_values(other, "OFFER") for other in later if other.service == frame.service]
    return [
        row
        for number, row in enumerate(rows)
        if number < limit or any(offer and _holds(row, offer) for offer in offers)
    ]


def _values(frame: Frame, act: str) -> Values:
    return {a.slot: a.canonical_values for a in frame.actions if a.act == act}


def _holds(row: Row, values: Values) -> bool:
    return all(row.get(slot) in choice for slot, choice in values.items())


def _reply_fault(
    frame: Frame, rows: Sequence[Row], earlier: Sequence[Row], heard: str
) -> Fault | None:
    """What the reply states without any ground; None when all is well."""
    offered = _values(frame, "OFFER")
    # what is offered after a call must come from that call: older results may not fit any more
    holders = [row for row in (rows if frame.service_call else earlier) if _holds(row, offered)]
    for slot, values in offered.items():
        for value in values:
            if not any(row.get(slot) == value for row in holders):
                return Fault("reply", "offer that no result holds", f"{slot}: {value!r}")
    for action in frame.actions:
        if action.act == "INFORM" and not _is_known(action, [*rows, *earlier], heard):
            detail = f"{action.slot}: {action.canonical_values}"
            return Fault("reply", "value that nobody gave", detail)
    if frame.service_call and any(a.act == "NOTIFY_SUCCESS" for a in frame.actions):
        return _contradiction(frame.service_call.parameters, rows)
    return None


def _is_known(action: Action, known: Sequence[Row], heard: str) -> bool:
    forms = {form.lower() for form in (*action.canonical_values, *action.values)}
    return any(row.get(action.slot) in action.canonical_values for row in known) or any(
        form in heard for form in forms
    )


def is_said(form: str, heard: str) -> bool:
    """Whether it was said as words of their own: the 2 in "12" is none."""
    text = form.lower()
    at = heard.find(text)
    while at >= 0:
        around = heard[at - 1 : at] + heard[at + len(text) : at + len(text) + 1]
        if not any(sign.isalnum() for sign in around):
            return True
        at = heard.find(text, at + 1)
    return False


def _contradiction(parameters: Row, rows: Sequence[Row]) -> Fault | None:
    """A booking at another time than asked for, reported as done (357 times in train).

    Where the reply tells of the other time instead, the acts are NOTIFY_FAILURE and OFFER, so
    these turns would teach the opposite from the same observation.
    """
    for slot, value in differences(parameters, rows[0] if rows else {}).items():
        detail = f"{slot}: {parameters[slot]!r} was asked for, the result has {value!r}"
        return Fault("reply", "success that the result contradicts", detail)
    return None


def differences(parameters: Row, row: Row) -> dict[str, str]:
    """What a result row has instead of the value that was asked for."""
    return {slot: row[slot] for slot, value in parameters.items() if row.get(slot, value) != value}
