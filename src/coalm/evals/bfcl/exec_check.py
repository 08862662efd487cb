"""Verdict on executable entries: run the calls and the official ones, compare the results.

Rules: ShishirPatil/gorilla 8bf675cc, `executable_eval/executable_checker.py`. Only entries whose
official calls are all among `EXEC_FUNCTIONS` can be scored so without a network (134 of 240). For
the others, and for `rest`, there is only a guess, see `exec_proxy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from coalm.errors import ParseError
from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.decode import decode, fc_call_strings, to_call_strings
from coalm.evals.bfcl.dispatch import FAILURES, run_call
from coalm.evals.bfcl.exec_functions import EXEC_FUNCTIONS
from coalm.evals.bfcl.quirks import COMPAT, Quirks
from coalm.evals.bfcl.verdict import RIGHT, Value, Verdict

_TOLERANCE = 0.2
"""Share by which a result that changes with time may differ."""


def is_offline(entry: Entry) -> bool:
    """Whether the official calls of an executable entry need no network."""
    return entry.category.scoring == "exec" and all(
        call.partition("(")[0].strip() in EXEC_FUNCTIONS for call in entry.answer
    )


def read_exec_calls(
    reply: object, *, function_calling: bool = False, quirks: Quirks = COMPAT
) -> list[str]:
    """Call strings of a reply.

    Raises:
        ParseError: the reply does not decode.
    """
    if function_calling:
        return fc_call_strings(reply)
    if not isinstance(reply, str):
        raise ParseError(f"expected text, got {type(reply).__name__}")
    return to_call_strings(decode(reply, quirks=quirks) or [])


def judge_exec(
    entry: Entry, reply: object, *, function_calling: bool = False, quirks: Quirks = COMPAT
) -> Verdict:
    """Verdict on the reply to an offline entry."""
    try:
        calls = read_exec_calls(reply, function_calling=function_calling, quirks=quirks)
    except ParseError as e:
        return Verdict("executable_decoder:decoder_failed", str(e))
    return judge_exec_calls(entry, calls)


def judge_exec_calls(entry: Entry, calls: object) -> Verdict:
    """Verdict on what the reply to an offline entry decodes to."""
    if not isinstance(calls, list) or not calls:
        return Verdict("executable_decoder:wrong_output_format", "no list of calls")
    made = cast("list[object]", calls)
    if not all(isinstance(call, str) for call in made):
        return Verdict("executable_decoder:wrong_output_format", "no list of call strings")
    texts = cast("list[str]", made)
    expected = [_plain(run_call(call, EXEC_FUNCTIONS)) for call in entry.answer]
    if entry.category.name == "exec_simple":
        if len(texts) != 1:
            return Verdict("simple_exec_checker:wrong_count", f"{len(texts)} calls instead of 1")
        return _judge_call(texts[0], expected[0], entry.result_types[0])
    return _judge_in_any_order(texts, expected, entry.result_types)


def _judge_in_any_order(
    calls: Sequence[str], expected: Sequence[Value], kinds: Sequence[str]
) -> Verdict:
    """Greedy: each expected result takes the first unused call that gives it, and keeps it."""
    if len(calls) != len(expected):
        return Verdict(
            "value_error:exec_result_count", f"{len(calls)} calls instead of {len(expected)}"
        )
    unused = list(calls)
    for result, kind in zip(expected, kinds, strict=True):
        found = next((call for call in unused if _judge_call(call, result, kind).valid), None)
        if found is None:
            return Verdict("executable_checker:cannot_find_match", f"no call gives {result!r}")
        unused.remove(found)
    return RIGHT


def _judge_call(call: str, expected: Value, kind: str) -> Verdict:
    try:
        result = _plain(run_call(call, EXEC_FUNCTIONS))
    except FAILURES as e:
        return Verdict("executable_checker:execution_error", str(e))
    if kind == "exact_match":
        fault = None if result == expected else "wrong_result"
    elif kind == "real_time_match":
        fault = None if _is_close(result, expected) else "wrong_result_real_time"
    else:
        fault = _shape_fault(result, expected)
    if fault is None:
        return RIGHT
    return Verdict(f"executable_checker:{fault}", f"{call} does not give {expected!r}")


def _is_close(result: Value, expected: Value) -> bool:
    if type(result) not in (int, float) or type(expected) not in (int, float):
        return False
    return expected * (1 - _TOLERANCE) <= result <= expected * (1 + _TOLERANCE)


def _shape_fault(result: Value, expected: Value) -> str | None:
    if type(result) is not type(expected):
        return "wrong_result_type"
    if isinstance(result, dict):
        if expected.keys() - cast("dict[Any, Value]", result).keys():
            return "wrong_result_type:dict_key_not_found"
        if cast("dict[Any, Value]", result).keys() - expected.keys():
            return "wrong_result_type:dict_extra_key"
    elif isinstance(result, list) and len(cast("list[Value]", result)) != len(expected):
        return "wrong_result_type:list_length"
    return None


def _plain(result: Value) -> Value:
    return list(cast("tuple[Value, ...]", result)) if isinstance(result, tuple) else result
