from pathlib import Path

import pytest

from coalm.errors import FormatError
from coalm.formats import get_format
from coalm.formats.instructions import Instructions
from coalm.types import Conversation, Message, ToolSchema

HELLO = Conversation(
    id="c", messages=(Message(role="user", content="hi {tools}"),), tools=(ToolSchema(name="f"),)
)


def test_own_wording_replaces_ours_and_marks_the_version(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(
        'Tools: {tools}\n{context}JSON like {"a": {x}}\nBefore: {history}', encoding="utf-8"
    )
    form = get_format("react", file)
    assert form.render(HELLO)[0].content == (
        'Tools: 1. f()\nJSON like {"a": {x}}\nBefore: \n\nUser: hi {tools}'
    )
    assert form.version != get_format("react").version
    assert form.version.startswith(get_format("react").version + "+")


def test_filled_in_text_is_not_filled_again(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text("{a} {b}", encoding="utf-8")
    assert Instructions("x", ("a", "b"), file).fill({"a": "{b}", "b": "{a}"}) == "{b} {a}"


def test_missing_place_and_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text("only {tools}", encoding="utf-8")
    with pytest.raises(FormatError, match=r"t\.txt lacks the place \{context\}"):
        get_format("react", file)
    with pytest.raises(FormatError, match=r"none\.txt cannot be read"):
        get_format("react", tmp_path / "none.txt")
