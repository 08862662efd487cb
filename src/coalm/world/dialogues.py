"""Plays goals out between a user and an assistant who really calls the tools: SGD's dialogues.

Who says what follows SGD: the assistant asks for missing slots, searches, offers result by result,
has a booking confirmed before it makes it, and tells whether it worked. Each call stands on the
assistant's turn that answers the user, with the values that the user's state holds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from coalm.world.database import Database
from coalm.world.goals import Goal, Task
from coalm.world.rules import Row
from coalm.world.scene import Action, Call, Line, Scene, Tracker
from coalm.world.schema import DONTCARE, Service, Wordings, services
from coalm.world.slips import Slips
from coalm.world.speech import Speech
from coalm.world.tools import MODULES, world_toolbox
from coalm.world.wording import pick

_TRIES = 3
"""So often a user has a booking changed before giving up."""


def play(
    goal: Goal,
    database: Database,
    rng: random.Random,
    *,
    plain: bool = False,
    brisk: bool = False,
    slips: float = 0.0,
) -> dict[str, JsonValue]:
    """The dialogue in which a user pursues the goal, as SGD writes it.

    Args:
        goal: Drawn for a database with the same rows.
        database: Is booked in; give every dialogue a copy of its own.
        rng: Decides how things are said and who says how much.
        plain: The assistant asks for one thing at a time, only for what is required, and has one
            wording for each situation. The user speaks as ever.
        brisk: The user asks for something with all that there is to say about it.
        slips: How often the assistant first does something else, and the user says so; such a
            turn has `slip` in its frame.
    """
    script = _Script(database, rng, plain, brisk, slips)
    script.run(goal)
    turns: list[JsonValue] = [*script.scene.turns]
    names: list[JsonValue] = [*script.scene.trackers]
    return {"dialogue_id": goal.id, "services": names, "turns": turns}


class _Script:
    """One dialogue while it is being played."""

    def __init__(
        self, database: Database, rng: random.Random, plain: bool, brisk: bool, slips: float
    ) -> None:
        self.scene = Scene(world_toolbox(database=database))
        self._database = database
        self._rng = rng
        self._plain = plain
        self._brisk = brisk
        self._speech = Speech(rng, plain=plain)
        self._slips = Slips(slips, self.scene, self._speech, database, rng)
        self._service: Service
        self._given: dict[str, str] = {}
        """What the goal says."""
        self._wishes: dict[str, str] = {}
        """What the user wants at the moment."""
        self._hopes: dict[str, str] = {}
        self._pending: list[Line] = []
        """What the user says first in the next turn."""

    def run(self, goal: Goal) -> None:
        unmet: set[str | None] = set()
        for number, task in enumerate(goal.tasks):
            if task.follows in unmet:
                continue
            if number:
                self._bridge()
            if not self._task(task):
                unmet.add(task.service)
        self._close()

    def _task(self, task: Task) -> bool:
        """Whether the task was done; False: the user gave up."""
        self._service = self._speech.service = services()[task.service]
        self._given, self._hopes = task.wishes, dict(task.hopes)
        self._wishes = {**task.wishes, **task.hopes}
        self._open(task.intents[0])
        for name, after in zip(task.intents, (*task.intents[1:], None), strict=True):
            self._gather(name)
            transactional = self._service.intents[name].transactional
            row = self._book(name) if transactional else self._find(name)
            if row is None:
                return False
            self._wishes |= {s: row[s] for s in row.keys() & self._service.state_slots}
            self._go_on(name, after, row)
        return True

    @property
    def _tracker(self) -> Tracker:
        return self.scene.tracker(self._service.name)

    # -- asking and telling

    def _open(self, name: str, before: Row | None = None) -> None:
        """The user asks for the intent, giving some of the values.

        Args:
            name: The intent.
            before: The result that the user just chose; what it says need not be said again.
        """
        intent = self._service.intents[name]
        news = {s: v for s, v in self._news(name).items() if s not in (before or {})}
        wording = pick(intent.open if before is None else intent.follow, news, self._rng)
        line = self._speech.user("INFORM", wording, news)
        said = {action.slot for action in line.actions}
        line = line._replace(actions=(Action("INFORM_INTENT", "intent", name, name), *line.actions))
        greeting = self._speech.maybe(self._speech.says("greeting"), 0.35)
        rest = {s: v for s, v in news.items() if s not in said}
        more = self._volunteered(name, rest)
        self.scene.user(*self._taken(), *([] if self.scene.turns else greeting), line, *more)

    def _news(self, name: str) -> dict[str, str]:
        """Wishes for the intent that the assistant does not know yet."""
        inputs, known = self._service.intents[name].inputs, self._tracker.values
        wishes = {slot: self._wishes[slot] for slot in inputs if slot in self._wishes}
        return {slot: value for slot, value in wishes.items() if known.get(slot) != value}

    def _volunteered(self, name: str, news: Mapping[str, str]) -> list[Line]:
        """Up to two of the values, told without being asked; all of them by a brisk user."""
        if self._brisk:
            return [self._speech.tells(slot, value) for slot, value in news.items()]
        required = self._service.intents[name].required
        told = [s for s in news if self._rng.random() < (0.25 if s in required else 0.5)]
        return [self._speech.tells(slot, news[slot]) for slot in told[:2]]

    def _gather(self, name: str) -> None:
        """The assistant asks until it knows all required slots, and perhaps for one more."""
        intent, known = self._service.intents[name], self._tracker.values
        self._slips.ask(self._service, name, self._wishes)
        while missing := [slot for slot in intent.required if slot not in known]:
            asked = missing[: 1 if self._plain else self._rng.choice((1, 1, 2))]
            news = {s: v for s, v in self._news(name).items() if s not in asked}
            self._ask(asked, self._volunteered(name, news) if self._rng.random() < 0.3 else [])
            self._slips.ask(self._service, name, self._wishes)
        optional = [s for s in intent.optional if s in self._service.any.keys() - known.keys()]
        if optional and not self._plain and self._rng.random() < 0.3:
            self._ask([self._rng.choice(optional)], [])

    def _ask(self, slots: Sequence[str], more: Sequence[Line]) -> None:
        self.scene.system(*self._speech.lead(), *(self._speech.asks(slot) for slot in slots))
        told = [self._speech.tells(slot, self._wishes.get(slot, DONTCARE)) for slot in slots]
        self.scene.user(*told, *more)

    # -- searching

    def _find(self, name: str) -> Row | None:
        """The assistant searches and offers until the user is content; None: gives up."""
        self._slips.search(self._service, name)
        while True:
            call = self.scene.call(self._service.name)
            if call.failed:
                self._fail(self._service.intents[name].none, call)
                if not self._give_way(name):
                    return None
            elif (row := self._offer(name, call)) is not None:
                return row
            else:
                self._slips.search_again(self._service, name, call)

    def _offer(self, name: str, call: Call) -> Row | None:
        """Offer the results one by one; None: the user asked for a new search instead."""
        intent, rows = self._service.intents[name], call.results
        line = self._speech.assistant("OFFER", intent.offer, rows[0])
        counted = self._speech.counts(len(rows))
        self.scene.system(*(counted if len(rows) > 1 else []), line, call=call)
        wanted = self._wanted(rows)
        if self._plain and self._misses(name, rows[wanted]):
            return None
        for row, following in pairwise(rows[: wanted + 1]):
            self._wonder(row, line, 0.2)
            other = self._speech.says("alternatives", Action("REQUEST_ALTS"))
            unsaid = [s for s in self._news(name) if s in intent.optional]
            if unsaid and self._rng.random() < 0.6:
                self.scene.user(other, self._speech.tells(unsaid[0], self._wishes[unsaid[0]]))
                return None
            self.scene.user(other)
            self._slips.offer(self._service, name, row)
            line = self._speech.assistant("OFFER", intent.another, following)
            self.scene.system(line)
        self._wonder(rows[wanted], line, 0.5)
        return rows[wanted]

    def _misses(self, name: str, row: Row) -> bool:
        """Whether the user, who had not said everything, now says what the result lacks."""
        news = {s: v for s, v in self._news(name).items() if row.get(s, v) != v}
        if self._service.selects(name) and self._rng.random() < 0.5:
            return False  # asks for another result instead
        if news:
            self.scene.user(*(self._speech.tells(s, v) for s, v in news.items()))
        return bool(news)

    def _wanted(self, rows: Sequence[Row]) -> int:
        """Which of the results the user has in mind; the first where none fits."""
        for index, row in enumerate(rows):
            if all(row.get(slot, value) == value for slot, value in self._given.items()):
                return index
        return 0

    def _give_way(self, name: str) -> bool:
        """After a failure the user drops what cannot be had; False: there was nothing to drop."""
        values = self._tracker.values
        vain = [slot for slot, value in self._hopes.items() if values.get(slot) == value]
        changes = {slot: self._given.get(slot, DONTCARE) for slot in vain}
        for slot in vain:
            del self._hopes[slot]
            self._wishes[slot] = changes[slot]
        if changes:
            self._try_again(name, changes)
        return bool(changes)

    def _try_again(self, name: str, changes: Mapping[str, str]) -> None:
        again = self._speech.says("retry", Action("INFORM_INTENT", "intent", name, name))
        self.scene.user(again, *(self._speech.tells(s, v) for s, v in changes.items()))

    # -- booking

    def _book(self, name: str) -> Row | None:
        """Have it confirmed, book, and try again where it fails; None: gives up."""
        self._slips.confirm(self._service, name)
        for left in reversed(range(_TRIES)):
            row = self._commit(name, self._confirm(name))
            refused = "NOTIFY_FAILURE" not in self.scene.last_acts
            if row is not None or refused or not left:
                return row
            if not self._give_way(name):
                changes = self._change(name) if self._rng.random() < 0.7 else {}
                if not changes:
                    return None
                self._try_again(name, changes)
        return None

    def _confirm(self, name: str) -> list[str]:
        """Ask until the user affirms; returns the slots that the user wants to know."""
        intent = self._service.intents[name]
        wavers = self._rng.random() < 0.07
        while True:
            values = {**intent.optional, **self._tracker.values}
            summary = self._speech.assistant("CONFIRM", intent.confirm, values)
            self.scene.system(*self._speech.lead(), summary)
            wrong = {s: v for s, v in self._news(name).items() if values[s] != v}
            if not wrong and wavers:
                wrong, wavers = self._change(name), False
            if not wrong:
                break
            no = self._speech.says("negate", Action("NEGATE"))
            self.scene.user(no, *(self._speech.tells(s, v) for s, v in wrong.items()))
            self._slips.confirm(self._service, name)
        asked = self._curious(intent.result, set(intent.inputs), 0.3)
        yes = self._speech.says("affirm", Action("AFFIRM"))
        self.scene.user(yes, *map(self._speech.wonders, asked))
        return asked

    def _commit(self, name: str, asked: Sequence[str]) -> Row | None:
        """Book, take what is offered instead or leave it; None: it did not work."""
        intent = self._service.intents[name]
        while True:
            call = self.scene.call(self._service.name)
            if not call.results:
                self._fail(intent.failed, call)
                return None
            row = call.results[0]
            act, wordings = ("OFFER", intent.instead) if call.failed else ("INFORM", intent.done)
            line = self._speech.assistant(act, wordings, row)
            outcome = Action("NOTIFY_FAILURE" if call.failed else "NOTIFY_SUCCESS")
            line = line._replace(actions=(outcome, *line.actions))
            if not call.failed:
                unsaid = row.keys() - {action.slot for action in line.actions}
                answers = [self._speech.answers(slot, row) for slot in asked if slot in unsaid]
                self.scene.system(line, *answers, call=call)
                self._wonder(row, line, 0.25, asked)
                return row
            # what was asked has to wait: a tool that fails says what else there is, and no more
            self.scene.system(line, call=call)
            if self._rng.random() < 0.25:
                self.scene.user(self._speech.says("refuse_offer", Action("NEGATE")))
                self.scene.system(self._more())
                return None
            self.scene.user(self._speech.says("accept_offer", Action("AFFIRM")))

    def _change(self, name: str) -> dict[str, str]:
        """A new wish for one thing that the user is free to change, such as the time."""
        intents = self._service.intents
        searches = [intent for intent in intents.values() if not intent.transactional]
        found = {slot for intent in searches for slot in (*intent.inputs, *intent.result)}
        kinds = {slot: self._service.slots[slot].kind for slot in intents[name].inputs}
        free = [s for s, kind in kinds.items() if s not in found and kind not in ("text", "city")]
        if not free:
            return {}
        slot = self._rng.choice(free)
        new = MODULES[self._service.name].sample(self._database, self._rng, {})[slot]
        if new == self._tracker.values.get(slot):
            return {}
        self._wishes[slot] = new
        return {slot: new}

    # -- what comes after, and the end

    def _go_on(self, name: str, after: str | None, row: Row) -> None:
        """From one intent to the next one, or to the end of the task."""
        if after is not None and "reference_number" in self._service.intents[after].required:
            self._learn_reference()
        following = self._service.intents[name].leads_to
        if following is None or not self._service.selects(name):
            if after is not None:
                self._open(after, {})
            return
        chosen = self._speech.says("select", Action("SELECT"))
        if self._rng.random() < 0.5:
            self._pending = [chosen]
            if after is not None:
                self._open(after, row)
            return
        self.scene.user(chosen)
        suggestion = self._speech.assistant("", self._service.intents[following].suggest, {})
        offer = Action("OFFER_INTENT", "intent", following, following)
        self.scene.system(suggestion._replace(actions=(offer,)))
        if after is None:
            self._pending = [self._speech.says("refuse_intent", Action("NEGATE_INTENT"))]
            return
        yes = self._speech.says("accept_intent", Action("AFFIRM_INTENT"))
        self.scene.user(yes, *self._volunteered(after, self._news(after)))

    def _learn_reference(self) -> None:
        """The user asks for the number, unless the assistant has just told it."""
        if self._wishes["reference_number"] not in str(self.scene.turns[-1]["utterance"]):
            self.scene.user(self._speech.wonders("reference_number"))
            self.scene.system(self._speech.answers("reference_number", self._wishes))

    def _bridge(self) -> None:
        """Between two tasks: thanks, or a question whether there is more, or nothing."""
        if "REQ_MORE" in self.scene.last_acts:
            return
        chance = self._rng.random()
        if chance < 0.65 and not self._pending:
            self._pending = [self._speech.says("thanks", Action("THANK_YOU"))]
        if chance < 0.35:
            self.scene.user(*self._taken())
            self.scene.system(self._more())

    def _close(self) -> None:
        """The last turns of the dialogue."""
        asked, thanks = "REQ_MORE" in self.scene.last_acts, Action("THANK_YOU")
        if not asked and self._rng.random() < 0.5:
            leave = self._speech.says("leave", thanks, Action("GOODBYE"))
            self.scene.user(*self._taken(), leave)
        else:
            if not asked:
                first = self._taken() or [self._speech.says("thanks", thanks)]
                self.scene.user(*first)
                self.scene.system(self._more())
            self.scene.user(self._speech.says("nothing_more", Action("NEGATE"), thanks))
        self.scene.system(self._speech.replies("goodbye", Action("GOODBYE")))

    # -- questions about a result, and parts of turns

    def _wonder(self, row: Row, told: Line, chance: float, before: Sequence[str] = ()) -> None:
        """The user asks about the row, and the assistant answers out of it."""
        known = {*(action.slot for action in told.actions), *before, *self._given}
        asked = self._curious([*row], known, chance)
        if asked:
            query = self._speech.maybe(self._speech.says("query"), 0.25)
            self.scene.user(*query, *map(self._speech.wonders, asked))
            self.scene.system(*(self._speech.answers(slot, row) for slot in asked))

    def _curious(self, slots: Sequence[str], known: set[str], chance: float) -> list[str]:
        if self._rng.random() > chance:
            return []
        unknown = [slot for slot in slots if slot in self._service.wonder and slot not in known]
        return self._rng.sample(unknown, min(len(unknown), self._rng.choice((1, 1, 2))))

    def _fail(self, wordings: Wordings, call: Call) -> None:
        sorry = self._speech.assistant("", wordings, {})
        failure = sorry._replace(actions=(Action("NOTIFY_FAILURE"),))
        self.scene.system(failure, self._more(), call=call)

    def _more(self) -> Line:
        return self._speech.replies("more", Action("REQ_MORE"))

    def _taken(self) -> list[Line]:
        taken, self._pending = self._pending, []
        return taken
