"""Turns wordings into utterances, and keeps where in the text every value stands."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Literal, NamedTuple, TypeAlias, cast

from coalm.world.names import words_by
from coalm.world.package_files import read_yaml
from coalm.world.rules import TODAY
from coalm.world.schema import Service, Slot, Wordings

Style: TypeAlias = Literal["user", "system", "literal"]
"""Users say "half past six"; the assistant always "6:30 pm"; literal is the canonical value."""


class Mention(NamedTuple):
    """A slot's value in a text."""

    slot: str
    value: str
    """Canonical, as a service takes it."""
    start: int
    end: int


class Phrase(NamedTuple):
    """A piece of an utterance."""

    text: str
    mentions: tuple[Mention, ...] = ()

    def form(self, mention: Mention) -> str:
        """How the value is put in this text."""
        return self.text[mention.start : mention.end]

    def lower(self) -> Phrase:
        """The same, typed by somebody who never uses capitals."""
        return Phrase(self.text.lower(), self.mentions)


def joined(phrases: Iterable[Phrase]) -> Phrase:
    """The phrases with a blank between them."""
    text, mentions = "", []
    for phrase in phrases:
        offset = len(text) + 1 if text and phrase.text else len(text)
        text = f"{text} {phrase.text}" if text and phrase.text else text + phrase.text
        mentions += [
            m._replace(start=m.start + offset, end=m.end + offset) for m in phrase.mentions
        ]
    return Phrase(text, tuple(mentions))


_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_VALUE = re.compile(r"\{(?:(on|a) )?(\w+)(?: (\w+)/(\w+))?\}")


@cache
def slots_in(wording: str) -> frozenset[str]:
    """The slots whose values the wording holds."""
    return frozenset(found[2] for found in _VALUE.finditer(wording))


def sentences(wording: str) -> Iterator[str]:
    """All that the wording stands for, without values."""
    found = _CHOICE.search(wording)
    if found is None:
        yield wording
        return
    for choice in found[1].split("|"):
        yield from sentences(wording[: found.start()] + choice + wording[found.end() :])


def fill(
    wording: str,
    slots: Mapping[str, Slot],
    values: Mapping[str, str],
    rng: random.Random,
    style: Style,
) -> Phrase:
    """One of the sentences that the wording stands for, with the values put in."""
    while found := _CHOICE.search(wording):
        choice = rng.choice(found[1].split("|"))
        wording = wording[: found.start()] + choice + wording[found.end() :]
    text, mentions, at = "", [], 0
    for found in _VALUE.finditer(wording):
        before, slot, one, many = found.groups()
        form = spoken(slots[slot], values[slot], rng, style)
        text += wording[at : found.start()] + _lead(before, form)
        if not text:  # a sentence begins with a capital; so does the value that stands first
            form = form[0].upper() + form[1:]
        mentions.append(Mention(slot, values[slot], len(text), len(text) + len(form)))
        text += form
        if one:
            text += f" {one if values[slot] == '1' else many}"
        at = found.end()
    text += wording[at:]
    return Phrase(text[:1].upper() + text[1:], tuple(mentions))


def _lead(before: str | None, form: str) -> str:
    if before == "on":
        return (
            ""
            if form.startswith(("today", "tomorrow", "the day after", "this ", "next "))
            else "on "
        )
    if before == "a":
        return "an " if form[0] in "aeiouAEIOU" else "a "
    return ""


def spoken(slot: Slot, value: str, rng: random.Random, style: Style) -> str:
    """The value as someone says it."""
    if style == "literal" and slot.kind != "money":
        return value
    if slot.kind == "date":
        return rng.choice(_dates(value)) if style == "user" else _dates(value)[0]
    if slot.kind == "time":
        return rng.choice(_times(value)) if style == "user" else _times(value)[0]
    if slot.kind == "money":
        return rng.choice((f"${value}", f"{value} dollars")) if style == "user" else f"${value}"
    if style == "user":
        return rng.choice(_words(slot, value))
    return value


def _words(slot: Slot, value: str) -> Sequence[str]:
    if slot.kind == "count":
        return (value, _NUMBERS[int(value)])
    if slot.kind == "city":
        return (value, value, *words_by("cities").get(value, ()))
    return slot.spoken.get(value, (value,))


_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@cache
def _dates(value: str) -> tuple[str, ...]:
    """Forms of a date, the assistant's first; only such as mean one day, seen from today."""
    day = date.fromisoformat(value)
    ahead = (day - TODAY).days
    month, weekday, number = day.strftime("%B"), day.strftime("%A"), _ordinal(day.day)
    forms = (
        f"{month} {number}",
        f"the {number} of {month}",
        f"the {number}",
        f"the {number} of this month",
    )
    forms = (*forms, f"{weekday} the {number}")
    if ahead < 3:
        return (("today",), ("tomorrow",), ("the day after tomorrow",))[ahead] * 3 + forms
    if weekday == TODAY.strftime("%A") and ahead == 7:
        return (*forms, f"next {weekday}")
    # Weeks run from Monday; "next Sunday" could be either of two, so nobody says it here.
    return (*forms, f"{weekday} next week") if 3 <= ahead < 9 else forms


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number // 10 != 1 else "th"
    return f"{number}{ending}"


@cache
def _times(value: str) -> tuple[str, ...]:
    """Forms of a time of day, the assistant's first."""
    hour, minute = int(value[:2]), int(value[3:])
    half, short = ("pm" if hour >= 12 else "am"), (hour - 1) % 12 + 1
    part = "morning" if hour < 12 else "afternoon" if hour < 17 else "evening"
    digits = f"{short}:{minute:02}" if minute else f"{short}"
    forms = [f"{digits} {half}", f"{digits} in the {part}", f"{hour}:{minute:02}"]
    if minute == 0:
        forms += [f"{short} o'clock in the {part}", *(["noon"] if hour == 12 else [])]
    if minute in (15, 30):
        forms.append(f"{'quarter' if minute == 15 else 'half'} past {short} in the {part}")
    if minute == 45:
        forms.append(f"quarter to {short % 12 + 1} in the {part}")
    return tuple(forms)


def pick(wordings: Wordings, values: Mapping[str, str], rng: random.Random) -> str:
    """One of the wordings that need no other values than these."""
    return rng.choice([w for w in wordings if slots_in(w) <= values.keys()])


def by_value(wordings: Wordings | Mapping[str, Wordings], value: str) -> Wordings:
    """The wordings of a slot, which for yes/no slots depend on the value."""
    return wordings[value] if isinstance(wordings, Mapping) else wordings


def request(
    service: Service, intent: str, values: Mapping[str, str], rng: random.Random, style: Style
) -> Phrase:
    """A user's whole request at once: what is wanted, with every one of the values."""
    wordings = [pick(service.intents[intent].open, values, rng) for _ in range(2)]
    opening = fill(max(wordings, key=_richness), service.slots, values, rng, style)
    said = {mention.slot for mention in opening.mentions}
    rest = [tell(service, slot, values[slot], rng, style) for slot in values if slot not in said]
    return joined([opening, *rest])


def _richness(wording: str) -> int:
    return len(slots_in(wording))


def tell(service: Service, slot: str, value: str, rng: random.Random, style: Style) -> Phrase:
    """The sentence in which a user gives one value."""
    wording = rng.choice(by_value(service.tell[slot], value))
    return fill(wording, service.slots, {slot: value}, rng, style)


def common(kind: str, rng: random.Random, values: Mapping[str, str] | None = None) -> Phrase:
    """A phrase that fits every service (`thanks`, `affirm`, ...; see common.yaml)."""
    wordings = cast("list[str]", read_yaml("common.yaml")[kind])
    return fill(
        rng.choice(wordings),
        {"count": Slot(description="", kind="count")},
        values or {},
        rng,
        "system",
    )


def names(text: str, slot: Slot, value: str) -> bool:
    """Whether a text says the value, in any of the forms that somebody may give it."""
    said = text.casefold()
    return any(_stands_in(form.casefold(), said) for form in _forms(slot, value))


def _forms(slot: Slot, value: str) -> Sequence[str]:
    if slot.kind == "date":
        return (value, *_dates(value))
    if slot.kind == "time":
        return (value, *_times(value))
    return (value, *_words(slot, value))


def _stands_in(form: str, text: str) -> bool:
    # words of their own: the 2 in "12" or "2.5" is none
    return re.search(rf"(?<![\w.:]){re.escape(form)}(?!\w|[.:]\d)", text) is not None
