"""A thousand replies that try to break out or to keep the scorer busy, watched from outside."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coalm import assets
from coalm.evals.bfcl.data import ASSET, load_category
from coalm.evals.runs import read_rows

PAYLOADS = [
    "open('marker', 'w').write('y')",
    "__import__('pathlib').Path('marker').touch()",
    "__import__('os').system('touch marker')",
    "exec(\"open('marker', 'w')\")",
    "eval(\"open('marker', 'w')\")",
    "compile('1', '', 'eval')",
    "().__class__.__base__.__subclasses__()[0]",
    "f.__globals__['__builtins__']['open']('marker', 'w')",
    "globals()['__builtins__']",
    "getattr(str, 'format')('{0.__class__}', 1)",
    "exit()",
    "quit(0)",
    "__import__('os')._exit(0)",
    "__import__('os').kill(__import__('os').getpid(), 9)",
    "breakpoint()",
    "input()",
    "(lambda: open('marker', 'w'))()",
    "[x for x in (lambda: 1,)][0]()",
    "9 ** 9 ** 9 ** 9",
    "1 << 10 ** 12",
    "'a' * 10 ** 11",
    "[0] * 10 ** 11",
    "'%09999999999d' % 1",
    'f\'{open("marker", "w")}\'',
    "power(base=9, exponent=9999999999)",
    "logarithm(value=2, base=3, precision=9999999999)",
    "math_factorial(n=9999999999)",
    "estimate_derivative(function=\"lambda x: open('marker', 'w')\", x=1)",
    "__import__('time').sleep(999)",
    "raise_(SystemExit)",
]
PLACES = [
    "{}",
    "[{}]",
    "[f(a={})]",
    "[f(a={} + 1)]",
    "[f(a='x' + {})]",
    "[f(a=-{})]",
    "[f(a=[{}, 1])]",
    "[f(a=({},))]",
    "[f(a={{'k': {}}})]",
    "[f(a={{{}: 1}})]",
    "[f({})]",
    "[f(*{})]",
    "[f(**{})]",
    "[f(a=g(b={}))]",
    "[f(a=x[{}])]",
    "[f(a=1 if {} else 2)]",
    "[f(a=(b := {}))]",
    "[f(a=1), {}]",
    "```python\n{}\n```",
    "[f(a=1).g(b={})]",
]
EXTREMES = [
    "[f(a=" + "[" * 100_000,
    "[f(a=" + "[" * 90 + "]" * 90 + ")]",
    "[f(a=" + "(" * 1000 + "1" + ")" * 1000 + ")]",
    "[f(a=" + "-" * 40_000 + "1)]",
    "[f(a=" + "1+" * 20_000 + "1)]",
    "[f" + ".a" * 20_000 + "()]",
    "[f(a=" + "g(b=" * 10_000,
    "[f(a=" + "{'k':" * 10_000,
    "[f(a='" + "x" * 1_000_000 + "')]",
    "[f(a=" + "9" * 1_000_000 + ")]",
    "[f(a=0x" + "f" * 49_000 + ")]",
    "x" * 1_000_000,
    "f(" * 500_000,
    "`" * 1_000_000,
    "[" * 1_000_000,
    "'" * 49_999,
    "[f(a='\ud800\udfff')]",
    "[f(\ud800=1)]",
    "\ud800" * 10_000,
    "[f(a='\x00')]",
    "[f(a=1e999999999)]",
    "[f(a=9e99 ** 9e99)]",
    "[f(a=new int[]{" + "1," * 15_000 + "})]",
    "[f(a=" + "a ? " * 9_000 + "1)]",
    "[f(a=" + "a => " * 9_000 + "1)]",
    "[f(a=/" + "(a*)*" * 8_000 + "/)]",
    "[f(a=" + "/* " * 9_000 + ")]",
    "[f(a=`" + "${`" * 9_000 + ")]",
    "[f(a=" + '"' * 49_001 + ")]",
    "[f(a=" + "\\" * 49_000 + ")]",
    "[" + "f(a=1), " * 6_000 + "f(a=1)]",
    "[" + "ls(), " * 8_000 + "ls()]",
]
TEXTS = [place.format(payload) for payload in PAYLOADS for place in PLACES]
KINDS = [
    *("simple", "parallel", "java", "javascript", "live_relevance", "function_calling", "exec"),
    "strict",
]


def test_hostile_replies_are_wrong_and_without_effect(tmp_path: Path) -> None:
    kinds = [*KINDS, *(["multi_turn"] if assets.state(ASSET).present else [])]
    cases = [(kinds[at % len(kinds)], text) for at, text in enumerate(TEXTS)]
    cases += [(kinds[at % 3], text) for at, text in enumerate(TEXTS)]
    cases += [(kind, text) for text in EXTREMES for kind in kinds]
    assert len(cases) > 1000
    verdicts = score_in_a_process(cases, tmp_path)
    slow = [(c[0], c[1][:60]) for c, v in zip(cases, verdicts, strict=True) if v[2] > 2]
    right = [(c[0], c[1][:60]) for c, v in zip(cases, verdicts, strict=True) if v[0]]
    assert not slow
    # whether there is any call at all is the whole question of `live_relevance`
    assert [case for case in right if case[0] != "live_relevance"] == []
    assert list(tmp_path.iterdir()) == []


def score_in_a_process(
    cases: list[tuple[str, str]], folder: Path
) -> list[tuple[bool, str | None, float]]:
    """Verdict, error type and seconds of each case; fails unless the process ends in order."""
    home = assets.home().resolve()
    script = Path(__file__).with_name("hostile.py")
    done = subprocess.run(
        [sys.executable, "-B", str(script)],
        cwd=folder,
        input="\n".join(json.dumps(case) for case in cases),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COALM_HOME": str(home)},
    )
    *lines, last = done.stdout.splitlines() or [""]
    assert (done.returncode, last, done.stderr) == (0, "done", ""), done.stderr[-2000:]
    return [json.loads(line) for line in lines]


@pytest.mark.skipif(not assets.state(ASSET).present, reason=f"no asset {ASSET} on this machine")
def test_hostile_result_files_on_the_whole_way(tmp_path: Path) -> None:
    """Read, run, scored, summed up and written by the command, within limits of the system."""
    left = iter([*TEXTS, *EXTREMES, *TEXTS, *EXTREMES, *TEXTS])
    results = tmp_path / "results"
    results.mkdir()
    for category in ("simple", "java", "parallel", "multi_turn_base", "live_multiple"):
        rows: list[dict[str, Any]] = []
        for entry in load_category(category):
            texts = [text for _, text in zip(entry.question, left, strict=False)]
            many = category == "multi_turn_base"
            if texts:
                rows.append({"id": entry.id, "result": [[t] for t in texts] if many else texts[0]})
        path = results / f"BFCL_v3_{category}_result.json"
        path.write_text("\n".join(map(json.dumps, rows)))
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-B", "-m", "coalm", "eval", "import", str(results), "--out", "run"],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=_limit,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COALM_HOME": str(assets.home().resolve()),
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = sorted(str(path.relative_to(work)) for path in work.rglob("*"))
    assert files == ["run", "run/metrics.json", "run/run.json", "run/samples.jsonl"]
    rows = read_rows(work / "run")
    assert len(rows) > 1000
    assert [row.id for row in rows if row.error or not row.score] == []
    assert [row.id for row in rows if row.score and row.score.values["right"]] == []


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (150, 150))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))


@pytest.mark.parametrize(
    "module", ["decode", "dispatch", "simulators", "arithmetic", "single_turn"]
)
def test_nothing_in_these_modules_evaluates_text(module: str) -> None:
    source = Path(assets.__file__).parent / "evals" / "bfcl" / f"{module}.py"
    text = source.read_text(encoding="utf-8")
    for forbidden in ("eval(", "exec(", "__import__(", "getattr(", "compile("):
        assert forbidden not in text
