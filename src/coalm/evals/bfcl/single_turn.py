"""Verdict on the reply to a single-turn question that is scored by comparing calls.

Rules: `bfcl-eval` 2025.6.8, `eval_checker/eval_runner.py`. Where no call is expected, everything
that does not decode counts as "no call", be it a polite refusal or broken text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import cast

from coalm.errors import ParseError
from coalm.evals.bfcl.ast_check import check_calls
from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.decode import Call, TooLargeError, decode, decode_fc, is_call_list
from coalm.evals.bfcl.quirks import COMPAT, Quirks
from coalm.evals.bfcl.verdict import RIGHT, Verdict


def judge_reply(
    entry: Entry,
    reply: object,
    *,
    function_calling: bool = False,
    underscores: bool = False,
    quirks: Quirks = COMPAT,
) -> Verdict:
    """Verdict on a reply: text, or what a function-calling engine returned.

    `underscores` is for engines that cannot have dots in function names.
    """
    try:
        if function_calling:
            decoded: object = decode_fc(reply)
        elif isinstance(reply, str):
            decoded = decode(reply, entry.category.language, quirks)
        else:
            raise ParseError(f"expected text, got {type(reply).__name__}")
    except TooLargeError as e:
        return Verdict("ast_decoder:decoder_failed", str(e))
    except ParseError as e:
        if entry.category.scoring == "irrelevance" and not quirks.garbage:
            return _judge_refusal(entry, reply)
        return judge_undecoded(entry, str(e))
    return judge_decoded(entry, decoded, underscores=underscores, quirks=quirks)


def _judge_refusal(entry: Entry, reply: object) -> Verdict:
    """Verdict on a reply without a sound call where none is expected."""
    text = reply if isinstance(reply, str) else json.dumps(reply)
    for function in entry.functions:
        name = re.escape(str(function["name"]))
        if re.search(rf"(?<![\w.]){name}\s*\(|[\"']{name}[\"']\s*[:,}}]", text):
            return Verdict("irrelevance_error:broken_call", f"a broken call of {function['name']}")
    return RIGHT


def judge_undecoded(entry: Entry, reason: str) -> Verdict:
    """Verdict on a reply that does not decode."""
    match entry.category.scoring:
        case "irrelevance":
            return RIGHT
        case "relevance":
            return Verdict("relevance_error:decoder_failed", reason)
        case _:
            return Verdict("ast_decoder:decoder_failed", reason)


def judge_decoded(
    entry: Entry, decoded: object, *, underscores: bool = False, quirks: Quirks = COMPAT
) -> Verdict:
    """Verdict on what a reply decodes to."""
    sound = is_call_list(decoded)
    calls = cast("list[Call]", decoded) if sound else []
    match entry.category.scoring:
        case "irrelevance" if calls:
            return Verdict("irrelevance_error:decoder_success", "a call where none is expected")
        case "irrelevance":
            return RIGHT
        case "relevance" if not calls:
            return Verdict("relevance_error:decoder_failed", "no call where one is expected")
        case "relevance" if not quirks.strangers and (name := _stranger(entry, calls, underscores)):
            return Verdict("relevance_error:unknown_function", f"{name!r} is not on offer")
        case "relevance":
            return RIGHT
        case _ if not sound:
            return Verdict("ast_decoder:decoder_wrong_output_format", "no list of calls")
        case _:
            return check_calls(
                calls,
                entry.functions,
                entry.answer,
                entry.category,
                underscores=underscores,
                quirks=quirks,
            )


def _stranger(entry: Entry, calls: Sequence[Call], underscores: bool) -> str | None:
    """The first function that is called and not on offer."""
    offered = {str(function["name"]) for function in entry.functions}
    offered |= {name.replace(".", "_") for name in offered if underscores}
    return next((name for call in calls for name in call if name not in offered), None)
