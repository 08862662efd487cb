"""Agents without a model, which show what the benchmark can give and that its user is understood.

`Oracle` knows the errand: it carries out one want after the other and says the whole result. The
`Patient` knows it too, but uses only what the user has said so far, and works as the agents of the
training data do. Both answer prompts with messages; a scripted engine writes these as text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from coalm.evals.base import Sample
from coalm.evals.world.errands import REFERENCE, Errand, Want, agrees
from coalm.evals.world.steps import rows_of
from coalm.types import Message, Prompt, ToolCall
from coalm.world.rules import Row
from coalm.world.schema import services
from coalm.world.speech import Speech
from coalm.world.tools import world_toolbox
from coalm.world.wording import names


class Oracle:
    """Knows the errand: carries out the next want at every turn, then says the whole result."""

    def __init__(
        self, sample: Sample, *, skip: Sequence[str] = (), hide: Sequence[str] = ()
    ) -> None:
        self._wants = list(Errand.model_validate(sample.target).wants)
        self._toolbox = world_toolbox(0)
        self._skip = skip
        self._hide = hide
        self._row: Row = {}
        self._called = False
        self._reference = ""

    def __call__(self, prompt: Prompt) -> Message:
        """The next call, or everything that the last one gave."""
        if self._called or not self._wants or self._wants[0].intent in self._skip:
            self._called = False
            said = [
                f"{slot} {value}" for slot, value in self._row.items() if slot not in self._hide
            ]
            return Message(role="assistant", content=f"Done: {', '.join(said)}")
        want = self._wants.pop(0)
        self._called = True
        call = self.call_of(want)
        rows = self._rows_of(call)
        self._row = next(row for row in rows if agrees(row, want.row))
        self._reference = self._row.get(REFERENCE, self._reference)
        return Message(role="assistant", tool_calls=(call,))

    def _rows_of(self, call: ToolCall) -> list[Row]:
        return rows_of(self._toolbox.execute(call).content) or []

    def call_of(self, want: Want) -> ToolCall:
        """The right call."""
        arguments = dict(want.wishes)
        if REFERENCE in services()[want.service].intents[want.intent].required:
            arguments.setdefault(REFERENCE, self._reference)
        return ToolCall(name=want.intent, arguments=dict(arguments))


class Patient(Oracle):
    """Asks, searches, offers one result after the other, has a booking confirmed, answers."""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self._rng = random.Random(sample.id)
        self._speech = Speech(self._rng)
        self._heard = ""
        self._turn = ""
        self._replies = ""
        self._rows: list[Row] = []
        self._confirmed: dict[str, str] | None = None
        self._searched: dict[str, str] | None = None
        self._done: Want | None = None

    def __call__(self, prompt: Prompt) -> Message:
        """What comes next after the user's last words."""
        current = prompt[-1].content.rpartition("[END OF CONVERSATION HISTORY]")[2]
        if self._called:
            self._called = False
            return self._said(self._result())
        self._turn = current.partition("User: ")[2]
        self._heard += f" {self._turn}"
        if self._done is not None and self._is_open(self._done):
            facts = [f"{slot}: {value}." for slot, value in self._row.items()]
            return self._said(" ".join(facts))
        self._done = None
        if not self._wants:
            return self._said("Is there anything else?")
        return self._next(self._wants[0])

    def _next(self, want: Want) -> Message:
        service = services()[want.service]
        self._speech.service = service
        intent = service.intents[want.intent]
        known = {s: v for s, v in want.wishes.items() if names(self._heard, service.slots[s], v)}
        if REFERENCE in intent.required and REFERENCE not in want.wishes:
            known[REFERENCE] = self._reference
        known |= {s: v for s, v in self._row.items() if want.wishes.get(s) == v}
        if self._rows and known == self._searched:
            self._row = self._rows.pop(0)
            return self._said(self._offer(want))
        missing = [slot for slot in intent.required if slot not in known]
        if missing:
            return self._said(self._speech.asks(missing[0]).phrase.text)
        if intent.transactional and self._confirmed != known:
            self._confirmed = known
            values = {**intent.optional, **known}
            return self._said(self._speech.assistant("", intent.confirm, values).phrase.text)
        self._confirmed, self._searched = None, known
        call = ToolCall(name=want.intent, arguments=dict(known))
        self._rows = self._rows_of(call)
        self._called = True
        return Message(role="assistant", tool_calls=(call,))

    def _result(self) -> str:
        want = self._wants[0]
        intent = services()[want.service].intents[want.intent]
        if not self._rows:
            return "Sorry, that did not work."
        self._row = self._rows.pop(0)
        if not intent.transactional:
            return self._offer(want)
        self._rows = []
        self._reference = self._row.get(REFERENCE, self._reference)
        self._close()
        return self._speech.assistant("", intent.done, self._row).phrase.text

    def _offer(self, want: Want) -> str:
        intent = services()[want.service].intents[want.intent]
        if agrees(self._row, want.row):
            self._rows = []
            self._close()
        return self._speech.assistant("", intent.offer, self._row).phrase.text

    def _close(self) -> None:
        self._done = self._wants.pop(0)
        self._replies = ""

    def _is_open(self, want: Want) -> bool:
        """Whether the user has not heard yet what there is to know."""
        slots = services()[want.service].slots
        asks = want.asks
        if self._wants and REFERENCE not in self._wants[0].wishes:
            following = services()[self._wants[0].service].intents[self._wants[0].intent]
            asks += (REFERENCE,) if REFERENCE in following.required else ()
        told = (names(self._replies, slots[s], self._row[s]) for s in asks if s in self._row)
        return not all(told)

    def _said(self, text: str) -> Message:
        self._replies += f" {text}"
        return Message(role="assistant", content=text)
