"""Verdict on a multi-turn dialogue: run its calls beside the official ones, compare what comes out.

Rules: `bfcl-eval` 2025.6.8, `eval_checker/multi_turn_eval/multi_turn_checker.py`. After every turn
the public state of all back ends has to be equal, and each result text of the official calls has
to occur among the results so far. Extra calls, failed calls and another order are fine. In a turn
without official calls nothing is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, cast

from coalm.errors import ParseError
from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.decode import decode, fc_call_strings, to_call_strings
from coalm.evals.bfcl.quirks import COMPAT, Quirks
from coalm.evals.bfcl.simulators import Simulators
from coalm.evals.bfcl.verdict import RIGHT, Verdict

Turns: TypeAlias = list[list[list[str]]]
"""Turn > step > call string."""

MAX_STEPS = 20
"""Steps of one turn after which the official runner gives up; it notices one step late."""
MAX_CALLS = 200
"""Calls of one reply that are run; official turns have at most a few dozen."""


def read_calls(reply: object, *, function_calling: bool = False) -> list[str]:
    """Call strings of one reply; empty when it does not decode or holds none."""
    try:
        if function_calling:
            return fc_call_strings(reply)
        return to_call_strings(decode(reply) or []) if isinstance(reply, str) else []
    except ParseError:
        return []


def judge_dialogue(
    entry: Entry, replies: object, *, function_calling: bool = False, quirks: Quirks = COMPAT
) -> Verdict:
    """Verdict on the replies of a model: turn > step > text, or what an engine returned."""
    if not isinstance(replies, list):
        return Verdict("multi_turn:inference_error", "no list of turns")
    calls = [
        [read_calls(step, function_calling=function_calling) for step in _steps(turn)]
        for turn in cast("list[object]", replies)
    ]
    return judge_calls(entry, calls, quirks)


def _steps(turn: object) -> Iterable[object]:
    return cast("list[object]", turn) if isinstance(turn, list) else []


def judge_calls(entry: Entry, turns: Turns, quirks: Quirks = COMPAT) -> Verdict:
    """Verdict on the calls of a model."""
    official: Sequence[Sequence[str]] = entry.answer
    if len(turns) != len(official):
        return Verdict(
            "multi_turn:force_terminated", f"{len(turns)} turns instead of {len(official)}"
        )
    if not quirks.last_turn and turns and _given_up(turns[-1]):
        return Verdict("multi_turn:force_terminated", "given up in the last turn")
    model, truth = Simulators(entry), Simulators(entry)
    results: list[str] = []
    for number, (steps, calls) in enumerate(zip(turns, official, strict=True)):
        made = [step for step in steps if step not in ([], [""])]
        results += [model.run(call) for step in made for call in step[:MAX_CALLS]]
        expected = [truth.run(call) for call in calls]
        if not calls:
            if made and not quirks.silence:
                return Verdict(
                    "multi_turn:irrelevance_error:decoder_success",
                    f"a call in turn {number}, in which nothing should be called",
                )
            continue
        if not made:
            return Verdict("multi_turn:empty_turn_model_response", f"no call in turn {number}")
        if where := model.difference(truth):
            return Verdict(
                "multi_turn:instance_state_mismatch", f"{where} differs after turn {number}"
            )
        if (missing := _missing(expected, results)) is not None:
            return Verdict(
                "multi_turn:execution_response_mismatch",
                f"turn {number} lacks the result {missing[:80]!r}",
            )
    return RIGHT


def _given_up(steps: Sequence[Sequence[str]]) -> bool:
    """Whether a turn went on until the runner stopped it."""
    return len(steps) > MAX_STEPS and steps[-1] not in ([], [""])


def _missing(expected: Iterable[str], results: Iterable[str]) -> str | None:
    """The first expected text that does not occur often enough among the results."""
    left = list(results)
    for text in expected:
        if text not in left:
            return text
        left.remove(text)
    return None
