"""`coalm chat` end to end: a process of its own, typed or piped input, a scripted model."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.agent.session import load_session
from coalm.formats import get_format
from coalm.types import Conversation

FORECAST = 'Thought: I know the town.\nAction: GetForecast(city="Fernhill")'
REPLY = "Thought: The forecast is there.\nSystem: It will be cloudy."


def script(folder: Path, *texts: str) -> Path:
    path = folder / "replies.jsonl"
    jsonl.write(path, [{"text": text} for text in texts])
    return path


def chat(
    typed: str, *arguments: str | Path, replies: Path | None = None
) -> subprocess.CompletedProcess[str]:
    model = ["--model", replies, "engine=SCRIPTED"] if replies else []
    return subprocess.run(
        [sys.executable, "-m", "coalm", "chat", *model, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )


def roles(conversation: Conversation) -> list[str]:
    return [message.role for message in conversation.messages]


def test_a_piped_chat_in_the_mini_world_calls_its_tools(tmp_path: Path) -> None:
    session = tmp_path / "s.jsonl"
    done = chat(
        "What is the weather in Fernhill?\n",
        *("--world", "mini", "--session", session, "--system", "Be brief."),
        replies=script(tmp_path, FORECAST, REPLY),
    )
    assert (done.returncode, done.stderr) == (0, "")
    out = done.stdout
    parts = [
        "You: What is the weather in Fernhill?\nThought: I know the town.\n",
        'city = "Fernhill"',
        '"condition":',
        "Thought: The forecast is there.\nAssistant: It will be cloudy.\nYou: \n",
    ]
    places = [out.index(part) for part in parts]
    assert places == sorted(places)
    saved = load_session(session)
    assert roles(saved) == ["system", "user", "assistant", "tool", "assistant"]
    assert json.loads(saved.messages[3].content)[0]["city"] == "Fernhill"
    assert "GetForecast" in [tool.name for tool in saved.tools]


def test_how_tools_are_shown_is_kept_with_the_talk_and_by_a_reset(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    chat(
        f"hi\n/save {first}\n/reset\nhello\n/save {second}\n",
        *("--world", "mini", "--tool-text", "signatures"),
        replies=script(tmp_path, "System: One.", "System: Two."),
    )
    for path, said in ((first, "hi"), (second, "hello")):
        saved = load_session(path)
        opening = [message.content for message in saved.messages[:2]]
        assert opening == ["Today is Friday, 2019-03-01.", said]
        assert saved.meta["tool_text"] == "signatures"
        prompt = get_format("react").render(
            saved.model_copy(update={"messages": saved.messages[:2]})
        )
        assert "GetForecast(city, date?)" in str(prompt)


def test_a_session_is_opened_again_where_it_ended(tmp_path: Path) -> None:
    session = tmp_path / "s.jsonl"
    chat("hi\n", "--session", session, replies=script(tmp_path, "System: One."))
    done = chat("again\n", "--session", session, replies=script(tmp_path, "System: Two."))
    assert "You: hi\nAssistant: One.\nYou: again\nAssistant: Two.\n" in done.stdout
    assert roles(load_session(session)) == ["user", "assistant"] * 2


def test_tools_from_a_file_are_answered_by_the_user(tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools.write_text(json.dumps([{"name": "Weather", "parameters": schema}]))
    done = chat(
        "Weather in Oslo?\nrainy\n",
        *("--tools", tools, "--session", tmp_path / "s.jsonl"),
        replies=script(tmp_path, 'Action: Weather(city="Oslo")', "System: Rain."),
    )
    assert done.returncode == 0
    assert "Result of Weather: rainy\n" in done.stdout
    assert load_session(tmp_path / "s.jsonl").messages[2].content == "rainy"


@pytest.mark.parametrize(
    ("form", "calls"),
    [
        ("json_calls", '[{"name": "GetForecast", "arguments": {"city": "Fernhill"}}]'),
        ("python_calls", '[GetForecast(city="Fernhill")]'),
    ],
)
def test_other_formats_drive_the_same_chat(tmp_path: Path, form: str, calls: str) -> None:
    done = chat(
        "Weather?\n",
        "--world",
        "mini",
        "--format",
        form,
        replies=script(tmp_path, calls, "Cloudy."),
    )
    assert done.returncode == 0
    assert '"condition":' in done.stdout
    assert "Assistant: Cloudy.\n" in done.stdout


def test_steps_are_limited(tmp_path: Path) -> None:
    towns = ("Fernhill", "Kingsmere", "Westhaven", "Alderbrook", "Lower Tarn")
    replies = script(tmp_path, *(f'Action: GetForecast(city="{town}")' for town in towns))
    done = chat("Weather?\n", "--world", "mini", "--max-steps", "2", replies=replies)
    assert done.returncode == 0
    assert done.stdout.count("GetForecast") == 2
    assert "(turn ended without a reply: max steps)" in done.stdout


def test_an_instruction_of_the_users_own_is_used(tmp_path: Path) -> None:
    prompts = tmp_path / "own.txt"
    prompts.write_text("Talk.\n{tools}\n{history}\n")
    done = chat("hi\n", "--prompts", prompts, replies=script(tmp_path, "System: Yes."))
    assert done.returncode == 1
    assert "own.txt lacks the place {context}" in done.stderr
    prompts.write_text("Talk.\n{context}{tools}\n{history}\n")
    done = chat("hi\n", "--prompts", prompts, replies=script(tmp_path, "System: Yes."))
    assert "Assistant: Yes." in done.stdout


def test_the_texts_of_the_model_cannot_steer_the_terminal(tmp_path: Path) -> None:
    said = 'Thought: \x1b[2Jt\nSystem: [red]\x1b]0;title\x07 {"a": [1]}'
    done = chat("hi \x1b[1m\n", replies=script(tmp_path, said))
    assert "\x1b" not in done.stdout
    assert r"Assistant: [red]\x1b]0;title\x07 {" in done.stdout


def test_a_configuration_file_names_the_model_and_may_be_overridden(tmp_path: Path) -> None:
    config = tmp_path / "chat.yaml"
    config.write_text(
        f"model:\n  model_name: {script(tmp_path, 'System: a b c d')}\nengine: SCRIPTED\n"
    )
    done = chat("hi\n", "-c", config, "generation.max_new_tokens=3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Assistant: a b\n" in done.stdout


@pytest.mark.model
@pytest.mark.usefixtures("smollm2")
def test_without_a_model_the_one_that_comes_with_coalm_calls_tools(tmp_path: Path) -> None:
    session = tmp_path / "s.jsonl"
    typed = "Hi, how will the weather be in Fernhill tomorrow?\n"
    done = chat(typed, "--world", "mini", "--session", session, "generation.guided=true")
    assert done.returncode == 0
    assert "coalm-135m, 20 tools" in done.stdout
    conversation = load_session(session)
    assert conversation.meta["tool_text"] == "signatures"
    assert roles(conversation)[:4] == ["system", "user", "assistant", "tool"]
    (call,) = conversation.messages[2].tool_calls
    assert (call.name, call.arguments["city"]) == ("GetForecast", "Fernhill")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "no.yaml"], "coalm: no.yaml: no such file\n"),
        (["--model", "m", "--tools", "no.json"], "coalm: no.json: no such file\n"),
        (["--model", "no.jsonl", "engine=SCRIPTED"], "coalm: no.jsonl: no such file\n"),
        (["--model", "m", "--modle", "x"], "unknown key 'modle'; did you mean 'model'?"),
        (["--model", "m", "--prompts", "no.txt"], "coalm: instruction text no.txt cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments: list[str], message: str) -> None:
    done = chat("", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_session_is_named_and_left_alone(tmp_path: Path) -> None:
    session = tmp_path / "s.jsonl"
    session.write_text("{torn\n")
    done = chat("hi\n", "--session", session, replies=script(tmp_path, "System: One."))
    assert done.returncode == 1
    assert "s.jsonl:1: not JSON" in done.stderr
    assert session.read_text() == "{torn\n"


SLOW = """
import sys, time
import coalm.engines
from coalm.cli.main import main
from coalm.engines.scripted import ScriptedEngine

class SlowEngine(ScriptedEngine):
    '''Hangs where the script says "wait".'''
    def generate(self, prompts, params):
        found = super().generate(prompts, params)
        if found[0].text == "wait":
            print("<waiting>", flush=True)
            time.sleep(60)
        return found

sys.modules["slow"] = sys.modules["__main__"]
coalm.engines.ENGINES["scripted"] = "slow.SlowEngine"
main()
"""


@contextmanager
def slow_chat(folder: Path, stdin: int, stdout: int, *texts: str) -> Iterator[subprocess.Popen]:
    arguments = ["--world", "mini", "--session", folder / "s.jsonl", "engine=SCRIPTED"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "chat", "--model", script(folder, *texts), *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stdout,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_until(descriptor: int, text: str) -> str:
    """What the chat prints up to `text`; fails after half a minute."""
    seen = b""
    deadline = time.monotonic() + 30
    os.set_blocking(descriptor, False)
    while text.encode() not in seen:
        assert time.monotonic() < deadline, seen.decode()
        try:
            seen += os.read(descriptor, 1)
        except BlockingIOError:
            time.sleep(0.01)
    return seen.decode()


def test_ctrl_c_returns_to_the_prompt_and_ctrl_d_leaves(tmp_path: Path) -> None:
    keyboard, terminal = pty.openpty()
    with slow_chat(tmp_path, terminal, terminal, FORECAST, "wait", "System: Here.") as process:
        read_until(keyboard, "You: ")
        # Ctrl-C where nothing is going on only explains how to leave
        process.send_signal(signal.SIGINT)
        read_until(keyboard, "You: ")
        os.write(keyboard, b"Weather?\n")
        read_until(keyboard, "<waiting>")
        process.send_signal(signal.SIGINT)
        assert "interrupted" in read_until(keyboard, "You: ")
        os.write(keyboard, b"Still there?\n")
        read_until(keyboard, "Here.")
        read_until(keyboard, "You: ")
        os.write(keyboard, b"\x04")
        assert process.wait(timeout=30) == 0
    saved = load_session(tmp_path / "s.jsonl")
    assert roles(saved) == ["system", "user", "assistant", "tool", "user", "assistant"]
    os.close(keyboard)
    os.close(terminal)


def test_a_killed_chat_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "typed.txt").write_text("Weather?\n")
    read_end, write_end = os.pipe()
    with (
        (tmp_path / "typed.txt").open() as typed,
        slow_chat(tmp_path, typed.fileno(), write_end, FORECAST, "wait") as process,
    ):
        read_until(read_end, "<waiting>")
        process.kill()
    assert roles(load_session(tmp_path / "s.jsonl")) == ["system", "user", "assistant", "tool"]
    os.close(read_end)
    os.close(write_end)
    done = chat("", "--session", tmp_path / "s.jsonl", replies=script(tmp_path, REPLY))
    assert done.returncode == 0
    assert "(going on where the saved turn was cut off)" in done.stdout
    assert "Assistant: It will be cloudy." in done.stdout
    after = load_session(tmp_path / "s.jsonl")
    assert roles(after) == ["system", "user", "assistant", "tool", "assistant"]


FUNCTIONS = '''
def shout(text: str, times: int = 1) -> str:
    """Say it loud."""
    return text.upper() * times
'''
SHOUT = 'Action: shout(text="hey", times="2")'


def test_functions_of_a_python_file_are_tools(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(FUNCTIONS)
    done = chat(
        "Shout\n/tools\n",
        *("--tools", tmp_path / "tools.py", "--world", "mini"),
        replies=script(tmp_path, SHOUT, "System: Done."),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "HEYHEY" in done.stdout
    assert "shout(text, times): Say it loud.\n" in done.stdout
    assert "21 tools" in done.stdout


def test_tools_of_an_mcp_server(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    server = Path(__file__).parents[1] / "fixtures" / "mcp" / "server.py"
    done = chat(
        "Add\n",
        *("--mcp", f"{sys.executable} {server}"),
        replies=script(tmp_path, "Action: add(first=40)", "System: Done."),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"result": 42' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--tools", "gone.py"], "coalm: gone.py: no such Python file\n"),
        (["--tools", "gone.json"], "coalm: gone.json: no such file\n"),
        (["--mcp", "no-such-command"], "coalm: MCP server 'no-such-command' cannot be used: "),
        (["--replay", "gone.jsonl"], "coalm: gone.jsonl: no such file\n"),
        (["--world", "mini", "--tools", "twice.json"], "coalm: two tools are named"),
    ],
)
def test_tools_that_cannot_be_had_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.json").write_text('[{"name": "GetForecast"}]')
    done = chat("", *arguments, replies=script(tmp_path, "System: Hi."))
    assert done.returncode == 1
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == 1


def test_a_replay_shows_what_changed(tmp_path: Path) -> None:
    session, again = tmp_path / "s.jsonl", tmp_path / "t.jsonl"
    tools = tmp_path / "tools.py"
    tools.write_text(FUNCTIONS)
    replies = script(tmp_path, SHOUT, "System: Done.")
    chat("Shout\n", "--tools", tools, "--session", session, replies=replies)
    same = chat("", "--tools", tools, "--replay", session)
    assert (same.returncode, same.stderr) == (0, "")
    assert "HEYHEY" in same.stdout
    assert same.stdout.endswith("(nothing changed)\n")
    other = script(tmp_path, "System: No.")
    changed = chat("", "--tools", tools, "--replay", session, "--session", again, replies=other)
    assert "-tool: HEYHEY\n-assistant: Done.\n+assistant: No.\n" in changed.stdout
    assert roles(load_session(again)) == ["user", "assistant"]


def test_a_turn_has_limits(tmp_path: Path) -> None:
    done = chat(
        "Hi\n",
        *("--max-tokens", "3", "--max-seconds", "60", "--max-steps", "9"),
        replies=script(tmp_path, "Thought: one two three.\nAction: f()"),
    )
    assert "(turn ended without a reply: max tokens)" in done.stdout
