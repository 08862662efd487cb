"""`coalm data contamination`: training data against the inputs of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.plain_text import one_line
from coalm.errors import AssetError, DataError

if TYPE_CHECKING:
    from coalm.data.contamination import Benchmark, ExpectedCall, Overlap

_SHOWN = 2
"""Examples of each kind that are printed; the JSON file holds more."""


def contamination(
    path: Annotated[
        Path, typer.Argument(help="Folder of a built data set, or a .jsonl file of conversations.")
    ],
    test: Annotated[
        list[str] | None,
        typer.Option(help="multiwoz, apibank or bfcl; all that are here without it."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File to write all figures to.")] = None,
) -> None:
    """Look for the test inputs of MultiWOZ, API-Bank and BFCL in training data.

    Counts the samples, and the items of each test, that share 13 words in a row, a whole message
    of 8 to 12 words, or a call with all its arguments.
    """
    from coalm.data.contamination import overlaps
    from coalm.data.stats import data_files, read_samples
    from coalm.formats.text import write_json

    files = data_files(path)
    sets = list(_test_sets(test))
    found = overlaps((sample for file in files for sample in read_samples(file)), sets)
    _print(found)
    if json is not None:
        try:
            json.write_text(write_json([o.model_dump(mode="json") for o in found]) + "\n")
        except OSError as e:
            raise DataError(f"{json}: cannot be written: {e.strerror or e}") from e


def _test_sets(wanted: Sequence[str] | None) -> Iterator[Benchmark]:
    """The benchmarks that are wanted; without a wish those that are on this machine."""
    readers = {"multiwoz": _multiwoz, "apibank": _apibank, "bfcl": _bfcl}
    for name in wanted or ():
        if name not in readers:
            raise DataError(f"--test {name}: there are {', '.join(readers)}")
    lacking: list[str] = []
    for name in wanted or readers:
        try:
            yield readers[name]()
        except AssetError as e:
            if wanted:
                raise
            lacking.append(name)
            typer.echo(f"{name}: not looked for: {one_line(str(e))}", err=True)
    if len(lacking) == len(readers):
        raise DataError("no benchmark is on this machine: see `coalm fetch`")


def _multiwoz() -> Benchmark:
    from coalm.data.contamination import Benchmark, ExpectedCall
    from coalm.evals.multiwoz.data import load_corpus
    from coalm.evals.multiwoz.release import Release

    dialogues = load_corpus(Release()).dialogues.values()
    return Benchmark(
        "multiwoz",
        [(d.id, text) for d in dialogues for turn in d.turns for text in (turn.user, turn.system)],
        [
            ExpectedCall(d.id, domain, {slot: [value] for slot, value in slots.items()})
            for d in dialogues
            for turn in d.turns
            for domain, slots in turn.state.items()
        ],
    )


def _apibank() -> Benchmark:
    from coalm.data.contamination import Benchmark, ExpectedCall
    from coalm.evals.apibank.data import gold_calls, load_level

    rows = [row for level in (1, 2) for row in load_level(level).rows]
    return Benchmark(
        "apibank",
        [(row.id, turn.content) for row in rows for turn in row.original.query],
        [
            ExpectedCall(row.id, call.name, {name: [v] for name, v in call.arguments.items()})
            for row in rows
            for call in gold_calls(row)
        ],
    )


def _bfcl() -> Benchmark:
    from coalm.data.contamination import Benchmark
    from coalm.evals.bfcl.categories import CATEGORIES
    from coalm.evals.bfcl.data import load_category

    entries = [entry for name in CATEGORIES for entry in load_category(name)]
    texts = [
        (entry.id, message["content"])
        for entry in entries
        for turn in entry.question
        for message in turn
    ]
    answers = [(entry.id, part) for entry in entries for part in entry.answer or ()]
    return Benchmark(
        "bfcl", texts, [call for item, part in answers for call in _bfcl_calls(item, part)]
    )


def _bfcl_calls(item: str, answer: object) -> Iterator[ExpectedCall]:
    """The calls of a part of an answer: accepted values by function, or calls as Python text."""
    from coalm.data.contamination import ExpectedCall
    from coalm.errors import ParseError
    from coalm.formats.calls import read_calls

    if isinstance(answer, dict):
        for name, accepted in answer.items():
            optional = frozenset(key for key, values in accepted.items() if "" in values)
            yield ExpectedCall(item, name, accepted, optional)
    elif isinstance(answer, list):
        for part in answer:
            yield from _bfcl_calls(item, part)
    elif isinstance(answer, str):
        try:
            calls = read_calls(answer)
        except ParseError:
            # arguments without names cannot be compared
            return
        for call in calls:
            yield ExpectedCall(item, call.name, {name: [v] for name, v in call.arguments.items()})


def _print(found: Sequence[Overlap]) -> None:
    from rich.console import Console
    from rich.table import Table

    from coalm.data.contamination import KINDS

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("source", "benchmark"):
        table.add_column(name)
    for name in ("samples", "words", "message", "call", "items", "words", "message", "call"):
        table.add_column(name, justify="right")
    for o in found:
        figures = (
            *(o.samples, *(o.found[kind].samples for kind in KINDS)),
            *(o.items, *(o.found[kind].items for kind in KINDS)),
        )
        table.add_row(one_line(o.source), o.test, *(f"{n:,}" for n in figures))
    Console(highlight=False).print(table)
    for o in found:
        if o.functions:
            names = ", ".join(o.functions)
            typer.echo(one_line(f"functions that {o.source} calls and {o.test} expects: {names}"))
        for kind in KINDS:
            for shared in o.found[kind].examples[:_SHOWN]:
                typer.echo(
                    one_line(f"{kind}: {shared.sample}, {o.test} {shared.item}: {shared.what}")
                )
