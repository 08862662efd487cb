from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from coalm.data.config import SgdRequestsConfig
from coalm.data.files import Copy
from coalm.data.sgd_requests import SgdRequestsSource
from coalm.data.validate import validate
from coalm.errors import DataError
from coalm.formats import get_format
from coalm.types import Conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"
TOWNS = {"San Jose": "San Jose, CA", "Concord": "Concord, CA", "Paris": "Paris, France"}


def dialogue(number: int, **values: str) -> dict[str, Any]:
    """A user who looks for a table, and says goodbye."""
    actions = [{"act": "INFORM_INTENT", "slot": "intent", "values": ["FindTable"]}]
    actions += [{"act": "INFORM", "slot": s, "values": [v]} for s, v in values.items()]
    state = {"active_intent": "FindTable", "slot_values": {s: [v] for s, v in values.items()}}
    text = f"A table, number {number}: {', '.join(values.values())}."
    closing = [{"act": "GOODBYE", "slot": "", "values": []}]
    turns = [
        ("USER", text, actions, state),
        ("SYSTEM", "Here you are.", [], None),
        ("USER", "Good night.", closing, {"active_intent": "NONE", "slot_values": {}}),
        ("SYSTEM", "Good night.", [], None),
    ]
    return {
        "dialogue_id": f"1_{number:05}",
        "services": ["Tables_1"],
        "turns": [
            {"speaker": speaker, "utterance": text, "frames": [frame(actions, state)]}
            for speaker, text, actions, state in turns
        ],
    }


def frame(actions: list[dict[str, Any]], state: Any) -> dict[str, Any]:
    acts = [{**action, "canonical_values": action["values"]} for action in actions]
    return {"service": "Tables_1", "actions": acts, "state": state}


def read(
    folder: Path, dialogues: Sequence[dict[str, Any]], **settings: Any
) -> tuple[list[Conversation], SgdRequestsSource]:
    (folder / "train").mkdir(exist_ok=True)
    shutil.copy(FIXTURE / "train" / "schema.json", folder / "train")
    (folder / "train" / "dialogues_001.json").write_text(json.dumps(dialogues), encoding="utf-8")
    source = SgdRequestsSource(Copy(folder), SgdRequestsConfig(**settings), 7)
    return list(source.conversations()), source


def everyone() -> list[dict[str, Any]]:
    wishes = itertools.product(range(4), TOWNS, ("Greek", "Thai"))
    return [dialogue(n, city=town, cuisine=food) for n, (_, town, food) in enumerate(wishes)]


def test_a_request_with_all_that_is_required_is_called_and_no_other(tmp_path: Path) -> None:
    whole = dialogue(1, city="Paris", cuisine="Thai", outdoor="True")
    samples, _ = read(tmp_path, [whole, dialogue(2, city="Paris")], tools="own")
    (sample,) = samples
    (call,) = sample.messages[-1].tool_calls
    assert sample.messages[0].content == "A table, number 1: Paris, Thai, True."
    assert call.name == "Tables_1_FindTable"
    assert call.arguments == {"city": "Paris", "cuisine": "Thai", "outdoor": True}
    names = {tool.name for tool in sample.tools}
    assert names == {"Tables_1_FindTable", "Tables_1_BookTable"}


def test_what_does_not_matter_to_the_user_is_left_out(tmp_path: Path) -> None:
    anything = dialogue(1, city="Paris", cuisine="Thai", price="dontcare")
    (sample,), _ = read(tmp_path, [anything])
    (call,) = sample.messages[-1].tool_calls
    assert call.arguments == {"city": "Paris", "cuisine": "Thai"}


def test_requests_of_a_service_share_a_few_offers(tmp_path: Path) -> None:
    samples, _ = read(tmp_path, everyone(), offers=3, tools="own+0..2")
    offers = Counter(tuple(tool.name for tool in sample.tools) for sample in samples)
    assert len(samples) == 24
    assert 1 < len(offers) <= 3


def test_no_call_is_where_no_function_fits(tmp_path: Path) -> None:
    samples, source = read(tmp_path, everyone(), no_call=1.0, formats=["system_calls"])
    closings = [sample for sample in samples if sample.messages[0].content == "Good night."]
    assert len(samples) - len(closings) == 24
    for sample in samples:
        assert sample.messages[-1].tool_calls == ()
        assert sample.messages[-1].content == "None of the functions on offer can do this."
        if sample not in closings:
            assert not any(tool.name.startswith("Tables_") for tool in sample.tools)
    assert source.ledger.counts["requests without a call"] == len(samples)


def test_a_turn_without_an_act_is_no_farewell(tmp_path: Path) -> None:
    people = everyone()
    for one in people:
        one["turns"][2]["frames"][0]["actions"] = []
    samples, _ = read(tmp_path, people, no_call=1.0)
    assert len(samples) == len(people)


def test_without_an_offer_for_other_jobs_it_is_said_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"every offer has a function for Tables.*`tools`"):
        read(tmp_path, everyone(), no_call=1.0, tools="all")


def test_two_requests_come_together_and_none_is_lost(tmp_path: Path) -> None:
    people = everyone()
    samples, source = read(tmp_path, people, paired=1.0, offers=1)
    calls = [call for sample in samples for call in sample.messages[-1].tool_calls]
    assert Counter(call.arguments["city"] for call in calls) == dict.fromkeys(TOWNS, 8)
    together = [sample for sample in samples if len(sample.messages[-1].tool_calls) == 2]
    assert len(together) == source.ledger.counts["pairs of requests"] > 5
    for sample in together:
        first, second = (call.arguments["city"] for call in sample.messages[-1].tool_calls)
        said = sample.messages[0].content
        assert said.index(str(first)) < said.rindex(str(second))
        # the same call twice would be a strange wish
        assert sample.messages[-1].tool_calls[0] != sample.messages[-1].tool_calls[1]


def test_towns_are_written_as_the_description_asks(tmp_path: Path) -> None:
    samples, _ = read(tmp_path, everyone(), value_formats=True, offers=30)
    kinds: Counter[bool] = Counter()
    for sample in samples:
        (call,) = sample.messages[-1].tool_calls
        town = next(town for town in TOWNS if town in sample.messages[-2].content)
        schema = next(tool for tool in sample.tools if tool.name == call.name)
        asked = schema.properties["city"]["description"] != "Town of the place"
        assert call.arguments["city"] == (TOWNS[town] if asked else town)
        assert validate(sample) == []
        kinds[asked] += 1
    assert min(kinds[True], kinds[False]) >= 2


def test_a_town_of_an_unknown_state_is_named(tmp_path: Path) -> None:
    people = [dialogue(n, city="Alba", cuisine="Thai") for n in range(20)]
    samples, source = read(tmp_path, people, value_formats=True, offers=30)
    assert len(samples) + len(source.ledger.rejected) == 20
    assert source.ledger.reasons().keys() == {"call that cannot be written"}
    assert "region of 'Alba' is not known" in source.ledger.rejected[0].detail


def test_every_format_reads_its_samples_back(tmp_path: Path) -> None:
    formats = ["json_calls", "python_calls", "system_calls"]
    settings = {"tools": "own", "no_call": 0.4, "offers": 9, "paired": 0.3}
    samples, _ = read(tmp_path, everyone(), formats=formats, **settings)
    assert {str(sample.meta["format"]) for sample in samples} == set(formats)
    for sample in samples:
        form = get_format(str(sample.meta["format"]))
        answer = sample.messages[-1]
        assert form.parse(form.render_reply(answer)).tool_calls == answer.tool_calls
        assert validate(sample) == []
