"""The page's own part of the server: files, worlds, calls."""

from __future__ import annotations

import re
from typing import Any

import pytest

fastapi = pytest.importorskip("fastapi", reason="needs coalm[serve]")
testclient = pytest.importorskip("starlette.testclient", reason="starlette's client needs httpx")

from coalm.server import faults  # noqa: E402
from coalm.server.sessions import MAX_ARGUMENTS, SHOWN_ROWS, Worlds, router_for  # noqa: E402

BOOKING = (
    '{"restaurant_name": "%s", "city": "%s", "time": "18:30", "date": "2019-03-04", '
    '"party_size": 2}'
)


@pytest.fixture
def client() -> Any:
    app = fastapi.FastAPI()
    faults.install(app)
    app.include_router(router_for(Worlds(most=2)))
    return testclient.TestClient(app)


def table(answer: Any, name: str) -> Any:
    return next(one for one in answer["tables"] if one["name"] == name)


def test_a_booking_is_the_newest_row_of_its_table(client: Any) -> None:
    opened = client.post("/page/sessions").json()
    columns = table(opened, "restaurants")["columns"]
    place = dict(zip(columns, table(opened, "restaurants")["rows"][1], strict=True))
    words = BOOKING % (place["restaurant_name"], place["city"])
    url = f"/page/sessions/{opened['id']}/calls"
    observed = client.post(url, json={"name": "BookTable", "arguments": words}).json()
    before, after = table(opened, "table_bookings"), table(observed, "table_bookings")
    assert after["count"] == before["count"] + 1
    assert after["rows"][1:] == before["rows"][: SHOWN_ROWS - 1]
    reference, *row = after["rows"][0]
    assert reference in observed["content"]
    assert row == [place["restaurant_name"], place["city"], "2019-03-04", "18:30", "2"]


def test_worlds_are_apart(client: Any) -> None:
    first, second = (client.post("/page/sessions").json() for _ in range(2))
    assert first["id"] != second["id"]
    assert first["system"] == "Today is Friday, 2019-03-01."
    assert first["tools"][0]["name"] == "SearchRestaurants"
    names = '{"account_type": "checking", "recipient_name": "%s", "amount": 5}'
    payee = table(first, "payees")["rows"][0][0]
    url = f"/page/sessions/{first['id']}/calls"
    sent = client.post(url, json={"name": "SendMoney", "arguments": names % payee}).json()
    assert table(sent, "transfers")["count"] == 1
    url = f"/page/sessions/{second['id']}/calls"
    read = client.post(
        url, json={"name": "GetBalance", "arguments": '{"account_type": "checking"}'}
    )
    assert table(read.json(), "transfers")["count"] == 0
    assert table(read.json(), "accounts") == table(second, "accounts")
    assert table(sent, "accounts") != table(first, "accounts")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{", "arguments are not JSON"),
        ("[" * 50_000, "arguments are not JSON"),
        ("[1]", "arguments are not a JSON object"),
        ("", "missing argument"),
        ('{"x": 1}', "unknown argument"),
    ],
)
def test_a_bad_call_is_an_observation(client: Any, arguments: str, said: str) -> None:
    opened = client.post("/page/sessions").json()
    url = f"/page/sessions/{opened['id']}/calls"
    answer = client.post(url, json={"name": "GetBalance", "arguments": arguments})
    assert answer.status_code == 200
    assert re.match(r'\{"error": ".*' + said, answer.json()["content"])


def test_the_world_idle_longest_makes_room(client: Any) -> None:
    first, second = (client.post("/page/sessions").json()["id"] for _ in range(2))
    call = {"name": "GetBalance", "arguments": '{"account_type": "checking"}'}
    assert client.post(f"/page/sessions/{first}/calls", json=call).status_code == 200
    client.post("/page/sessions")
    assert client.post(f"/page/sessions/{first}/calls", json=call).status_code == 200
    gone = client.post(f"/page/sessions/{second}/calls", json=call)
    assert gone.status_code == 404
    assert "start a new conversation" in gone.json()["error"]["message"]


def test_limits_of_a_call(client: Any) -> None:
    opened = client.post("/page/sessions").json()["id"]
    long = {"name": "GetBalance", "arguments": "x" * (MAX_ARGUMENTS + 1)}
    refused = client.post(f"/page/sessions/{opened}/calls", json=long)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("arguments: ")


def test_the_page_asks_nobody_else(client: Any) -> None:
    index = client.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in index.headers["content-security-policy"]
    parts = re.findall(r'(?:src|href)="([^"#][^"]*)"', index.text)
    assert {"/page/page.css", "/page/page.js"} <= set(parts)
    for part in parts:
        answer = client.get(part)
        assert answer.status_code == 200, part
        assert "http://" not in answer.text
        assert "https://" not in answer.text
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", index.text)


@pytest.mark.parametrize("name", ["other.js", "..%2Fsessions.py", "__init__.py"])
def test_only_the_page_is_served(client: Any, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404
