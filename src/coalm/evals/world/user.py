"""A user who follows rules: says wishes bit by bit, answers, chooses, agrees, asks, says goodbye.

The user understands the agent by words alone: which values a reply names, and which words of a
question belong to which slot. Whether something has been booked the user knows as from a letter,
out of what the tools returned. One seed gives one way of speaking.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from coalm.evals.world.errands import REFERENCE, Errand, Want, agrees
from coalm.evals.world.steps import Dialogue, Step
from coalm.world.database import MOST_ROWS
from coalm.world.rules import Row
from coalm.world.schema import DONTCARE, Intent, Service, services
from coalm.world.speech import Speech
from coalm.world.wording import by_value, names, pick, sentences

_PATIENCE = 3
"""Turns in a row without any progress after which the user gives up."""
_NO_ROW: Row = {}
_NOTICED = ("date", "time", "city")
"""Kinds of slots for which the user notices another value in a confirmation."""
_CONFIRM = "confirm"
"""Who hears it about something else than the wish says no."""
_WORD = re.compile(r"[a-z]+")
_NO_YES = frozenset(("what", "which", "where", "when", "who", "how", "else"))
"""Words of questions to which yes is no answer, or not what the user wants to say."""


class ScriptedUser:
    """The user of one errand."""

    def __init__(self, errand: Errand) -> None:
        self._rng = random.Random(errand.id)
        self._speech = Speech(self._rng)
        self._wants = errand.wants
        self._at = -1
        self._since = 0
        """Turn in which the want was opened."""
        self._said: set[str] = set()
        """Slots of the present service that the user has spoken of."""
        self._asked: set[str] = set()
        """Questions of the present want that the user has put."""
        self._stalled = 0
        self._browsed = 0
        """Results that the user did not want, for the present want."""

    def speak(self, heard: Dialogue) -> str | None:
        """The next words; None when the user has everything, or has lost patience."""
        if self._at < 0:
            opened = self._open(0)
            greeting = self._speech.says("greeting").phrase.text
            return f"{greeting} {opened}" if self._rng.random() < 0.35 else opened
        step = self._met(heard)
        if step is not None:
            if question := self._question(step, heard):
                return question
            return self._go_on(heard)
        self._stalled += 1
        if self._stalled > _PATIENCE:
            return None
        return self._answer(heard.turns[-1].reply, heard)

    @property
    def _want(self) -> Want:
        return self._wants[self._at]

    @property
    def _service(self) -> Service:
        return services()[self._want.service]

    @property
    def _intent(self) -> Intent:
        return self._service.intents[self._want.intent]

    # -- what is done, and what comes next

    def _met(self, heard: Dialogue) -> Step | None:
        """The step that the user takes for the present want's: booked, or found and told."""
        made = [
            s for s in heard.steps if s.turn >= self._since and s.call.name == self._want.intent
        ]
        for step in reversed(made):
            if self._intent.transactional:
                if not step.failed:
                    return step
            elif any(self._is_told(row, heard) for row in step.rows if agrees(row, self._want.row)):
                return step
        return None

    def _is_told(self, row: Mapping[str, str], heard: Dialogue) -> bool:
        told = [slot for slot in self._want.tell if slot not in self._want.asks]
        return all(self._hears(slot, row.get(slot, ""), heard) for slot in told)

    def _hears(self, slot: str, value: str, heard: Dialogue) -> bool:
        replies = (turn.reply for turn in heard.turns[self._since :])
        return any(names(reply, self._service.slots[slot], value) for reply in replies)

    def _question(self, step: Step, heard: Dialogue) -> str | None:
        """What the user still wants to know about a result; every question is put once."""
        row = next((r for r in step.rows if agrees(r, self._want.row)), _NO_ROW)
        following = self._wants[self._at + 1 :][:1]
        needs = [REFERENCE] if following and self._cancels(following[0]) else []
        for slot in (*self._want.asks, *needs):
            if slot in row and slot not in self._asked and not self._hears(slot, row[slot], heard):
                self._asked.add(slot)
                return self._speech.wonders(slot).phrase.text
        return None

    def _cancels(self, want: Want) -> bool:
        required = services()[want.service].intents[want.intent].required
        return REFERENCE in required and REFERENCE not in want.wishes

    def _go_on(self, heard: Dialogue) -> str | None:
        if self._at + 1 == len(self._wants):
            return None
        reference = next((s.rows[0][REFERENCE] for s in reversed(heard.steps) if _booked(s)), "")
        chosen = self._speech.says("select").phrase.text if self._want.picks else ""
        self._since = len(heard.turns)
        opened = self._open(self._at + 1, reference)
        return f"{chosen} {opened}" if chosen else opened

    def _open(self, at: int, reference: str = "") -> str:
        """Ask for a want, giving some of the values."""
        same = at > 0 and self._wants[at - 1].service == self._wants[at].service
        before = self._wants[at - 1].row if same else {}
        self._at, self._asked, self._stalled, self._browsed = at, set(), 0, 0
        self._said = {slot for slot, value in self._wishes.items() if before.get(slot) == value}
        self._speech.service = self._service
        news = {s: v for s, v in self._wishes.items() if s not in self._said}
        if self._cancels(self._want):
            news[REFERENCE] = reference
        wordings = self._intent.follow if same and self._intent.follow else self._intent.open
        line = self._speech.user("INFORM", pick(wordings, news, self._rng), news)
        self._said |= {action.slot for action in line.actions}
        if self._cancels(self._want):
            self._wants = (
                *self._wants[:at],
                self._want.model_copy(update={"wishes": {REFERENCE: reference}}),
                *self._wants[at + 1 :],
            )
        more = [s for s in self._unsaid() if self._rng.random() < 0.4][:2]
        return " ".join([line.phrase.text, *map(self._tell, more)])

    # -- answers

    @property
    def _wishes(self) -> dict[str, str]:
        return self._want.wishes

    def _unsaid(self) -> list[str]:
        return [slot for slot in self._wishes if slot not in self._said]

    def _tell(self, slot: str) -> str:
        self._said.add(slot)
        value = self._wishes.get(slot, DONTCARE)
        if value == DONTCARE and slot not in self._service.any:
            return "I don't mind."
        return self._speech.tells(slot, value).phrase.text

    def _answer(self, reply: str, heard: Dialogue) -> str:
        """What the user says while the want is not met."""
        if self._misnamed(reply, heard):
            other = self._speech.says("alternatives").phrase.text
            self._browsed += 1
            self._stalled -= bool(self._unsaid()) or self._browsed <= MOST_ROWS
            return " ".join([other, *map(self._tell, self._unsaid()[:1])])
        asked = self._slots_asked(reply)
        news = [slot for slot in asked if slot not in self._said]
        if asked:
            # who is asked once more for the same says something else, too
            more = [] if news else self._unsaid()[:1]
            self._stalled -= bool(news or more)
            return " ".join(map(self._tell, [*asked, *more]))
        confirms, unsaid = self._confirms(reply), self._unsaid()
        wrong = self._contradicted(reply) if confirms else []
        if wrong or unsaid:
            self._stalled -= bool(unsaid)
            no = [self._speech.says("negate").phrase.text] if confirms else []
            return " ".join([*no, *map(self._tell, [*dict.fromkeys([*wrong, *unsaid])][:2])])
        if confirms or _takes_a_yes(reply):
            return self._speech.says("affirm").phrase.text
        return self._again(reply)

    def _again(self, reply: str) -> str:
        """The whole request once more, to an agent that did, or asks for, something else."""
        no = [self._speech.says("negate").phrase.text] if _CONFIRM in reply.casefold() else []
        line = self._speech.wants(self._want.intent, self._wishes)
        said = {action.slot for action in line.actions}
        rest = [self._tell(slot) for slot in self._wishes if slot not in said]
        return " ".join([*no, line.phrase.text, *rest])

    def _confirms(self, reply: str) -> bool:
        """Whether the agent repeats what is to be booked."""
        slots = self._service.slots
        named = [s for s, v in self._want.row.items() if names(reply, slots[s], v)]
        return self._intent.transactional and len(named) >= min(2, len(self._want.row))

    def _contradicted(self, reply: str) -> list[str]:
        """The slots for which a confirmation has another day, time or town than the wished."""
        mine, slots = {*self._want.row.values()}, self._service.slots
        return [
            name
            for name, value in self._wishes.items()
            if value != DONTCARE
            and slots[name].kind in _NOTICED
            and not names(reply, slots[name], value)
            and any(names(reply, slots[name], v) for v in slots[name].domain if v not in mine)
        ]

    def _misnamed(self, reply: str, heard: Dialogue) -> bool:
        """Whether the agent offers another result than the one that the user has in mind."""
        if not self._want.picks:
            return False
        slots, wanted = self._service.slots, self._want
        told = [slot for slot in wanted.tell if slot in wanted.row]
        # the right cinema at another time is another showing
        missing = [s for s in told if not names(reply, slots[s], wanted.row[s])]
        rows = [row for step in heard.steps if step.turn >= self._since for row in step.rows]
        return any(names(reply, slots[s], row[s]) for row in rows for s in missing if s in row)

    def _slots_asked(self, reply: str) -> list[str]:
        """The slots that a reply asks for, by the words of its questions."""
        slots, row = self._service.slots, self._want.row
        asked = asked_for(self._want.service, self._intent.inputs, reply)
        # a question that holds the value confirms it
        return [s for s in asked if s not in row or not names(reply, slots[s], row[s])]


def asked_for(service: str, slots: Sequence[str], reply: str) -> list[str]:
    """Which of a service's slots a reply asks for, by words of their own or by whole questions."""
    keywords, known = _keywords(service), _known_questions(service)
    found: set[str] = set()
    for words in _questions(reply):
        if words >= {"anything", "else"}:
            continue
        found |= {slot for slot in slots if words & keywords[slot]}
        # "Where are you going?" holds "Where are you?": the longer one is meant
        lengths = {s: max((len(q) for q in known[s] if q <= words), default=0) for s in slots}
        longest = max(lengths.values(), default=0)
        found |= {slot for slot in slots if lengths[slot] == longest > 0}
    return [slot for slot in slots if slot in found]


def _questions(text: str) -> list[frozenset[str]]:
    """The words of each question."""
    asked = [one for one in re.split(r"(?<=[.?!])\s+", text) if "?" in one]
    return [frozenset(_WORD.findall(one.casefold())) for one in asked]


def _takes_a_yes(reply: str) -> bool:
    """Whether yes is an answer to the last question."""
    asked = _questions(reply)
    return bool(asked) and not asked[-1] & _NO_YES


def _booked(step: Step) -> bool:
    return bool(step.rows) and REFERENCE in step.rows[0]


@cache
def _known_questions(service: str) -> Mapping[str, Sequence[frozenset[str]]]:
    """Slot to the words of each of the world's questions about it."""
    found = services()[service]
    return {
        slot: [
            words
            for wording in by_value(found.ask.get(slot, ()), "")
            for sentence in sentences(wording)
            for words in _questions(sentence)
        ]
        for slot in found.state_slots
    }


@cache
def _keywords(service: str) -> Mapping[str, frozenset[str]]:
    """Slot to the words by which questions about it are told from those about other slots."""
    found = services()[service]
    words: dict[str, set[str]] = {}
    for slot in found.state_slots:
        wordings: Sequence[str] = [str(wording) for wording in found.ask.get(slot, ())]
        words[slot] = set(_WORD.findall(" ".join([slot, *wordings]).replace("_", " ").casefold()))
    counts = Counter(word for own in words.values() for word in own)
    return {
        s: frozenset(w for w in own if counts[w] == 1 and len(w) > 3) for s, own in words.items()
    }
