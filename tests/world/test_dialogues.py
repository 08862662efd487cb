from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import ToolError
from coalm.world.files import SPLITS, dialogues
from coalm.world.rules import UnavailableError
from coalm.world.schema import services, sgd_schema
from coalm.world.tools import world_database, world_toolbox

USER_KEYS = {"service", "actions", "slots", "state"}
SYSTEM_KEYS = {"service", "actions", "slots"}
CALL_KEYS = {"service_call", "service_results"}


def faults(dialogue: dict[str, Any], schema: list[dict[str, Any]]) -> Iterator[str]:
    """One line for every rule of SGD's layout, turn order and calls that the dialogue breaks."""
    intents = {
        (service["service_name"], intent["name"]): intent
        for service in schema
        for intent in service["intents"]
    }
    turns = dialogue["turns"]
    if set(dialogue) != {"dialogue_id", "services", "turns"}:
        yield f"dialogue keys {sorted(dialogue)}"
    speakers = [turn["speaker"] for turn in turns]
    if len(turns) % 2 or speakers != ["USER", "SYSTEM"] * (len(turns) // 2):
        yield "speakers do not alternate from USER to SYSTEM"
    seen = {frame["service"] for turn in turns for frame in turn["frames"]}
    if seen != set(dialogue["services"]) or len(seen) != len(dialogue["services"]):
        yield f"services {dialogue['services']}, frames of {sorted(seen)}"
    for number, turn in enumerate(turns):
        place = f"turn {number}"
        if set(turn) != {"speaker", "utterance", "frames"}:
            yield f"{place}: keys {sorted(turn)}"
        for frame in turn["frames"]:
            yield from (f"{place}: {fault}" for fault in _frame_faults(frame, turn))
        if turn["speaker"] == "SYSTEM" and len(turn["frames"]) != 1:
            yield f"{place}: {len(turn['frames'])} system frames"
        if turn["speaker"] == "SYSTEM" and "service_call" in turn["frames"][0]:
            before = turns[number - 1]["frames"]
            for fault in _call_faults(turn["frames"][0], before, intents):
                yield f"{place}: {fault}"


def _frame_faults(frame: dict[str, Any], turn: dict[str, Any]) -> Iterator[str]:
    keys = set(frame)
    wanted = USER_KEYS if turn["speaker"] == "USER" else SYSTEM_KEYS
    if keys not in (wanted, wanted | CALL_KEYS):
        yield f"frame keys {sorted(keys)}"
    for action in frame["actions"]:
        if set(action) != {"act", "slot", "values", "canonical_values"}:
            yield f"action keys {sorted(action)}"
    for span in frame["slots"]:
        if not 0 <= span["start"] < span["exclusive_end"] <= len(turn["utterance"]):
            yield f"span {span} outside the utterance"


def _call_faults(
    frame: dict[str, Any],
    before: list[dict[str, Any]],
    intents: dict[tuple[str, str], dict[str, Any]],
) -> Iterator[str]:
    call, results = frame["service_call"], frame["service_results"]
    asked = [user for user in before if user["service"] == frame["service"]]
    if not asked:
        yield "the call's service is not in the user's turn"
        return
    state = asked[0]["state"]
    if call["method"] != state["active_intent"]:
        yield f"call of {call['method']} while {state['active_intent']} is active"
        return
    intent = intents[frame["service"], call["method"]]
    inputs = [*intent["required_slots"], *intent["optional_slots"]]
    known = {s for s in inputs if state["slot_values"].get(s, ["dontcare"]) != ["dontcare"]}
    if set(call["parameters"]) != known:
        yield f"parameters {sorted(call['parameters'])}, state knows {sorted(known)}"
    if set(intent["required_slots"]) - set(call["parameters"]):
        yield "a required slot is missing in the call"
    acts = {action["act"] for action in asked[0]["actions"]}
    if intent["is_transactional"] and "AFFIRM" not in acts:
        yield f"{call['method']} without the user's AFFIRM"
    if not all(isinstance(v, str) for row in [call["parameters"], *results] for v in row.values()):
        yield "a value is not a string"
    if len(results) > 10:
        yield f"{len(results)} results"
    if not results and "NOTIFY_FAILURE" not in {action["act"] for action in frame["actions"]}:
        yield "no result, yet no NOTIFY_FAILURE"


SCHEMA: list[dict[str, Any]] = [sgd_schema(service) for service in services().values()]
SEED = 3


@cache
def some(split: str = "test", count: int = 250) -> tuple[dict[str, Any], ...]:
    return tuple(islice(dialogues(SEED, split), count))


def frames(dialogue: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((turn, frame) for turn in dialogue["turns"] for frame in turn["frames"])


@pytest.mark.parametrize("split", SPLITS)
def test_every_dialogue_keeps_the_rules_of_sgd(split: str) -> None:
    found = {d["dialogue_id"]: list(faults(d, SCHEMA)) for d in some(split)}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.real
def test_real_dialogues_keep_the_same_rules() -> None:
    # Proves the checker itself. Shard 043 is left out: 18 of its calls lack a required slot.
    with tarfile.open(Path(os.environ["COALM_DATA"]) / "sgd" / "sgd-sample.tar.xz") as archive:
        for shard in ("train/dialogues_001", "train/dialogues_127", "dev/dialogues_007"):
            schema = _json_in(archive, f"{shard.partition('/')[0]}/schema.json")
            for dialogue in _json_in(archive, f"{shard}.json"):
                assert list(faults(dialogue, schema)) == []


def _json_in(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    assert file is not None
    return json.load(file)


def test_call_values_are_the_canonical_values_of_the_state() -> None:
    checked = 0
    for dialogue in some():
        canonical: dict[str, dict[str, str]] = {}
        proposed: list[dict[str, Any]] = []
        for turn, frame in frames(dialogue):
            known = canonical.setdefault(frame["service"], {})
            acts = {action["act"] for action in frame["actions"]}
            if turn["speaker"] == "USER":
                accepted = proposed if acts & {"AFFIRM", "SELECT"} else []
                told = [a for a in frame["actions"] if a["act"] == "INFORM"]
                known |= {a["slot"]: a["canonical_values"][0] for a in (*accepted, *told)}
                assert frame["state"]["slot_values"].keys() <= known.keys()
            elif acts & {"CONFIRM", "OFFER"}:
                proposed = [a for a in frame["actions"] if a["act"] in ("CONFIRM", "OFFER")]
            for slot, value in frame.get("service_call", {}).get("parameters", {}).items():
                assert known[slot] == value, (dialogue["dialogue_id"], slot)
                checked += 1
    assert checked > 1000


def test_calls_give_the_same_results_when_made_again() -> None:
    failed = 0
    for dialogue in some():
        box = world_toolbox(database=world_database(SEED))
        for _, frame in frames(dialogue):
            if "service_call" not in frame:
                continue
            call, results = frame["service_call"], frame["service_results"]
            acts = {action["act"] for action in frame["actions"]}
            try:
                again: Any = box.call(call["method"], call["parameters"])
            except UnavailableError as e:
                again = e.alternatives
            except ToolError as e:
                again = [] if e.__cause__ is None else f"a broken tool: {e}"
            assert again == results
            failed += "NOTIFY_FAILURE" in acts
    assert failed > 20


def test_what_the_assistant_says_stands_in_results() -> None:
    for dialogue in some():
        rows: list[dict[str, str]] = []
        for turn, frame in frames(dialogue):
            rows += frame.get("service_results", [])
            for action in frame["actions"]:
                if turn["speaker"] == "SYSTEM" and action["act"] in ("INFORM", "OFFER"):
                    slot, (value,) = action["slot"], action["canonical_values"]
                    assert any(row.get(slot) == value for row in rows), (turn["utterance"], slot)


def test_spans_mark_the_values_of_the_actions() -> None:
    slots = {s["service_name"]: {x["name"]: x for x in s["slots"]} for s in SCHEMA}
    marked = 0
    for dialogue in some():
        for turn, frame in frames(dialogue):
            said = {
                (a["slot"], value)
                for a in frame["actions"]
                if a["slot"] in slots[frame["service"]]
                for value in a["values"]
                if not slots[frame["service"]][a["slot"]]["is_categorical"]
            }
            spans = {
                (span["slot"], turn["utterance"][span["start"] : span["exclusive_end"]])
                for span in frame["slots"]
            }
            assert spans == said
            marked += len(spans)
    assert marked > 1000


def test_utterances_are_finished_sentences() -> None:
    for dialogue in some():
        for turn in dialogue["turns"]:
            text = turn["utterance"]
            assert not re.search(
                r"[{}|\[\]]|  |\s[.,!?]|[,.!?]{2}|\b(a|the|is|on|for) \1\b", text
            ), text
            assert re.search(r"[.!?]$", text), text
            assert not re.search(r"\ba [aeiou](?!ne\b)|\ban [^aeiou8]", text.lower()), text


def test_many_ways_lead_through_a_dialogue() -> None:
    acts = {
        (turn["speaker"], frozenset(a["act"] for f in turn["frames"] for a in f["actions"]))
        for dialogue in some()
        for turn in dialogue["turns"]
    }
    for wanted in (
        ("USER", {"REQUEST_ALTS"}),
        ("USER", {"REQUEST_ALTS", "INFORM"}),
        ("USER", {"SELECT", "INFORM_INTENT"}),
        ("USER", {"NEGATE_INTENT"}),
        ("USER", {"NEGATE", "INFORM"}),
        ("USER", {"AFFIRM", "REQUEST"}),
        ("USER", {"AFFIRM_INTENT", "INFORM"}),
        ("SYSTEM", {"OFFER", "INFORM_COUNT"}),
        ("SYSTEM", {"NOTIFY_FAILURE", "OFFER"}),
        ("SYSTEM", {"NOTIFY_FAILURE", "REQ_MORE"}),
        ("SYSTEM", {"NOTIFY_SUCCESS", "INFORM"}),
    ):
        assert (wanted[0], frozenset(wanted[1])) in acts
    called = {
        f["service_call"]["method"] for d in some() for _, f in frames(d) if "service_call" in f
    }
    assert called == {intent for service in services().values() for intent in service.intents}
    states = [f["state"] for d in some() for t, f in frames(d) if t["speaker"] == "USER"]
    assert any(["dontcare"] in state["slot_values"].values() for state in states)
    assert {len(d["services"]) for d in some()} == {1, 2, 3}


def test_hardly_anything_is_said_twice() -> None:
    said = ["\n".join(t["utterance"] for t in d["turns"]) for d in some()]
    assert len(set(said)) == len(said)
    utterances = [turn["utterance"] for dialogue in some() for turn in dialogue["turns"]]
    assert len(set(utterances)) > 0.7 * len(utterances)


def test_train_knows_no_service_of_the_cinema_or_the_clinic() -> None:
    unseen = {"Cinema_1", "Clinic_1"}
    assert not unseen & {name for d in some("train") for name in d["services"]}
    assert unseen <= {name for d in some("test") for name in d["services"]}
