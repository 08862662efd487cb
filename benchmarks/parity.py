"""Do our scorers give the verdicts of the published ones? Re-scores recorded cases and counts.

Usage:
    python benchmarks/parity.py apibank metric_cases.jsonl.gz [metric_sets.json.gz]
    python benchmarks/parity.py bfcl FILE...
    python benchmarks/parity.py multiwoz PREDICTIONS.json.gz VERDICTS.json.gz
    python benchmarks/parity.py multiwoz-corpus

Prints `agree/total` for every measure and the first differences; exit status 1 below 100 %, or
below the limits that `parity_bfcl.py` and `parity_multiwoz.py` name.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from parity_bfcl import FLOORS, bfcl
from parity_check import Check, report
from parity_multiwoz import Choice, check_corpus, check_system

from coalm import jsonl
from coalm.errors import CoalmError
from coalm.evals.apibank.score import Counters, Crash, hammer_counters, hammer_figures
from coalm.evals.metrics import TextLikeness, text_likeness


class Result(NamedTuple):
    """What our scorer gives for one case of API-Bank."""

    likeness: TextLikeness
    hammer: Counters | Crash


def apibank(cases: Path, sets: Path | None) -> Iterator[Check]:
    """Pairs of texts with LLaMA-Factory's scores and the end state of Hammer's script.

    A row `{"error": NAME}` under `hammer` is one at which that script stops with an exception. We
    agree when we say that it stops, and with the same exception; in an evaluation of ours such an
    answer counts as one wrong call and the rest of the file is scored.

    Args:
        cases: .jsonl or .jsonl.gz: `id`, `predict`, `label`, `rouge-1`, `rouge-2`, `rouge-l`,
            `bleu-4`, `hammer` (six counters, or the error).
        sets: .json or .json.gz: `name`, `ids` of cases, and what the scripts gave for all of them.
    """
    results: dict[str, Result] = {}
    for _, row in jsonl.read(cases):
        pair = row["predict"], row["label"]
        result = Result(text_likeness(*pair), hammer_counters(*pair))
        results[row["id"]] = result
        for name, value in _likeness(result.likeness).items():
            yield _near(name, row["id"], row[name], value, 1e-4)
        if "error" in row["hammer"]:
            expected = Crash(row["hammer"]["error"])
            yield Check(
                "hammer error", row["id"], expected, result.hammer, expected == result.hammer
            )
        else:
            counters = _recorded_counters(row["hammer"])
            agrees = counters == result.hammer
            yield Check("hammer counters", row["id"], counters, result.hammer, agrees)
    for row in _read_json(sets) if sets else ():
        yield from _set_checks(row, [results[case] for case in row["ids"]])


def _set_checks(row: Mapping[str, Any], results: Sequence[Result]) -> Iterator[Check]:
    """What the scripts give for a whole file: means, sums of counters, or the first exception."""
    scores = [_likeness(result.likeness) for result in results]
    for name, expected in row["llamafactory"].items():
        mean = sum(score[name] for score in scores) / len(scores)
        yield _near(f"set mean {name}", row["name"], expected, mean, 1e-9)
    counters = [result.hammer for result in results if isinstance(result.hammer, Counters)]
    crashes = [result.hammer for result in results if isinstance(result.hammer, Crash)]
    if crashes or "error" in row["hammer"]:
        expected = row["hammer"].get("error")
        found = crashes[0].error if crashes else None
        yield Check("set hammer error", row["name"], expected, found, expected == found)
        return
    total = Counters(*map(sum, zip(*counters, strict=True)))
    recorded = _recorded_counters(row["hammer"]["counts"])
    yield Check("set hammer counters", row["name"], recorded, total, recorded == total)
    expected, found = row["hammer"]["result"], hammer_figures(total)
    agrees = expected.keys() == found.keys() and all(
        abs(found[name] - value) <= 1e-9 for name, value in expected.items()
    )
    yield Check("set hammer figures", row["name"], expected, found, agrees)


def _likeness(scores: TextLikeness) -> dict[str, float]:
    return {name.replace("_", "-"): value for name, value in scores._asdict().items()}


def _recorded_counters(row: Mapping[str, int]) -> Counters:
    return Counters(*(row[f"{name}_num"] for name in Counters._fields))


def _near(measure: str, case: str, expected: float, found: float, tolerance: float) -> Check:
    return Check(measure, case, expected, found, abs(expected - found) <= tolerance)


def _read_json(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def _add_multiwoz(benchmarks: Any) -> None:
    system = benchmarks.add_parser("multiwoz", help="MultiWOZ: a system's states and responses")
    system.add_argument("predictions", type=Path, help="NAME.json.gz")
    system.add_argument("verdicts", type=Path, help="NAME.verdicts.json.gz")
    system.add_argument("--states", choices=("file", "gold"), help="default: as recorded")
    system.add_argument(
        "--domains", choices=("file", "placeholders", "states"), help="default: as recorded"
    )
    system.set_defaults(
        run=lambda a: check_system(a.predictions, a.verdicts, Choice(a.data, a.states, a.domains))
    )
    corpus = benchmarks.add_parser("multiwoz-corpus", help="MultiWOZ: trackers, humans, AutoTOD")
    corpus.set_defaults(run=lambda a: check_corpus(a.data))
    for command in (system, corpus):
        command.add_argument("--data", type=Path, help="release, folder or zip; default: the asset")


def main() -> int:
    """Parse the command line and run one benchmark's checks."""
    parser = argparse.ArgumentParser(description="Re-score recorded cases and count agreement.")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    command = benchmarks.add_parser("apibank", help="API-Bank: ROUGE, BLEU, Hammer's counters")
    command.add_argument("cases", type=Path, help="metric_cases.jsonl.gz")
    command.add_argument("sets", type=Path, nargs="?", help="metric_sets.json.gz")
    command.set_defaults(run=lambda a: report(apibank(a.cases, a.sets), {}))
    command = benchmarks.add_parser("bfcl", help="BFCL V3: verdicts, decoding, columns")
    command.add_argument("files", type=Path, nargs="+", help="recorded cases; see parity_bfcl.py")
    command.set_defaults(run=lambda a: report(bfcl(a.files), FLOORS))
    _add_multiwoz(benchmarks)
    arguments = parser.parse_args()
    try:
        return arguments.run(arguments)
    except CoalmError as e:
        print(f"parity: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
