from __future__ import annotations

import pytest
from pydantic import JsonValue

from coalm.data.evidence import Heard, Kind, marks
from coalm.types import Conversation, Message

UTTERANCES = (
    Message(role="system", content="Today is Friday, 2019-03-01."),
    Message(role="user", content="Some Ramen in NYC next Friday at half past 6 in the evening."),
    Message(role="tool", content='[{"name": "Ivan Ramen", "has_wifi": "True", "rating": "4.30"}]'),
    Message(role="assistant", content="How about Ivan's for two, outdoors? It is not expensive."),
)
MARKS = {("city", "New York"): "NYC", ("price", "moderate"): "", ("cuisine", "Thai"): "Siam"}


def find(
    value: JsonValue,
    *,
    name: str = "x",
    spec: dict[str, JsonValue] | None = None,
    annotated: bool = True,
) -> Kind | None:
    heard = Heard()
    for message in UTTERANCES:
        heard.add(message)
    return heard.find(name, value, spec or {}, MARKS if annotated else None)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("x", "ramen", "text"),
        ("x", "Ramen in N.Y.C", None),
        ("x", "2019-03-08", "form"),
        ("x", "2019-03-09", None),
        ("x", "18:30", "form"),
        ("x", "06:30", None),
        ("x", 2, "form"),
        ("x", "2", "form"),
        ("x", 3, None),
        ("city", "New York", "said"),
        ("other", "New York", None),
        ("cuisine", "Thai", None),
        ("x", "Ivan Ramen", "result"),
        ("x", 4.3, "result"),
        ("has_wifi", True, "result"),
        ("has_wifi", False, None),
        ("price", "moderate", "state"),
        ("price", "cheap", None),
        ("outdoors", True, None),
        ("x", "", "empty"),
        ("x", None, "empty"),
        ("x", [], "empty"),
        ("x", ["ramen", 2], "form"),
        ("x", ["ramen", "sushi"], None),
        ("x", {"a": "ramen", "b": ["NYC"]}, "text"),
    ],
)
def test_what_a_value_rests_on(name: str, value: JsonValue, kind: Kind | None) -> None:
    assert find(value, name=name) == kind


def test_the_schema_s_default_is_evidence() -> None:
    assert find(7, spec={"default": 7}) == "default"
    assert find(False, spec={"default": False}) == "default"
    assert find(8, spec={"default": 7}) is None
    assert find(["a"], spec={"default": ["a"]}) == "default"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("has_outdoors", True, "mention"),
        ("has_music", True, None),
        ("x", "ramens", "words"),
        ("x", "ram", "part"),
        ("x", "iva", "part"),
        ("x", "iv", "part"),
        ("x", "va", None),
        ("x", "sushi", None),
    ],
)
def test_weak_evidence_counts_where_nobody_annotated(
    name: str, value: JsonValue, kind: Kind | None
) -> None:
    assert find(value, name=name, annotated=False) == kind
    assert find(value, name=name) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("2022-12-25", "form"),
        ("12/25/2022", "form"),
        ("25.12.2022", "form"),
        ("2022-12-25 09:00:00", "form"),
        ("2022-12-25T00:00:00Z", "form"),
        ("2022-12-25 10:00", None),
        ("2023-12-25", None),
        ("2022-02-31", None),
        ("09:00", "form"),
    ],
)
def test_dates_in_other_layouts(value: str, kind: Kind | None) -> None:
    heard = Heard()
    heard.add(Message(role="user", content="On December 25th, 2022 at 9:00 a.m."))
    assert heard.find("x", value, {}, None) == kind


def test_scripts_without_blanks_are_searched_within() -> None:
    heard = Heard()
    heard.add(Message(role="user", content="\u67e5\u8be2\u5317\u4eac\u5929\u6c14"))
    assert heard.find("city", "\u5317\u4eac", {}, {}) == "text"
    assert heard.find("city", "\u4e0a\u6d77", {}, {}) is None


def test_marks_come_from_the_conversation_s_meta() -> None:
    meta: dict[str, JsonValue] = {"said": [["city", "New York", "NYC"], "odd"]}
    assert marks(Conversation(id="a", meta=meta)) == {("city", "New York"): "NYC"}
    assert marks(Conversation(id="a", meta={"said": []})) == {}
    assert marks(Conversation(id="a")) is None
