"""A dialogue on record: turns in SGD's layout, and the state that their acts lead to."""

from __future__ import annotations

from typing import NamedTuple, cast

from pydantic import JsonValue

from coalm.errors import ToolError
from coalm.tools import Toolbox
from coalm.world.rules import Row, UnavailableError
from coalm.world.schema import DONTCARE, Service, services
from coalm.world.wording import Phrase


class Action(NamedTuple):
    """One of SGD's dialogue acts."""

    act: str
    slot: str = ""
    form: str | None = None
    """The value as it is said; None for an act without one."""
    value: str | None = None
    """The value as the service takes it."""

    def as_json(self) -> dict[str, JsonValue]:
        """The action as SGD writes it."""
        return {
            "act": self.act,
            "slot": self.slot,
            "values": [] if self.form is None else [self.form],
            "canonical_values": [] if self.value is None else [self.value],
        }


class Line(NamedTuple):
    """A part of an utterance that concerns one service, and what it does."""

    service: str
    phrase: Phrase
    actions: tuple[Action, ...] = ()


class _Part(NamedTuple):
    """What one turn says of one service."""

    service: str
    actions: list[Action]
    spans: list[JsonValue]
    """Where in the turn's text the values stand."""

    def frame(self) -> dict[str, JsonValue]:
        """SGD's frame, as yet without state or call."""
        actions: list[JsonValue] = [action.as_json() for action in self.actions]
        return {"service": self.service, "actions": actions, "slots": self.spans}


class Call(NamedTuple):
    """A call that was really made, and what came of it."""

    method: str
    parameters: dict[str, str]
    results: list[Row]
    """On failure: what could be had instead, or nothing."""
    failed: bool


class Tracker:
    """The state of one service: what the user wants, in canonical values and in words."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.active = "NONE"
        self.values: dict[str, str] = {}
        self._forms: dict[str, list[str]] = {}

    def learn(self, action: Action) -> None:
        """Take over a value; new words for the same value are added, another value replaces."""
        slot, value, form = action.slot, action.value, action.form
        if slot not in self.service.state_slots or value is None or form is None:
            return
        forms = self._forms.get(slot, []) if self.values.get(slot) == value else []
        self.values[slot] = value
        self._forms[slot] = sorted({*forms, form})

    def parameters(self) -> dict[str, str]:
        """The arguments of a call of the active intent, as far as the state knows them."""
        inputs = self.service.intents[self.active].inputs
        known = {slot: self.values[slot] for slot in inputs if slot in self.values}
        return {slot: value for slot, value in known.items() if value != DONTCARE}

    def as_json(self, requested: list[str]) -> dict[str, JsonValue]:
        """The state as SGD writes it."""
        return {
            "active_intent": self.active,
            "requested_slots": list[JsonValue](sorted(set(requested))),
            "slot_values": {slot: list(forms) for slot, forms in sorted(self._forms.items())},
        }


class Scene:
    """Records turns; user turns change the state by their acts."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._proposed: tuple[Action, ...] = ()
        self.turns: list[dict[str, JsonValue]] = []
        self.trackers: dict[str, Tracker] = {}
        self.last_acts: frozenset[str] = frozenset()
        """The acts of the last turn."""

    def tracker(self, service: str) -> Tracker:
        """The service's state, empty at first."""
        return self.trackers.setdefault(service, Tracker(services()[service]))

    def user(self, *lines: Line) -> None:
        """A user's turn; lines of one service share a frame."""
        frames: list[JsonValue] = []
        for part in _parts(lines):
            tracker = self.tracker(part.service)
            self._follow(tracker, part.actions)
            requested = [action.slot for action in part.actions if action.act == "REQUEST"]
            frames.append({**part.frame(), "state": tracker.as_json(requested)})
        self._record("USER", lines, frames)

    def system(self, *lines: Line, call: Call | None = None, slip: str | None = None) -> None:
        """The assistant's turn, with the call that it made before it spoke.

        A `slip` is a turn that should have been another: it names the function wrongly taken, and
        nobody agrees to what it proposes.
        """
        (part,) = _parts(lines)
        frame = part.frame()
        if call is not None:
            parameters = dict[str, JsonValue](call.parameters)
            frame["service_call"] = {"method": call.method, "parameters": parameters}
            frame["service_results"] = cast("list[JsonValue]", call.results)
        if slip is not None:
            frame["slip"] = slip
        # What a later AFFIRM or SELECT agrees to.
        acts = ("CONFIRM", "OFFER", "OFFER_INTENT") if slip is None else ()
        proposal = tuple(a for a in part.actions if a.act in acts)
        if {a.act for a in proposal} == {"OFFER_INTENT"}:
            self._proposed = (*self._proposed, *proposal)
        elif proposal:
            self._proposed = proposal
        self._record("SYSTEM", lines, [frame])

    def call(self, service: str) -> Call:
        """Run the active intent with what the state knows."""
        tracker = self.tracker(service)
        return self.run(tracker.active, tracker.parameters())

    def run(self, method: str, parameters: dict[str, str]) -> Call:
        """Run a function with these arguments."""
        try:
            found = self._toolbox.call(method, dict[str, JsonValue](parameters))
        except UnavailableError as e:
            return Call(method, parameters, e.alternatives, failed=True)
        except ToolError:
            return Call(method, parameters, [], failed=True)
        rows = cast("list[Row]", found)
        return Call(method, parameters, rows, failed=not rows)

    def _follow(self, tracker: Tracker, actions: list[Action]) -> None:
        acts = {action.act for action in actions}
        if acts & {"AFFIRM", "SELECT"}:
            for action in self._proposed:
                tracker.learn(action)
        for action in actions:
            if action.act == "INFORM":
                tracker.learn(action)
            elif action.act == "INFORM_INTENT":
                tracker.active = action.value or "NONE"
            elif action.act == "AFFIRM_INTENT":
                tracker.active = self._proposed[-1].value or "NONE"
        if "NEGATE_INTENT" in acts or {"NEGATE", "THANK_YOU"} <= acts:
            tracker.active = "NONE"

    def _record(self, speaker: str, lines: tuple[Line, ...], frames: list[JsonValue]) -> None:
        utterance = " ".join(line.phrase.text for line in lines)
        self.last_acts = frozenset(action.act for line in lines for action in line.actions)
        self.turns.append({"speaker": speaker, "utterance": utterance, "frames": frames})


def _parts(lines: tuple[Line, ...]) -> list[_Part]:
    """The lines by service; a line without an act belongs to none."""
    parts: dict[str, _Part] = {}
    offset = 0
    for line in lines:
        slots = services()[line.service].slots
        if line.actions:
            part = parts.setdefault(line.service, _Part(line.service, [], []))
            part.actions.extend(line.actions)
            for mention in line.phrase.mentions:
                if mention.slot in slots and not slots[mention.slot].categorical:
                    start, end = mention.start + offset, mention.end + offset
                    part.spans.append({"slot": mention.slot, "start": start, "exclusive_end": end})
        offset += len(line.phrase.text) + 1
    return list(parts.values())
