"""The official answers, given back as a model's output, score 100 % but for entries with faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from coalm import assets
from coalm.evals.bfcl.categories import CATEGORIES, Category
from coalm.evals.bfcl.data import ASSET, KNOWN_FAULTS, Entry, load_category
from coalm.evals.bfcl.exec_check import is_offline, judge_exec
from coalm.evals.bfcl.exec_proxy import judge_by_proxy
from coalm.evals.bfcl.quirks import COMPAT, STRICT, Quirks
from coalm.evals.bfcl.single_turn import judge_reply
from coalm.evals.bfcl.state_check import judge_calls

pytestmark = pytest.mark.skipif(
    not assets.state(ASSET).present, reason=f"the asset {ASSET} is not on this machine"
)
ABSURD = {"java_64", "java_67"}
"""Entries that no sensible answer passes, though some answer does."""


def gold_replies(entry: Entry) -> Iterator[str]:
    """Right answers as text: with the optional parameters left out, then with all of them."""
    for everything in (False, True):
        calls = (gold_call(entry, call, everything) for call in entry.answer)
        yield f"[{', '.join(calls)}]"


def gold_call(entry: Entry, call: Mapping[str, Mapping[str, list[Any]]], everything: bool) -> str:
    ((name, accepted),) = call.items()
    doc = next((f for f in entry.functions if f["name"] == name), entry.functions[0])
    parameters, required = doc["parameters"]["properties"], doc["parameters"]["required"]
    given = [
        f"{key}={source(first(values), parameters[key], entry.category)}"
        for key, values in accepted.items()
        if key in parameters and (everything or key in required or "" not in values)
    ]
    return f"{doc['name']}({', '.join(given)})"


def first(accepted: list[Any]) -> Any:
    """The first accepted value; the keys of a dict have accepted values of their own."""
    value = next((one for one in accepted if one != ""), "")
    if isinstance(value, list):
        return [first_values(one) for one in value]
    return first_values(value)


def first_values(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: next(one for one in values if one != "")
        for key, values in value.items()
        if values != [""]
    }


def source(value: Any, parameter: Mapping[str, Any], category: Category) -> str:
    if category.language == "Python":
        return repr(value)
    item = parameter.get("items", {}).get("type", "")
    java = category.language == "Java"
    text = java_text(value, parameter["type"], item) if java else javascript_text(value)
    quote = next((mark for mark in "'\"" if mark not in text), "")
    return f"{quote}{text}{quote}"


def java_text(value: Any, kind: str, item: str) -> str:
    match kind, value:
        case "Array", list():
            return f"new Object[]{{{', '.join(map(str, value))}}}"
        case "ArrayList", list():
            marks = {"String": '"', "char": "'"}.get(item, "")
            suffix = "L" if item == "long" else ""
            parts = [f"{marks}{one}{suffix}{marks}" for one in value]
            return f"new ArrayList<>(Arrays.asList({', '.join(parts)}))"
        case "HashMap", dict():
            puts = [
                f'put("{key}", {java_text(one, "map value", "")});' for key, one in value.items()
            ]
            return f"new HashMap<String, Object>() {{{{ {' '.join(puts)} }}}}"
        case "map value", str():
            return f'"{value}"'
        case "long", int():
            return f"{value}L"
        case _, bool():
            return str(value).lower()
        case _:
            return str(value)


def javascript_text(value: Any, quote: str = "") -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(javascript_text(one, chr(34)) for one in value)}]"
        case dict():
            members = [f"{key}: {javascript_text(one, chr(34))}" for key, one in value.items()]
            return f"{{{', '.join(members)}}}"
        case str():
            return f"{quote}{value}{quote}"
        case _:
            return str(value)


@pytest.mark.parametrize("quirks", [COMPAT, STRICT], ids=["compat", "strict"])
@pytest.mark.parametrize("name", [n for n, c in CATEGORIES.items() if c.scoring == "ast"])
def test_official_calls_are_right(name: str, quirks: Quirks) -> None:
    wrong = {
        entry.id
        for entry in load_category(name)
        if not any(judge_reply(entry, text, quirks=quirks).valid for text in gold_replies(entry))
    }
    assert wrong - ABSURD == {n for n in KNOWN_FAULTS if n.rpartition("_")[0] == name} - ABSURD
    assert quirks is STRICT or not wrong & ABSURD


def test_absurd_answers_pass_where_no_sensible_one_does() -> None:
    entries = {entry.id: entry for entry in load_category("java")}
    letter = (
        "[DateScriptFieldType.createFieldType(name='timestamp', factory=dateFactory, "
        'script=dateScript, meta=\'new HashMap<>() {{ put("format", "e"); }}\', '
        "onScriptError=FAIL)]"
    )
    assert judge_reply(entries["java_64"], letter).valid
    whole = letter.replace('"e"', '"epoch_millis"')
    assert not judge_reply(entries["java_64"], whole).valid
    assert judge_reply(entries["java_64"], whole, quirks=STRICT).valid
    assert {"java_64", "java_67"} <= KNOWN_FAULTS.keys()


@pytest.mark.parametrize("name", [n for n, c in CATEGORIES.items() if "relevance" in c.scoring])
def test_whether_a_call_is_expected(name: str) -> None:
    expected = CATEGORIES[name].scoring == "relevance"
    for entry in load_category(name):
        assert judge_reply(entry, "[some_function(a=1)]").valid is expected
        assert judge_reply(entry, "None of the functions fits.").valid is not expected


@pytest.mark.parametrize("name", [n for n, c in CATEGORIES.items() if c.scoring == "multi_turn"])
def test_official_dialogues_are_right(name: str) -> None:
    for entry in load_category(name):
        one_step = [[list(calls)] if calls else [] for calls in entry.answer]
        one_call_per_step = [[[call] for call in calls] for calls in entry.answer]
        assert judge_calls(entry, one_step).valid, entry.id
        assert judge_calls(entry, one_call_per_step).valid, entry.id
        assert judge_calls(entry, one_step, STRICT).valid, entry.id


@pytest.mark.parametrize("name", [n for n, c in CATEGORIES.items() if c.scoring == "exec"])
def test_official_executable_calls_are_right(name: str) -> None:
    for entry in load_category(name):
        reply = f"[{', '.join(entry.answer)}]"
        assert judge_by_proxy(entry, reply).valid, entry.id
        assert not is_offline(entry) or judge_exec(entry, reply).valid, entry.id


def test_the_sizes_are_the_official_ones() -> None:
    assert {n: len(load_category(n)) for n in CATEGORIES} == {
        n: c.size for n, c in CATEGORIES.items()
    }
    offline = [e for n, c in CATEGORIES.items() if c.scoring == "exec" for e in load_category(n)]
    assert sum(map(is_offline, offline)) == 134
