"""A guess at the verdict on executable entries that need a network.

It is a guess and has to be shown as one: "the same calls as the official answer" agrees with the
official verdict in 95.6 % of 7,526 published outputs, "one call of requests.get" in 87 %.
"""

from __future__ import annotations

from typing import cast

from coalm.errors import ParseError
from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.decode import Call, decode, decode_fc
from coalm.evals.bfcl.verdict import RIGHT, Value, Verdict


def judge_by_proxy(entry: Entry, reply: object, *, function_calling: bool = False) -> Verdict:
    """Guess at the verdict on the reply to an `exec` or `rest` entry."""
    try:
        calls = decode_fc(reply) if function_calling else decode(str(reply)) or []
    except ParseError as e:
        return Verdict("executable_decoder:decoder_failed", str(e))
    if entry.category.scoring == "rest":
        # engines without dots in names write an underscore
        names = [name.replace("_", ".") for call in calls for name in call]
        return RIGHT if names == ["requests.get"] else Verdict("proxy:other_call", "no single GET")
    expected = [call for text in entry.answer for call in decode(text) or []]
    if len(calls) != len(expected):
        return Verdict("proxy:wrong_count", f"{len(calls)} calls instead of {len(expected)}")
    unused = [_plain(call) for call in calls]
    for call in expected:
        if _plain(call) not in unused:
            return Verdict("proxy:other_call", f"no call is {call}")
        unused.remove(_plain(call))
    return RIGHT


def _plain(value: Value | Call) -> Value:
    """The value with lists for tuples, since JSON has none."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in cast("dict[Value, Value]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("list[Value]", value)]
    return value
