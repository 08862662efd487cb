from __future__ import annotations

import pytest

from coalm.cli.plain_text import one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "plain\n\tprose: [bold]héllo[/] 👩‍👩‍👧 日本",
            "plain\n\tprose: [bold]héllo[/] 👩‍👩‍👧 日本",
        ),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("safe\rrm -rf", r"safe\rrm -rf"),
        ("a\x00b\x7fc\x9bd\x85e", r"a\x00b\x7fc\x9bd\x85e"),
        ("abc\u202edef\u2066\u200f", r"abc\u202edef\u2066\u200f"),
        ("half \ud83d emoji", r"half \ud83d emoji"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    visible(text).encode("utf-8")


def test_one_line_has_no_line_breaks_of_any_kind() -> None:
    assert one_line("a\nb\r\nc\u2028d\x85 e\x1b\n") == r"a b c d  e\x1b"
