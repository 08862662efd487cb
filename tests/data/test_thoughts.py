from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from coalm.data import thoughts
from coalm.data.base import Ledger
from coalm.data.files import Copy
from coalm.data.offers import Distractors
from coalm.data.sgd_exchanges import Exchange, read_exchanges
from coalm.data.sgd_functions import Catalogue
from coalm.data.sgd_records import Action, SgdFiles
from coalm.formats.text import write_value

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"
KEYS = [f"1_{n:05}/1" for n in range(40)]


def exchanges() -> dict[str, Exchange]:
    files = SgdFiles(Copy(FIXTURE), "train", Ledger())
    catalogue = Catalogue(files.services, Distractors(0, 0), 7)
    return {
        f"{dialogue.dialogue_id}/{exchange.turn}": exchange
        for dialogue in files.dialogues()
        for exchange in read_exchanges(
            dialogue,
            files.services,
            catalogue.offer(dialogue.services, dialogue.dialogue_id),
            result_rows=3,
        )
    }


EXCHANGES = exchanges()


def acts(*actions: tuple[Any, ...]) -> tuple[Action, ...]:
    return tuple(
        Action(act=act, slot=slot, values=[value], canonical_values=[value])
        for act, slot, value in actions
    )


def wordings(name: str, **changes: Any) -> set[str]:
    exchange = dataclasses.replace(EXCHANGES[name], **changes)
    return {thoughts.before_reply(exchange, key) for key in KEYS}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1_00000/3", 'FindTable city "Alba" cuisine "Greek" outdoor True'),
        (
            "1_00000/13",
            'BookTable restaurant_name "Samos" guests 2 date "2019-03-02" said "tomorrow"',
        ),
        ("1_00001/5", 'BookTable time "19:00" said "7 pm" date "2019-03-01"'),
        ("4_00000/1", 'Rooms_1_FindRoom town "New York" said "NYC" stars 4'),
        ("2_00003/1", "FindSong arguments"),
    ],
)
def test_before_a_call_function_and_values_are_named(name: str, words: str) -> None:
    found = {thoughts.before_call(EXCHANGES[name], key) for key in KEYS}
    assert len(found) > 1
    for thought in found:
        assert not [word for word in words.split() if word not in thought]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1_00000/1", "FindTable cuisine"),
        ("1_00000/3", '"Ithaka" "Alba"'),
        ("1_00000/5", '"Samos"'),
        ("1_00000/7", 'phone "555-05" call|function'),
        ("1_00000/9", "BookTable"),
        ("1_00000/11", 'BookTable time "18:30" guests 2 confirm|agree|check|yes'),
        ("1_00000/13", 'BookTable outdoor "True"'),
        ("1_00000/15", "ask|offer"),
        ("1_00000/17", "goodbye|close"),
        ("1_00001/1", '4 results "Chang"'),
        ("1_00001/5", 'time "19:30" BookTable'),
        ("2_00003/1", "FindSong tell|say"),
        ("4_00000/3", 'owner "Ann" and "Bob"'),
    ],
)
def test_before_a_reply_the_ground_of_it_is_named(name: str, words: str) -> None:
    found = wordings(name)
    assert len(found) > 1
    for thought in found:
        assert not [word for word in words.split() if not re.search(word, thought)], thought


def test_what_is_known_already_is_said_when_the_next_value_is_asked_for() -> None:
    for thought in wordings("1_00000/1"):
        assert 'city "Alba"' in thought
    assert wordings("1_00000/1", forms={}) == {
        "FindTable still needs cuisine, so I ask for that.",
        "I cannot call FindTable before I know cuisine.",
        "No call yet, because I lack cuisine for FindTable.",
    }
    for thought in wordings("1_00000/1", forms={"price": ["dontcare"]}):
        assert "dontcare" not in thought


def test_one_result_is_not_counted_in_the_plural() -> None:
    found = wordings(
        "1_00001/1", actions=acts(("OFFER", "city", "Alba"), ("INFORM_COUNT", "count", "1"))
    )
    assert found == {
        'There is one result, city "Alba". I present it.',
        'FindTable found just one result; I say so and suggest city "Alba".',
    }


def test_a_failure_is_told_from_the_acts_not_from_the_result() -> None:
    failed = acts(("NOTIFY_FAILURE", "", ""), ("REQ_MORE", "", ""))
    for thought in wordings("1_00001/5", actions=failed):
        assert 'time "19:30"' in thought
        assert "failed" in thought
    same = [{"time": "19:00"}]
    for thought in wordings("1_00001/5", actions=failed, rows=same):
        assert "failed" in thought
        assert "19" not in thought


def test_an_answer_out_of_the_conversation_does_not_claim_a_result() -> None:
    for thought in wordings("1_00000/7", earlier=[]):
        assert "result" not in thought


def test_an_answer_right_after_a_call_comes_from_its_result() -> None:
    for thought in wordings("1_00000/3", actions=acts(("INFORM", "phone", "555-01"))):
        assert 'phone "555-01"' in thought


def test_a_new_search_is_told_from_the_first() -> None:
    again = dataclasses.replace(
        EXCHANGES["1_00000/3"], user_acts=frozenset({"REQUEST_ALTS", "INFORM"})
    )
    for key in KEYS:
        assert re.search("something else|other results", thoughts.before_call(again, key))


@pytest.mark.parametrize("act", ["CONFIRM", "OFFER_INTENT", "WAVE"])
def test_an_act_that_no_wording_fits_gives_none(act: str) -> None:
    assert wordings("1_00000/3", actions=acts((act, "", ""))) == {""}


def test_thoughts_are_clean_sentences() -> None:
    found = set[str]()
    for exchange in EXCHANGES.values():
        for key in KEYS:
            found.add(thoughts.before_reply(exchange, key))
            if exchange.call:
                found.add(thoughts.before_call(exchange, key))
    assert len(found) > 60
    for thought in found:
        assert re.fullmatch(r"[A-Z].*[.]", thought), thought
        assert not re.search(r"  |\{|\}|\n| ,| \.|\(\)|None", thought), thought
        assert len(thought) < 300


def test_the_wording_depends_on_dialogue_and_turn_alone() -> None:
    exchange = EXCHANGES["1_00000/3"]
    assert thoughts.before_call(exchange, "a/1") == thoughts.before_call(exchange, "a/1")
    assert len({thoughts.before_call(exchange, key) for key in KEYS}) == 4


def test_plain_thoughts_have_one_wording_and_say_what_is_known_first() -> None:
    for exchange in EXCHANGES.values():
        found = {thoughts.before_reply(exchange, key, plain=True) for key in KEYS}
        if exchange.call:
            call = {thoughts.before_call(exchange, key, plain=True) for key in KEYS}
            assert len(call) == 1
            (thought,) = call
            assert re.fullmatch(r"(\w+): .*(missing|agreed|else), so I call it( again)?\.", thought)
            assert thought.startswith(exchange.call.name)
        assert len(found) == 1


def test_plain_thoughts_say_which_result_is_meant() -> None:
    rows = [{"name": "Elm Inn", "phone": "1"}, {"name": "Swan", "phone": "2"}]
    asked = EXCHANGES["1_00000/7"]

    def thought(offered: str, *actions: tuple[Any, ...]) -> str:
        exchange = dataclasses.replace(
            asked, actions=acts(*actions), earlier=rows, offered={"name": [offered]}
        )
        return thoughts.before_reply(exchange, KEYS[0], plain=True)

    phone = ("INFORM", "phone", "2")
    assert thought("Swan", phone) == 'Asked about name "Swan": phone "2". I tell the user.'
    assert thought("Elm Inn", phone) == 'Asked for: phone "2". I tell the user.'
    another = thought("Elm Inn", ("OFFER", "name", "Swan"))
    assert another == 'After name "Elm Inn": name "Swan". I offer that.'
    assert thought("Swan", ("OFFER", "name", "Elm Inn")).startswith('Another result: name "Elm')


def test_what_was_offered_last_is_kept_for_every_service() -> None:
    assert EXCHANGES["1_00000/3"].offered == {}
    assert EXCHANGES["1_00000/7"].offered == EXCHANGES["1_00000/5"].values("OFFER") != {}


def test_plain_thoughts_look_at_every_argument_as_it_was_said() -> None:
    found = {key: thoughts.before_reply(one, key, plain=True) for key, one in EXCHANGES.items()}
    calls = {
        key: thoughts.before_call(one, key, plain=True)
        for key, one in EXCHANGES.items()
        if one.call
    }
    for key, exchange in EXCHANGES.items():
        function = exchange.function
        thought = calls.get(key) or found[key]
        asks = {"REQUEST", "CONFIRM"} & set(exchange.acts())
        if function is None or exchange.fault or not (exchange.call or asks):
            continue
        state = thought.removeprefix(f"{function.name}: ")
        named = re.findall(r"(?:^|, )(\w+): ", state)
        assert set(function.required) <= set(named)
        assert named == [slot for slot in function.properties if slot in named]
        if exchange.call:
            assert ": missing" not in thought
            said = [exchange.said_of(s, v) for s, v in exchange.call.arguments.items()]
            assert all(write_value(value) in thought for value in said)
        elif "REQUEST" in asks:
            for slot in exchange.values("REQUEST"):
                assert f"{slot}: missing" in thought or slot not in function.required
