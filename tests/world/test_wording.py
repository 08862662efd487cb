from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from coalm.world.package_files import read_yaml
from coalm.world.rules import days
from coalm.world.schema import Service, Slot, Wordings, services
from coalm.world.services import bank
from coalm.world.wording import Phrase, common, fill, joined, slots_in, spoken

SERVICES = list(services().values())
NAMES = [service.name for service in SERVICES]


def all_wordings(service: Service) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for kind in ("ask", "tell", "any", "wonder", "answer"):
        for slot, ways in getattr(service, kind).items():
            groups = ways.values() if isinstance(ways, dict) else [ways]
            found += [(f"{kind} {slot}", wording) for group in groups for wording in group]
    for name, intent in service.intents.items():
        for kind, ways in intent.model_dump().items():
            if kind in ("open", "follow", "suggest", "offer", "another", "none") or (
                kind in ("confirm", "done", "failed", "instead")
            ):
                found += [(f"{name} {kind}", wording) for wording in ways]
    return found


@pytest.mark.parametrize("service", SERVICES, ids=NAMES)
def test_wordings_use_known_slots_outside_of_choices(service: Service) -> None:
    for place, wording in all_wordings(service):
        assert slots_in(wording) <= service.slots.keys(), (place, wording)
        assert not re.search(r"\[[^\]]*\{", wording), (place, wording)
        assert wording.count("[") == wording.count("]"), (place, wording)


@pytest.mark.parametrize("service", SERVICES, ids=NAMES)
def test_every_slot_can_be_asked_told_and_answered(service: Service) -> None:
    for name, intent in service.intents.items():
        assert set(intent.inputs) <= service.tell.keys(), name
        assert set(intent.required) - {"reference_number"} <= service.ask.keys(), name
        assert set(intent.inputs) | set(intent.result) <= service.slots.keys(), name
    assert service.wonder.keys() == service.answer.keys()
    assert service.any.keys() <= service.ask.keys()
    flags = {name for name, slot in service.slots.items() if slot.kind == "flag"}
    for ways in (service.tell, service.answer):
        assert {slot for slot, w in ways.items() if isinstance(w, dict)} <= flags
        assert all(set(ways[s]) == {"True", "False"} for s in flags & ways.keys())


@pytest.mark.parametrize("service", SERVICES, ids=NAMES)
def test_every_intent_can_be_played(service: Service) -> None:
    for name, intent in service.intents.items():
        assert any(not slots_in(wording) for wording in intent.open), name
        if intent.transactional:
            assert all(slots_in(w) == set(intent.inputs) for w in intent.confirm), name
            assert intent.confirm, name
            assert intent.done, name
            assert intent.failed, name
            assert all(slots_in(w) <= set(intent.result) for w in intent.done), name
        else:
            assert intent.none, name
            assert all(slots_in(w) <= set(intent.result) for w in intent.offer), name
            assert intent.offer, name
    for first, then in {
        pair for plan in service.plans for pair in zip(plan.intents, plan.intents[1:], strict=False)
    }:
        new = set(service.intents[then].required) - set(service.intents[first].inputs)
        assert service.intents[then].follow, then
        if service.selects(first):
            assert service.intents[first].leads_to == then
            offered = (*service.intents[first].offer, *service.intents[first].another)
            needed = new & set(service.intents[first].result)
            assert all(needed <= slots_in(wording) for wording in offered), first
            assert service.intents[first].another, first
            assert service.intents[then].suggest, then


def test_intent_names_occur_once() -> None:
    names = Counter(intent for service in SERVICES for intent in service.intents)
    assert set(names.values()) == {1}
    assert bank.TOOLS.keys() == services()["Bank_1"].intents.keys()


@pytest.mark.parametrize("kind", read_yaml("common.yaml"))
def test_common_wordings_can_be_said(kind: str) -> None:
    for number in range(50):
        phrase = common(kind, random.Random(number), {"count": "3"})
        assert re.fullmatch(r"[A-Z0-9][^{}\[\]|]*[.!?:]", phrase.text), phrase.text


def forms(kind: str, value: str) -> set[str]:
    slot = Slot(description="", kind=kind)  # type: ignore[arg-type]
    return {spoken(slot, value, random.Random(n), "user") for n in range(60)}


def test_no_two_dates_are_said_alike() -> None:
    said = Counter(form for day in days() for form in forms("date", day))
    assert max(said.values()) == 1


def test_no_two_times_are_said_alike() -> None:
    times = [f"{hour:02}:{minute:02}" for hour in range(6, 23) for minute in (0, 15, 30, 45)]
    said = Counter(form for time in times for form in forms("time", time))
    assert max(said.values()) == 1


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        ("date", "2019-03-01", "today"),
        ("date", "2019-03-02", "tomorrow"),
        ("date", "2019-03-03", "the day after tomorrow"),
        ("date", "2019-03-05", "Tuesday next week"),
        ("date", "2019-03-08", "next Friday"),
        ("date", "2019-03-22", "Friday the 22nd"),
        ("date", "2019-03-11", "March 11th"),
        ("time", "12:00", "noon"),
        ("time", "18:30", "half past 6 in the evening"),
        ("time", "11:45", "quarter to 12 in the morning"),
        ("time", "09:15", "9:15 am"),
        ("count", "4", "four"),
        ("money", "120", "$120"),
        ("city", "Port Marlow", "Marlow"),
    ],
)
def test_how_users_say_values(kind: str, value: str, form: str) -> None:
    assert form in forms(kind, value)


@pytest.mark.parametrize(
    ("wording", "values", "text"),
    [
        ("See you {on day}.", {"day": "2019-03-01"}, "See you today."),
        ("See you {on day}.", {"day": "2019-03-09"}, "See you on March 9th."),
        (
            "{n night/nights} in {a food} place",
            {"n": "1", "food": "Indian"},
            "1 night in an Indian place",
        ),
        (
            "{n night/nights} in {a food} place",
            {"n": "3", "food": "Thai"},
            "3 nights in a Thai place",
        ),
        ("{food} it [is|is].", {"food": "veggie"}, "Veggie it is."),
    ],
)
def test_fill(wording: str, values: dict[str, str], text: str) -> None:
    slots = {
        "day": Slot(description="", kind="date"),
        "n": Slot(description="", kind="count"),
        "food": Slot(description=""),
    }
    phrase = fill(wording, slots, values, random.Random(0), "system")
    assert phrase.text == text
    assert {m.slot: m.value for m in phrase.mentions} == values


def test_joined_phrases_keep_their_marks() -> None:
    slots: dict[str, Slot] = {"x": Slot(description="")}
    parts = [fill("Take {x}.", slots, {"x": v}, random.Random(0), "user") for v in ("Ann", "Bob")]
    both = joined([parts[0], Phrase(""), parts[1]])
    assert both.text == "Take Ann. Take Bob."
    assert [both.form(mention) for mention in both.mentions] == ["Ann", "Bob"]


def test_wordings_are_many() -> None:
    count: Wordings = tuple(w for service in SERVICES for _, w in all_wordings(service))
    assert len(count) > 600
