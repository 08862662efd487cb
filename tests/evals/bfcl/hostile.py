"""Score hostile replies in a process of its own: JSON lists of replies in, verdicts out.

Run by test_hostile.py in an empty folder, with little memory and time.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time

from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.exec_check import judge_exec
from coalm.evals.bfcl.quirks import STRICT
from coalm.evals.bfcl.single_turn import judge_reply
from coalm.evals.bfcl.state_check import judge_dialogue
from coalm.evals.bfcl.verdict import Verdict

DOC = {"name": "f", "parameters": {"properties": {"a": {"type": "any"}}, "required": ["a"]}}
RIGHT = [{"f": {"a": ["right"]}}]
CONFIG = {"GorillaFileSystem": {"root": {"home": {"type": "directory", "contents": {}}}}}
FILES = Entry(
    "multi_turn_base_0",
    [],
    [],
    [["touch('right')"]],
    initial_config=CONFIG,
    classes=["GorillaFileSystem", "MathAPI"],
)


def judge(kind: str, reply: str) -> Verdict:
    match kind:
        case "exec":
            entry = Entry("exec_simple_0", [], [], ["math_gcd(a=4, b=2)"])
            return judge_exec(Entry(*entry[:4], result_types=["exact_match"]), reply)
        case "multi_turn":
            return judge_dialogue(FILES, [[reply, reply.replace("f(a=", "cat(file_name=")]])
        case "function_calling":
            raw = [{"f": json.dumps({"a": reply})}, {"f": reply}]
            return judge_reply(Entry("simple_0", [], [DOC], RIGHT), raw, function_calling=True)
        case "strict":
            return judge_reply(Entry("simple_0", [], [DOC], RIGHT), reply, quirks=STRICT)
        case _:
            return judge_reply(Entry(f"{kind}_0", [], [DOC], RIGHT), reply)


def timed(kind: str, reply: str) -> tuple[Verdict, float]:
    """The verdict and its least processor seconds of up to three tries.

    A busy machine charges a process for waiting, so one try can only show that it is fast.
    """
    best = math.inf
    for _ in range(3):
        started = time.process_time()
        verdict = judge(kind, reply)
        best = min(best, time.process_time() - started)
        if best < 1:
            break
    return verdict, best


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
    resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
    for line in sys.stdin:
        kind, reply = json.loads(line)
        verdict, seconds = timed(kind, reply)
        row = [verdict.valid, verdict.error_type, seconds]
        sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
