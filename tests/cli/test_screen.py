from __future__ import annotations

import io

import pytest
from rich.console import Console

from coalm.cli.screen import Screen
from coalm.types import Message, ToolCall


def shown(message: Message, *, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=60, highlight=False, force_terminal=terminal)
    Screen(console, interactive=False).message(message)
    return out.getvalue()


def test_a_reply_and_its_thought() -> None:
    message = Message(role="assistant", thought="I know it.", content="Oslo.")
    assert shown(message) == "Thought: I know it.\nAssistant: Oslo.\n"


def test_a_thought_is_dim_at_a_terminal() -> None:
    assert "\x1b[2;3mThought: t" in shown(Message(role="assistant", thought="t"), terminal=True)


def test_an_empty_reply_is_said_to_be_empty() -> None:
    assert shown(Message(role="assistant")) == "Assistant: (no words)\n"


def test_calls_are_boxes_with_one_argument_per_line() -> None:
    call = ToolCall(name="Search", arguments={"city": "Oslo", "stars": 3, "near": ["é"]})
    assert shown(Message(role="assistant", tool_calls=(call,))).splitlines() == [
        "  ╭─ Search ──────╮",
        '  │ city = "Oslo" │',
        "  │ stars = 3     │",
        '  │ near = ["é"]  │',
        "  ╰───────────────╯",
    ]


def test_an_unreadable_call_is_shown_as_it_was_written() -> None:
    call = ToolCall(raw="Search(", error="expected a value")
    text = shown(Message(role="assistant", content="Well.", tool_calls=(call,)))
    assert text.startswith("Assistant: Well.\n")
    assert "unreadable call" in text
    assert "Search(" in text


def test_a_json_result_is_laid_out() -> None:
    text = shown(Message(role="tool", name="Search", content='[{"city": "Tromsø"}]'))
    assert '"city": "Tromsø"' in text
    assert len(text.splitlines()) == 7


def test_a_long_result_is_cut_and_the_rest_counted() -> None:
    text = shown(Message(role="tool", content="x" * 10_000_000))
    assert "... 9997000 more" in text
    assert text.count("x") == 3000


@pytest.mark.parametrize(
    "message",
    [
        Message(
            role="assistant", thought="[bold]t[/nothing]\x1b[2J", content="[/] :smile:\x1b]0;x\x07"
        ),
        Message(role="tool", content="[red]\x1b[2J[/blue]"),
        Message(
            role="assistant", tool_calls=(ToolCall(name="[b]\x1b[2J\n", arguments={"[/]": "\x9b"}),)
        ),
        Message(role="assistant", tool_calls=(ToolCall(raw="[/]\x1b[2J", error="[/]"),)),
    ],
)
def test_untrusted_text_is_neither_markup_nor_control(message: Message) -> None:
    text = shown(message)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert r"\x1b" in text
    assert "[/" in text or "[b" in text


def test_lines_from_a_pipe_are_printed_as_they_were_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello [b]\x1b\nlast"))
    screen = Screen()
    assert screen.read("You: ") == "hello [b]\x1b"
    assert screen.read("You: ") == "last"
    assert screen.read("You: ") is None
    assert capsys.readouterr().out == "You: hello [b]\\x1b\nYou: last\nYou: \n"


def test_a_line_typed_by_a_person_is_not_printed_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    assert Screen(interactive=True).read("You: ") == "hello"
    assert capsys.readouterr().out == "You: "


def test_leaving_the_question_for_a_result_leaves_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"sky": "clear"}\n'))
    ask = Screen().result_of("Weather")
    assert ask(city="Oslo") == '{"sky": "clear"}'
    with pytest.raises(KeyboardInterrupt):
        ask(city="Oslo")
