"""Chat templates that write OpenAI messages and tools as our formats do, for `vllm serve`.

A template for vLLM is one Jinja text that makes the whole prompt. It has two halves: the user turn
of a format, from `vllm_templates/`, with the instruction text in it; and the chat template of the
model's family, which reads that one turn. `tests/server/test_vllm_template.py` holds the first half
to the formats themselves, character by character.

vLLM tokenizes the text as a whole. So there a user who writes `<|eot_id|>` writes a control token,
which our own engines and `coalm serve` do not let happen.
"""

from __future__ import annotations

import json
from pathlib import Path

from coalm.errors import FormatError
from coalm.formats.instructions import Instructions

_FOLDER = Path(__file__).parent / "vllm_templates"
_TURNS = {"react": ("spoken[:at.user]", "spoken[at.user:]"), "json_calls": ("", "spoken")}
"""Per format: the messages that `{history}` stands for, and those of the turn to answer."""
_CUT = "\0"


def vllm_template(format_name: str, chat_template: str, instructions: Path | None = None) -> str:
    """The Jinja text for `vllm serve --chat-template`.

    Args:
        format_name: `react` or `json_calls`.
        chat_template: The Jinja text of the model's family.
        instructions: As for `get_format`.

    Raises:
        FormatError: no template for this format, or the instruction file cannot be used.
    """
    if format_name not in _TURNS:
        raise FormatError(
            f"no template for vLLM writes the format {format_name!r}; "
            f"there are: {', '.join(_TURNS)}"
        )
    history, current = _TURNS[format_name]
    values = {"context": "context", "tools": "written_tools"}
    if history:
        values["history"] = f"listed({history})"
    text = Instructions(format_name, tuple(values), instructions)
    filled = text.fill({place: f"{_CUT}{name}{_CUT}" for place, name in values.items()})
    pieces = [*filled.split(_CUT), f"listed({current})"]
    pieces[-2] += "\n\n"
    return "\n".join(
        [
            _read("frame"),
            _read(format_name),
            "{%- set prompt -%}",
            *(_written(piece, literal=not at % 2) for at, piece in enumerate(pieces)),
            "{%- endset -%}",
            '{%- set messages = [{"role": "user", "content": prompt}] -%}',
            "{%- set tools = none -%}",
            chat_template,
        ]
    )


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def _written(piece: str, *, literal: bool) -> str:
    lines = piece.splitlines(keepends=True) if literal else [piece]
    # text of JSON is text of Jinja, too, as long as characters beyond ASCII are left alone
    return "\n".join(
        f"    {{{{- {json.dumps(line, ensure_ascii=False) if literal else line} -}}}}"
        for line in lines
    )
