"""The page in a real browser: headless Chromium clicks through a booking on the mini world."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs coalm[serve]")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

from coalm.agent.session import load_session  # noqa: E402
from coalm.types import Prompt  # noqa: E402

PICTURES = os.environ.get("COALM_PICTURES")
"""Folder to write screenshots to; for the documentation."""

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")

BOOKED = [
    "Thought: The city and the cuisine are known, so I search.\n"
    'Action: SearchRestaurants(city="Port Marlow", cuisine="vegetarian")',
    "Thought: Meadow Corner fits. I need the user's word before I book.\n"
    "System: Meadow Corner is cheap and has no outdoor seating. Shall I book it?",
    "Thought: The user agreed and gave time and party size.\n"
    'Action: BookTable(restaurant_name="Meadow Corner", city="Port Marlow", time="18:30", '
    'date="2019-03-04", party_size=2)',
    "Thought: The observation has the reference number.\n"
    "System: Your table is booked for Monday at 18:30. <b>Enjoy</b> your meal!",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        names = (*CHROMIUMS, playwright.chromium.executable_path)
        path = next(filter(None, map(shutil.which, names)), None)
        if path is None:
            pytest.skip(
                "no Chromium on this machine (Debian: apt-get install chromium; "
                "without root: playwright install chromium)"
            )
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page of a server; fails on errors of scripts and on requests to elsewhere."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def open_page(root: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1120, "height": 760}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((root, "blob:")) else wrong.append(request.url)
            ),
        )
        page.goto(root)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def send(page: Any, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def test_a_booking_appears(scripted: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = visit(scripted(BOOKED, delay=0.002, model="booker").root)
    expect = sync_api.expect
    expect(page.locator("#model")).to_have_text("booker")
    table = page.locator('details[data-table="table_bookings"]')
    expect(table.locator("summary")).to_have_text("table_bookings 3961 rows")
    send(page, "Find me a vegetarian place in Port Marlow.")
    log = page.locator("#log")
    expect(log).to_contain_text("Shall I book it?")
    assert log.locator("li").count() == 4
    send(page, "Yes, on Monday at half past six for two.")
    expect(log).to_contain_text("Your table is booked")
    expect(table).to_have_attribute("open", "")
    new = table.locator("tr.new")
    expect(new).to_have_count(1)
    expect(new).to_contain_text("Meadow Corner")
    expect(table.locator("summary")).to_have_text("table_bookings 3962 rows")
    call = log.locator("details.call").last
    expect(call.locator("summary")).to_have_text("Calls BookTable")
    assert json.loads(call.locator("pre").inner_text())["party_size"] == 2
    expect(log.locator("details.observation").last).to_contain_text("reference_number")
    # what the model writes is text, never markup
    assert log.locator("b").count() == 0
    expect(page.locator("#spoken")).to_contain_text("Your table is booked")
    page.locator("#log li").first.scroll_into_view_if_needed()
    picture(page, "serve_booking")


def test_thoughts_fold(scripted: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = visit(scripted(["Thought: Nothing to look up.\nSystem: Hello."]).root)
    send(page, "Hi")
    thought = page.locator("details.thought p")
    sync_api.expect(thought).to_have_text("Nothing to look up.")
    page.locator("details.thought summary").click()
    sync_api.expect(thought).to_be_hidden()
    page.get_by_label("show thoughts").uncheck()
    sync_api.expect(page.locator("details.thought summary")).to_be_hidden()


def test_the_session_can_be_kept(
    scripted: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(scripted([*BOOKED[:2], "System: Fine."]).root)
    button = page.get_by_role("button", name="Download")
    sync_api.expect(button).to_be_disabled()
    send(page, "Find me a vegetarian place in Port Marlow.")
    sync_api.expect(button).to_be_enabled()
    with page.expect_download() as download:
        button.click()
    download.value.save_as(tmp_path / "kept.jsonl")
    kept = load_session(tmp_path / "kept.jsonl")
    assert [message.role for message in kept.messages] == [
        *("system", "user", "assistant", "tool", "assistant")
    ]
    assert kept.messages[0].content == "Today is Friday, 2019-03-01."
    call = kept.messages[2].tool_calls[0]
    assert call.arguments == {"city": "Port Marlow", "cuisine": "vegetarian"}
    assert kept.messages[3].tool_call_id == call.id
    assert kept.messages[4].thought is not None
    assert len(kept.tools) == 20
    page.get_by_role("button", name="New conversation").click()
    sync_api.expect(page.locator("#log li")).to_have_count(0)


def test_tools_can_be_changed(scripted: Callable[..., Any], visit: Callable[..., Any]) -> None:
    asked: list[Prompt] = []
    replies = iter(['Action: FindBook(title="Emma")', "System: It is on shelf 7."])

    def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        return next(replies)

    page = visit(scripted(answer).root)
    page.locator("#offered").click()
    page.get_by_label("BuyTrainTickets", exact=True).uncheck()
    page.get_by_role("button", name="Add a tool").click()
    picture(page, "serve_tools")
    schema = page.locator("#schema")
    schema.fill("{")
    page.get_by_role("button", name="Save").click()
    sync_api.expect(page.locator("#schema-fault")).to_contain_text("This is not JSON")
    schema.fill('{"name": "GetForecast"}')
    page.get_by_role("button", name="Save").click()
    sync_api.expect(page.locator("#schema-fault")).to_contain_text("There is a tool GetForecast")
    schema.fill('{"name": "FindBook", "description": "Find a book"}')
    page.get_by_role("button", name="Save").click()
    sync_api.expect(page.locator("#offered")).to_have_text("20 of 21 tools are on offer")
    send(page, "Where is Emma?")
    page.get_by_label('Result of FindBook {"title": "Emma"}').fill('[{"shelf": 7}]')
    page.get_by_role("button", name="Give the result").click()
    sync_api.expect(page.locator("#log")).to_contain_text("It is on shelf 7.")
    text = asked[1][0].content
    assert 'Observation: [{"shelf": 7}]' in text
    assert "FindBook() - Find a book" in text
    assert "BuyTrainTickets" not in text


def test_a_turn_can_be_stopped(scripted: Callable[..., Any], visit: Callable[..., Any]) -> None:
    served = scripted(["System: " + "word " * 500, "System: Again."], delay=0.02)
    page = visit(served.root)
    send(page, "Go on")
    page.locator("#log li.assistant p").get_by_text("word word").wait_for()
    page.get_by_role("button", name="Stop").click()
    sync_api.expect(page.locator("#status")).to_have_text("Stopped.")
    send(page, "Once more")
    sync_api.expect(page.locator("#log")).to_contain_text("Again.")


def test_faults_are_said(scripted: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = visit(scripted(["System: Hello."], api_key="secret").root)
    fault = page.locator("#fault")
    sync_api.expect(fault).to_contain_text("API key is missing or wrong")
    sync_api.expect(fault).to_contain_text("(see Settings)")
    page.get_by_label("API key, where the server wants one").fill("secret")
    page.locator("#say").focus()
    sync_api.expect(page.locator("#tables details").first).to_be_visible()
    sync_api.expect(fault).to_be_empty()
    send(page, "Hi")
    sync_api.expect(page.locator("#log")).to_contain_text("Hello.")
    send(page, "And now?")
    sync_api.expect(fault).to_contain_text("has no reply left")


def test_it_works_by_keyboard_and_names_everything(
    scripted: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    page = visit(scripted(["Thought: Greet.\nSystem: Hello."]).root)
    sync_api.expect(page.locator("#tables details").first).to_be_visible()
    sync_api.expect(page.locator("#say")).to_be_focused()
    page.keyboard.type("Hi")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("there")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#log li.user p")).to_have_text("Hi\nthere")
    sync_api.expect(page.locator("#log")).to_contain_text("Hello.")
    sync_api.expect(page.locator("#say")).to_be_focused()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, summary, [role=region]")]
        .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"new", "download", "thoughts", "offered", "system", "key", "SUMMARY"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(
    scripted: Callable[..., Any], visit: Callable[..., Any], scheme: str
) -> None:
    page = visit(scripted([]).root, color_scheme=scheme)
    colours = page.evaluate(
        """() => Object.fromEntries(["back", "front", "soft", "panel", "link", "bad", "new"]
        .map((name) => [name, getComputedStyle(document.documentElement)
        .getPropertyValue("--" + name).trim()]))"""
    )
    for front in ("front", "soft", "link", "bad"):
        for back in ("back", "panel"):
            assert contrast(colours[front], colours[back]) >= 4.5, (front, back)
    assert contrast(colours["front"], colours["new"]) >= 4.5
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") is (scheme == "light")


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 defines it."""
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def light(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_it_fits_a_phone(scripted: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = visit(scripted(BOOKED).root, viewport={"width": 375, "height": 720}, color_scheme="dark")
    send(page, "Find me a vegetarian place in Port Marlow.")
    sync_api.expect(page.locator("#log")).to_contain_text("Shall I book it?")
    send(page, "Yes, on Monday at half past six for two.")
    sync_api.expect(page.locator("#log")).to_contain_text("Your table is booked")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 375
    assert page.locator("#send").bounding_box()["height"] >= 40
    page.locator("#log li").last.scroll_into_view_if_needed()
    picture(page, "serve_phone")
