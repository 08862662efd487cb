from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from coalm.agent.mcp_tools import mcp_tools
from coalm.errors import ToolError
from coalm.tools import Toolbox
from coalm.types import ToolCall

SERVER = Path(__file__).parents[1] / "fixtures" / "mcp" / "server.py"
COMMAND = shlex.join([sys.executable, str(SERVER)])


def ask(box: Toolbox, name: str, **arguments: int | float | str) -> str:
    return box.execute(ToolCall(name=name, arguments=dict(arguments))).content


def error_of(content: str) -> str:
    return json.loads(content)["error"]


@pytest.fixture(scope="module")
def box() -> Iterator[Toolbox]:
    with mcp_tools(COMMAND) as tools:
        yield Toolbox(tools, max_chars=1000)


def test_the_tools_of_a_server_have_plain_schemas(box: Toolbox) -> None:
    add = box.schemas[0]
    assert (add.name, add.description, add.required) == ("add", "Add two numbers.", ("first",))
    assert add.properties == {
        "first": {"type": "integer"},
        "second": {"type": "integer", "default": 2},
        "mode": {"type": ["string", "null"], "enum": ["plain", "loud", None], "default": None},
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table", '{"result": [{"name": "Café"}]}'),
        ("words", "two words"),
        ("picture", "[image, image/png]"),
        ("environment", '{"result": "nothing"}'),
    ],
)
def test_results_become_text(box: Toolbox, name: str, content: str) -> None:
    assert ask(box, name) == content


def test_arguments_are_coerced_before_they_are_sent(box: Toolbox) -> None:
    assert ask(box, "add", first="40") == '{"result": 42}'
    assert "must be an integer, got 'many'" in ask(box, "add", first="many")


def test_an_error_of_a_tool_is_an_observation(box: Toolbox) -> None:
    assert "no such thing" in error_of(ask(box, "fail"))


def test_a_long_result_is_cut(box: Toolbox) -> None:
    assert len(ask(box, "long")) < 1100


def test_calls_run_side_by_side(box: Toolbox) -> None:
    started = time.monotonic()
    calls = [ToolCall(name="wait", arguments={"seconds": 0.5})] * 6
    assert [m.content for m in box.execute_all(calls)] == ['{"result": "done"}'] * 6
    assert time.monotonic() - started < 2.5


def test_a_hanging_tool_and_a_dying_server_are_observations() -> None:
    with mcp_tools(COMMAND, timeout=5, env={"SHOP_KEY": "k"}) as tools:
        box = Toolbox(tools)
        assert ask(box, "environment") == '{"result": "k"}'
        (late,) = box.execute_all([ToolCall(name="wait", arguments={"seconds": 60})], 0.3)
        assert error_of(late.content) == "wait gave no result within 0.3 seconds"
        assert "die: MCP server failed: " in error_of(ask(box, "die"))
        assert "add" in error_of(ask(box, "add", first=1))
    content = ask(box, "add", first=1)
    assert error_of(content) == f"the connection to MCP server {COMMAND!r} is closed"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    process = subprocess.Popen([*shlex.split(COMMAND), str(port)])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait()


def test_a_server_behind_a_url(url: str) -> None:
    with mcp_tools(url, timeout=20) as tools:
        box = Toolbox(tools)
        assert ask(box, "add", first=1) == '{"result": 3}'
        assert "no such thing" in error_of(ask(box, "fail"))


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ("no-such-command --at all", "cannot be used: "),
        (f"{sys.executable} -c \"import sys; sys.exit('no port')\"", "; the last it said: no port"),
        ('python "unclosed', "cannot be used: No closing quotation"),
        ("", "cannot be used: "),
        ("http://127.0.0.1:9/mcp", "cannot be used: "),
    ],
)
def test_a_server_out_of_reach_says_why(server: str, reason: str) -> None:
    with pytest.raises(ToolError) as caught, mcp_tools(server, timeout=10):
        pass
    assert str(caught.value).startswith(f"MCP server {server!r} cannot be used: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_program_that_does_not_speak_mcp_is_given_up() -> None:
    silent = f'{sys.executable} -c "import time; time.sleep(60)"'
    started = time.monotonic()
    with pytest.raises(ToolError, match="no answer in time"), mcp_tools(silent, timeout=1):
        pass
    assert time.monotonic() - started < 15
