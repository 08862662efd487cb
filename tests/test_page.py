from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from coalm.page import MAX_TEXT, Part, Record, escape, link, render_page, section, table

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\"'<!--"


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def record(text: str = "hello", name: str = "a") -> Record:
    parts = [Part("prompt", text), Part("dialogue", [("user", text), ("model", "b")], open=False)]
    return Record(name, {"verdict": ["right"], "part": ["x", "all"]}, parts, note="right")


def payload(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="records">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_records_come_back_and_a_text_is_there_once() -> None:
    assert payload(render_page("t", [], [record(), record(name="b")])) == {
        "texts": ["hello", "b"],
        "records": [
            {
                "id": name,
                "note": "right",
                "tags": [["right"], ["x", "all"]],
                "parts": [
                    ["prompt", 0, True],
                    ["dialogue", [["user", 0], ["model", 1]], False],
                ],
            }
            for name in ("a", "b")
        ],
    }


def test_what_a_model_wrote_is_no_markup() -> None:
    plain, hostile = (
        render_page(
            f"t{text}",
            [section(text, table([[text, text], [text, text]], text), name="n")],
            [Record(text, {text: [text]}, [Part(text, text)], text)],
        )
        for text in ("harmless", HOSTILE)
    )
    tags = [tag for tag, _ in Elements(hostile).found]
    assert tags == [tag for tag, _ in Elements(plain).found]
    assert payload(hostile)["texts"] == [HOSTILE]


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\x1b[31m", "\u2028"])
def test_any_text_makes_a_sound_file(text: str) -> None:
    page = render_page(text, [escape(text)], [record(text)])
    page.encode("utf-8")
    assert payload(page)["texts"] == [text, "b"]
    assert not any(ord(c) < 32 and c not in "\n\t" for c in page)


def test_the_page_asks_nothing_of_the_network() -> None:
    page = render_page("t", [], [record()])
    elements = Elements(page)
    for _, attributes in elements.found:
        assert not {"src", "srcset", "data", "action"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    style, script = (
        re.search(rf"<{name}>(.*?)</{name}>", page, re.S) for name in ("style", "script")
    )
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert script
    policy = elements.named("meta")[1]["content"]
    checksum = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{checksum}';" in policy


def test_the_page_can_be_read_aloud_and_used_by_keyboard() -> None:
    page = render_page("t", [section("One", table([["a"], ["b"]], "c"), name="one")], [record()])
    elements = Elements(page)
    assert elements.named("html") == [{"lang": "en"}]
    assert [tag for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2"]
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len({*ids})
    for attributes in elements.named("section"):
        assert attributes["aria-labelledby"] in ids
    assert {a.get("scope") for a in elements.named("th")} == {"col", "row"}
    assert elements.named("a")[0]["href"] == "#content"
    # every field stands inside its label
    assert len(elements.named("label")) == len(elements.named("select")) + 1


def test_a_long_text_loses_its_middle() -> None:
    text = "a" * MAX_TEXT + "b" * 100
    (shown, _) = payload(render_page("t", [], [record(text)]))["texts"]  # type: ignore[misc]
    assert "[... 100 characters left out ...]" in shown
    assert shown.startswith("aaaa")
    assert shown.endswith("b" * 100)


def test_a_page_without_records_has_no_browser() -> None:
    assert "records" not in [a.get("id") for _, a in Elements(render_page("t", ["<p>x</p>"])).found]


def test_a_link_names_the_record() -> None:
    assert link("simple_0#2") == '<a href="#record=simple_0%232">simple_0#2</a>'
