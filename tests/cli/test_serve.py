"""`coalm serve` end to end: a process of its own, asked by curl and by the standard library."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coalm import jsonl

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs coalm[serve]")

REPLY = 'Thought: I look.\nAction: GetForecast(city="Fernhill")'


def command(folder: Path, *arguments: str) -> list[str]:
    replies, config = folder / "replies.jsonl", folder / "infer.yaml"
    jsonl.write(replies, [{"text": REPLY}] * 5)
    config.write_text(f"model: {{model_name: {replies}}}\nengine: SCRIPTED\n", encoding="utf-8")
    start = [sys.executable, "-m", "coalm", "serve", "-c", str(config), "--name", "demo"]
    return [*start, *arguments]


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the address of the API."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        command(folder, "--port", str(port), *arguments),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COALM_API_KEY": "", "COLUMNS": "80"},
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health")
        yield process, f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.communicate()


def wait_until_up(address: str) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{address} does not answer")


def request(tools: bool = True, **extra: object) -> str:
    function = {"name": "GetForecast", "parameters": {"properties": {"city": {"type": "string"}}}}
    offered = {"tools": [{"type": "function", "function": function}]} if tools else {}
    messages = [{"role": "user", "content": "How is the weather in Fernhill?"}]
    return json.dumps({"model": "demo", "messages": messages, **offered, **extra})


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_calls_whole_and_as_a_stream(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, url):

        def curl(body: str) -> str:
            words = ["curl", "-sN", f"{url}/chat/completions", "-d", body]
            words += ["-H", "Content-Type: application/json"]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout

        (choice,) = json.loads(curl(request()))["choices"]
        (call,) = choice["message"]["tool_calls"]
        assert call["function"] == {"name": "GetForecast", "arguments": '{"city": "Fernhill"}'}
        lines = curl(request(stream=True)).split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        assert all(line.startswith("data: ") for line in lines[:-1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as (process, url):
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.splitlines() == [f"serving demo at {url}"]


def test_a_key_comes_from_the_option(tmp_path: Path) -> None:
    with serving(tmp_path, "--api-key", "sk-1") as (_, url):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/models")
        asked = urllib.request.Request(f"{url}/models", headers={"Authorization": "Bearer sk-1"})
        with urllib.request.urlopen(asked) as answer:
            assert json.load(answer)["data"][0]["id"] == "demo"


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    words = [*command(tmp_path), f"model.model_name={tmp_path / 'none.jsonl'}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"coalm: .*none\.jsonl: no such file\n", done.stderr)
