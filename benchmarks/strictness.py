"""What each habit of the official BFCL scorer decides, counted on recorded outputs of models.

Usage:
    python benchmarks/strictness.py MODEL.jsonl.gz...

Takes the outputs of models that `parity.py bfcl` takes (rows with `official_valid`); replies that
only a model's own decoder reads are left out. For every habit of `evals/bfcl/quirks.py`: how many
verdicts change when it alone is switched off, and for all of them together (`strict`).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from parity_bfcl import Row, find_entry, model_of

from coalm import jsonl
from coalm.errors import CoalmError, DataError
from coalm.evals.bfcl.quirks import COMPAT, STRICT, Quirks
from coalm.evals.bfcl.single_turn import judge_reply

VARIANTS = {
    **{name: COMPAT._replace(**{name: False}) for name in Quirks._fields},
    "strict": STRICT,
}


def count(files: Sequence[Path]) -> tuple[int, dict[str, Counter[bool]]]:
    """How many rows there were, and for each variant the changed verdicts by what they became."""
    rows, changed = 0, {name: Counter[bool]() for name in VARIANTS}
    for path in files:
        recorded = [row for _, row in jsonl.read(path)]
        if not recorded or "official_valid" not in recorded[0]:
            raise DataError(f"{path}: no outputs of a model")
        model = model_of(path, recorded)
        if model.decoder == "handler":
            continue
        for row in recorded:
            rows += 1
            before = _judge(row, model.decoder == "fc_json", model.underscores, COMPAT)
            for name, quirks in VARIANTS.items():
                after = _judge(row, model.decoder == "fc_json", model.underscores, quirks)
                changed[name][after] += after != before
    return rows, changed


def _judge(row: Row, calling: bool, underscores: bool, quirks: Quirks) -> bool:
    return judge_reply(
        find_entry(row),
        row["raw"],
        function_calling=calling,
        underscores=underscores,
        quirks=quirks,
    ).valid


def main() -> int:
    """Parse the command line, count, print."""
    parser = argparse.ArgumentParser(description="Count what strict scoring changes.")
    parser.add_argument("files", type=Path, nargs="+", help="outputs of models, .jsonl.gz")
    arguments = parser.parse_args()
    try:
        rows, changed = count(arguments.files)
    except CoalmError as e:
        print(f"strictness: {e}", file=sys.stderr)
        return 1
    print(f"replies: {rows}")
    for name, counts in changed.items():
        print(f"{name}: {counts[True]} become right, {counts[False]} become wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
