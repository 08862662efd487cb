from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from coalm.agent.react import Limits, stop_reason
from coalm.agent.session import AgentSession, load_session, save_session
from coalm.cli.screen import Screen
from coalm.cli.talk import Talk
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.errors import CoalmError, EngineError
from coalm.tools import Tool, Toolbox
from coalm.types import Conversation, Message, Prompt, ToolCall, ToolSchema

SAY = str | BaseException


class Replies:
    """An engine that says what it was given; an exception among the texts is raised."""

    def __init__(self, *said: SAY) -> None:
        self.said = list(said)

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        said = self.said.pop(0)
        if isinstance(said, BaseException):
            raise said
        return [Completion(said, (), "stop", Usage(1, 1))]

    def close(self) -> None:
        pass


def weather(city: str) -> str:
    if city == "Atlantis":
        raise KeyboardInterrupt
    return f"clear over {city}"


PROPERTIES = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = Toolbox(
    [
        Tool(
            ToolSchema.model_validate(
                {"name": "Weather", "description": "Sky now", "parameters": PROPERTIES}
            ),
            weather,
        )
    ]
)
CALL = 'Thought: I look.\nAction: Weather(city="Oslo")'


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Talk]:
    """Runs a chat with typed lines and scripted replies; returns it as it was left."""

    def run(
        typed: Sequence[str],
        *said: SAY,
        path: Path | None = None,
        conversation: Conversation | None = None,
        interactive: bool = True,
    ) -> Talk:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
        session = AgentSession(
            Replies(*said),
            TOOLS,
            limits=Limits(max_steps=2),
            conversation=conversation or Conversation(id="c"),
        )
        chat = Talk(Screen(interactive=interactive), session, path)
        chat.run()
        return chat

    return run


def roles(conversation: Conversation) -> list[str]:
    return [message.role for message in conversation.messages]


def test_turns_are_shown_and_remembered(
    talk: Callable[..., Talk], capsys: pytest.CaptureFixture[str]
) -> None:
    chat = talk(["Weather?", "", "Thanks"], CALL, "Thought: I say it.\nSystem: Clear.", "Bye.")
    assert roles(chat.conversation) == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    out = capsys.readouterr().out
    for text in ("Thought: I look.", "Weather", 'city = "Oslo"', "clear over Oslo"):
        assert text in out
    assert "Assistant: Clear." in out
    assert "Assistant: Bye." in out


def test_every_message_is_saved_at_once(talk: Callable[..., Talk], tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    with pytest.raises(KeyError):
        talk(["Weather?"], CALL, KeyError("as good as a kill"), path=path)
    assert roles(load_session(path)) == ["user", "assistant", "tool"]


def test_a_turn_cut_off_is_finished_when_the_session_is_opened_again(
    talk: Callable[..., Talk], tmp_path: Path
) -> None:
    path = tmp_path / "s.jsonl"
    with pytest.raises(KeyError):
        talk(["Weather?"], CALL, KeyError("as good as a kill"), path=path)
    chat = talk([], "System: Clear.", path=path, conversation=load_session(path))
    assert chat.conversation.messages[-1].content == "Clear."
    assert load_session(path) == chat.conversation


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([KeyboardInterrupt()], ["user"]),
        ([CALL, KeyboardInterrupt()], ["user", "assistant", "tool"]),
        (['Action: Weather(city="Atlantis")'], ["user", "assistant", "tool"]),
    ],
)
def test_ctrl_c_while_the_model_works_returns_to_the_prompt(
    talk: Callable[..., Talk],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    said: list[SAY],
    kept: list[str],
) -> None:
    path = tmp_path / "s.jsonl"
    chat = talk(["Weather?", "Go on"], *said, "System: Here I am.", path=path)
    assert roles(chat.conversation) == [*kept, "user", "assistant"]
    assert chat.conversation.meta["stops"] == [{"after": len(kept), "reason": "interrupted"}]
    assert load_session(path) == chat.conversation
    assert "(turn ended without a reply: interrupted)" in capsys.readouterr().out


def test_an_error_of_the_engine_ends_the_turn_only(
    talk: Callable[..., Talk], capsys: pytest.CaptureFixture[str]
) -> None:
    chat = talk(["a", "b"], EngineError("prompt of 9000 tokens\nis too long"), "System: Yes.")
    assert roles(chat.conversation) == ["user", "user", "assistant"]
    assert "prompt of 9000 tokens is too long\n" in capsys.readouterr().out


@pytest.mark.parametrize("error", [EngineError("too long"), KeyboardInterrupt()])
def test_with_nobody_at_the_keyboard_a_failed_answer_ends_the_chat(
    talk: Callable[..., Talk], tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "s.jsonl"
    with pytest.raises(type(error)):
        talk(["a", "b"], error, "System: Yes.", path=path, interactive=False)
    saved = load_session(path)
    assert roles(saved) == ["user"]
    assert stop_reason(saved) == (
        "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
    )


def test_ctrl_c_at_the_prompt_leaves_nothing(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str | BaseException] = [KeyboardInterrupt(), "hi", EOFError()]

    def typed(prompt: str) -> str:
        line = lines.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", typed)
    chat = talk([], "System: Hello.")
    assert roles(chat.conversation) == ["user", "assistant"]
    assert "(/quit or Ctrl-D leaves)" in capsys.readouterr().out


def test_ctrl_c_at_the_end_of_a_pipe_ends_the_chat(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    def typed(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", typed)
    with pytest.raises(KeyboardInterrupt):
        talk([], interactive=False)


def test_a_turn_that_reaches_its_limit_says_so(
    talk: Callable[..., Talk], capsys: pytest.CaptureFixture[str]
) -> None:
    talk(["Weather?"], 'Action: Weather(city="Oslo")', 'Action: Weather(city="Rome")')
    assert "(turn ended without a reply: max steps)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/help", "/quit         leave"),
        ("/tools", "Weather(city): Sky now"),
        ("/save", "no session file yet; write /save FILE"),
        ("/load nothing.jsonl", "nothing.jsonl: no such file"),
        ("/hlep", "there is no command /hlep; /help lists them"),
        ("/load", "no sessions in ."),
    ],
)
def test_commands_without_effect_on_the_conversation(
    talk: Callable[..., Talk],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    shown: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    chat = talk([command])
    assert shown in capsys.readouterr().out
    assert chat.conversation.messages == ()


def test_quit_leaves_at_once(talk: Callable[..., Talk]) -> None:
    assert talk(["/quit", "hi"]).conversation.messages == ()


def test_a_wrong_command_in_a_piped_chat_is_an_error(talk: Callable[..., Talk]) -> None:
    with pytest.raises(CoalmError, match="there is no command /hlep"):
        talk(["/hlep"], interactive=False)


def test_save_and_load(
    talk: Callable[..., Talk], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    talk(["hi", f"/save {first}", "again"], "System: One.", "System: Two.")
    assert roles(load_session(first)) == ["user", "assistant"] * 2
    capsys.readouterr()
    chat = talk([f"/load {first}", f"/save {second}", "more", "/load"], "System: Three.")
    assert roles(chat.conversation) == ["user", "assistant"] * 3
    assert chat.path == second
    assert roles(load_session(first)) == ["user", "assistant"] * 2
    out = capsys.readouterr().out
    assert "You: hi\nAssistant: One.\nYou: again\nAssistant: Two.\n" in out
    assert "a.jsonl  4 messages  hi" in out


def test_load_offers_the_tools_of_the_running_chat_and_finishes_the_open_turn(
    talk: Callable[..., Talk], tmp_path: Path
) -> None:
    call = ToolCall(name="Weather", arguments={"city": "Oslo"})
    messages = (
        Message(role="user", content="Weather?"),
        Message(role="assistant", tool_calls=(call,)),
    )
    old = Conversation(id="old", messages=messages, tools=(ToolSchema(name="Gone"),))
    save_session(tmp_path / "a.jsonl", old)
    chat = talk([f"/load {tmp_path / 'a.jsonl'}"], "System: I do not know.")
    assert chat.conversation.tools == TOOLS.schemas
    assert roles(chat.conversation) == ["user", "assistant", "tool", "assistant"]


def test_reset_keeps_the_system_message_and_the_saved_file(
    talk: Callable[..., Talk], tmp_path: Path
) -> None:
    path = tmp_path / "s.jsonl"
    start = Conversation(
        id="c", messages=(Message(role="system", content="Be brief."),), tools=TOOLS.schemas
    )
    chat = talk(
        ["hi", "/reset", "new"], "System: One.", "System: Two.", path=path, conversation=start
    )
    assert [m.content for m in chat.conversation.messages] == ["Be brief.", "new", "Two."]
    assert [m.content for m in load_session(path).messages] == ["Be brief.", "hi", "One."]


def test_a_session_that_cannot_be_written_does_not_end_the_chat(
    talk: Callable[..., Talk], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    chat = talk(["hi"], "System: Hello.", path=tmp_path / "file" / "s.jsonl")
    assert roles(chat.conversation) == ["user", "assistant"]
    assert "cannot be written: " in capsys.readouterr().out
