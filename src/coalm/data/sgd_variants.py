"""SGD-X: dialogues of SGD under the paraphrased names of another schema file.

A variant (`sgd_x/data/v1` to `v5`) has the same services, slots and intents in the same order under
other names and descriptions, so names are translated by position, as its publishers' own
`generate_sgdx_dialogues.py` does. What is said and all values stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from coalm.data.sgd_records import Action, Dialogue, Frame, Service, ServiceCall, State
from coalm.errors import DataError

VARIANTS = "sgd_x/data"
"""Folder of the variants inside the data set."""
_INTENT_ACTS = ("INFORM_INTENT", "OFFER_INTENT")
"""Acts whose values are names of intents; a service may also have a slot called `intent`."""

_Value = TypeVar("_Value")


class _Names(NamedTuple):
    """What one service calls its parts in the variant."""

    service: str
    slots: Mapping[str, str]
    intents: Mapping[str, str]


class Renaming:
    """From the names of the original schema to those of a variant."""

    def __init__(
        self, original: Mapping[str, Service], variant: Sequence[Service], path: str
    ) -> None:
        """Match the services of both by position; `path` names the variant's file.

        Raises:
            DataError: they do not match.
        """
        if len(original) != len(variant):
            raise DataError(
                f"{path}: {len(variant)} services instead of the original's {len(original)}"
            )
        self._names = {
            name: _match(service, other, path)
            for (name, service), other in zip(original.items(), variant, strict=True)
        }

    def dialogue(self, dialogue: Dialogue) -> Dialogue:
        """The same dialogue with the variant's names."""
        turns = [
            turn.model_copy(update={"frames": [self._frame(frame) for frame in turn.frames]})
            for turn in dialogue.turns
        ]
        services = [self._names[name].service for name in dialogue.services]
        return dialogue.model_copy(update={"services": services, "turns": turns})

    def _frame(self, frame: Frame) -> Frame:
        names = self._names[frame.service]
        results = frame.service_results
        return Frame(
            service=names.service,
            actions=[_action(action, names) for action in frame.actions],
            state=_state(frame.state, names) if frame.state else None,
            service_call=_call(frame.service_call, names) if frame.service_call else None,
            service_results=[_keys(row, names) for row in results] if results is not None else None,
        )


def _match(original: Service, variant: Service, path: str) -> _Names:
    for kind in ("slots", "intents"):
        old, new = getattr(original, kind), getattr(variant, kind)
        if len(old) != len(new):
            raise DataError(
                f"{path}: {variant.service_name} has {len(new)} {kind} instead of the {len(old)} "
                f"of {original.service_name}"
            )
    return _Names(
        variant.service_name,
        {a.name: b.name for a, b in zip(original.slots, variant.slots, strict=True)},
        {a.name: b.name for a, b in zip(original.intents, variant.intents, strict=True)},
    )


def _action(action: Action, names: _Names) -> Action:
    if action.act not in _INTENT_ACTS:
        return action.model_copy(update={"slot": names.slots.get(action.slot, action.slot)})
    return action.model_copy(
        update={
            "values": [names.intents.get(value, value) for value in action.values],
            "canonical_values": [names.intents.get(v, v) for v in action.canonical_values],
        }
    )


def _state(state: State, names: _Names) -> State:
    return State(
        active_intent=names.intents.get(state.active_intent, state.active_intent),
        slot_values=_keys(state.slot_values, names),
    )


def _call(call: ServiceCall, names: _Names) -> ServiceCall:
    return ServiceCall(method=names.intents[call.method], parameters=_keys(call.parameters, names))


def _keys(values: Mapping[str, _Value], names: _Names) -> dict[str, _Value]:
    return {names.slots.get(name, name): value for name, value in values.items()}
