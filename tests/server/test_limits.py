"""Keys, sizes, times, queues; clients that leave; the end of a server."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from coalm.errors import EngineError

httpx = pytest.importorskip("httpx")

CHAT = {"model": "coalm", "messages": [{"role": "user", "content": "Hi"}]}
LONG = "System: " + "word " * 400


def post(served: Any, timeout: float = 30, **extra: Any) -> Any:
    headers = extra.pop("headers", None)
    return httpx.post(
        f"{served.url}/chat/completions", json=CHAT | extra, headers=headers, timeout=timeout
    )


def wait_for(what: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def figure(served: Any, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{served.root}/metrics").text, re.MULTILINE)
    assert found
    return float(found.group(1))


def test_with_a_key_only_its_holders_are_answered(scripted: Any) -> None:
    served = scripted(lambda prompt: "System: Hi", api_key="sk-sécret")
    right = {"Authorization": "Bearer sk-sécret".encode()}
    assert post(served, headers=right).status_code == 200
    for wrong in (None, {"Authorization": "Bearer sk"}, {"Authorization": "sk-secret"}):
        refused = post(served, headers=wrong)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert "cret" not in refused.text
    for path in ("/v1/models", "/metrics"):
        assert httpx.get(f"{served.root}{path}").status_code == 401
        assert httpx.get(f"{served.root}{path}", headers=right).status_code == 200
    assert httpx.get(f"{served.root}/health").status_code == 200
    assert httpx.post(f"{served.root}/page/sessions").status_code == 401


def test_other_pages_may_not_ask_unless_they_are_named(scripted: Any) -> None:
    origin = {"Origin": "http://page.test"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    closed, named = scripted([]), scripted([], origins=("http://page.test",))
    for served, allowed in ((closed, None), (named, "http://page.test")):
        plain = httpx.get(f"{served.url}/models", headers=origin)
        before = httpx.options(f"{served.url}/chat/completions", headers=asked)
        for answer in (plain, before):
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_body_that_is_too_large_is_refused(scripted: Any) -> None:
    served = scripted(lambda prompt: "System: Hi", max_bytes=2000)
    assert post(served).status_code == 200
    sizes = ({"user": "x" * 2000}, {"user": "x" * 50_000})
    for extra in sizes:
        refused = post(served, **extra)
        assert refused.status_code == 413
        assert refused.json()["error"]["message"] == "the body is larger than 2000 bytes"
    chunked = httpx.post(
        f"{served.url}/chat/completions",
        content=(b"x" * 500 for _ in range(10)),
        headers={"Content-Type": "application/json"},
    )
    assert chunked.status_code == 413


def test_a_body_that_does_not_come_is_given_up(scripted: Any) -> None:
    served = scripted([], max_seconds=0.3)
    host, port = served.root.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        slow.settimeout(10)
        assert b" 408 " in slow.recv(1000).split(b"\r\n")[0]


def test_an_answer_that_takes_too_long_is_ended(scripted: Any) -> None:
    served = scripted(lambda prompt: LONG, delay=0.02, max_seconds=0.3)
    late = post(served)
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
    assert "took longer than 0.3 s" in late.json()["error"]["message"]
    lines = [line for line in post(served, stream=True).text.split("\n\n") if line]
    assert '"code":"timeout"' in lines[-2]
    assert lines[-1] == "data: [DONE]"
    wait_for(lambda: served.desk.running == 0)


def test_a_full_queue_is_told_with_the_time_to_come_back(scripted: Any) -> None:
    served = scripted(lambda prompt: LONG, delay=0.005, places=2, queue_length=1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(served, max_tokens=40), range(6)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 3 + [429] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "queue_full"
    assert post(served, max_tokens=2).status_code == 200


def test_the_sdk_comes_back_by_itself(scripted: Any) -> None:
    served = scripted(lambda prompt: LONG, delay=0.005, places=1, queue_length=0)
    client = served.client.with_options(max_retries=5)
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda _: client.chat.completions.create(**CHAT, max_tokens=20), range(2))
        )
    assert [answer.usage.completion_tokens for answer in answers] == [20, 20]


def leave_early(served: Any, stream: bool) -> None:
    if not stream:
        with pytest.raises(httpx.ReadTimeout):
            post(served, timeout=0.2)
        return
    address = f"{served.url}/chat/completions"
    with httpx.stream("POST", address, json=CHAT | {"stream": True}) as answer:
        assert next(answer.iter_lines()).startswith("data: ")


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_the_place(scripted: Any, stream: bool) -> None:
    served = scripted(lambda prompt: LONG, delay=0.02, places=1)  # 8 seconds
    leave_early(served, stream)
    wait_for(lambda: served.desk.running == 0, 2.0)
    assert post(served, max_tokens=2).status_code == 200
    assert figure(served, "coalm_clients_left_total") == 1


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_the_queue_is_not_asked_for(scripted: Any, stream: bool) -> None:
    served = scripted(lambda prompt: LONG, delay=0.02, places=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, served, max_tokens=40)
        wait_for(lambda: served.desk.running == 1)
        with pytest.raises(httpx.ReadTimeout):
            post(served, timeout=0.2, stream=stream)
        wait_for(lambda: served.desk.waiting == 0, 2.0)
        assert first.result().status_code == 200
    assert len(served.desk._engine.prompts) == 1


def test_figures_of_what_was_asked(scripted: Any) -> None:
    served = scripted(lambda prompt: "System: one two")
    post(served), post(served, stream=True), post(served, temperature=5)
    for name, value in {
        'coalm_requests_total{path="/v1/chat/completions",status="200"}': 2,
        'coalm_requests_total{path="/v1/chat/completions",status="400"}': 1,
        'coalm_tokens_total{kind="completion"}': 6,
        "coalm_answer_seconds_count": 2,
        "coalm_first_text_seconds_count": 1,
        "coalm_clients_left_total": 0,
        "coalm_running": 0,
        "coalm_waiting": 0,
    }.items():
        assert figure(served, re.escape(name)) == value, name


def test_many_clients_get_their_own_answers(scripted: Any) -> None:
    served = scripted(lambda prompt: "System: " + f"{prompt[-1].content[-4:]} " * 30, delay=0.001)

    def ask(number: int) -> bool:
        content = f"{number:04}"
        messages = [{"role": "user", "content": content}]
        create = served.client.chat.completions.create
        chunks = create(model="coalm", messages=messages, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        return text.split() == [content] * 30

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(48)))


def test_an_engine_that_breaks_is_told_to_all(serving: Any) -> None:
    class Broken:
        def generate(self, prompts: Any, params: Any) -> Any:
            raise RuntimeError("a defect")

        def close(self) -> None:
            pass

    seen: list[Any] = []
    before, threading.excepthook = threading.excepthook, seen.append
    try:
        with serving(Broken()) as served:
            first = post(served)
            wait_for(lambda: not served.desk.is_open)
            assert (first.status_code, post(served).status_code) == (503, 503)
            assert first.json()["error"]["code"] == "not_running"
            assert httpx.get(f"{served.root}/health").status_code == 503
    finally:
        threading.excepthook = before
    assert [str(one.exc_value) for one in seen] == ["a defect"]


def test_an_engine_that_can_answer_nothing_is_not_asked_again(serving: Any) -> None:
    class Gone:
        def generate(self, prompts: Any, params: Any) -> Any:
            raise NotImplementedError

        def stream(self, jobs: Any) -> Any:
            next(iter(jobs))
            raise EngineError("the machine is gone")

        def close(self) -> None:
            pass

    with serving(Gone()) as served:
        first = post(served)
        assert (first.status_code, first.json()["error"]["message"]) == (500, "the machine is gone")
        wait_for(lambda: not served.desk.is_open)
        assert post(served).status_code == 503
        assert httpx.get(f"{served.root}/health").status_code == 503


def test_threads_ask_beside_the_clients(scripted: Any) -> None:
    from coalm.agent.session import AgentSession

    served = scripted(lambda prompt: "System: Hi")
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: AgentSession(served.desk).send("Hello").text, range(8))
        assert [*found] == ["Hi"] * 8


def test_what_runs_and_waits_is_finished_when_the_server_ends(serving: Any) -> None:
    from coalm.engines.scripted import ScriptedEngine

    engine = ScriptedEngine(lambda prompt: LONG, delay=0.01)
    with ThreadPoolExecutor(2) as pool:
        with serving(engine, places=1) as served:
            both = [pool.submit(post, served, max_tokens=30, stream=way) for way in (False, True)]
            wait_for(lambda: (served.desk.running, served.desk.waiting) == (1, 1))
        whole, stream = (one.result() for one in both)
    assert not served.desk.is_open
    assert whole.json()["usage"]["completion_tokens"] == 30
    assert stream.text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"length"' in stream.text
