"""`coalm data`: build a training set, look at its samples, count them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.contamination import contamination
from coalm.cli.plain_text import one_line, visible
from coalm.cli.teach import teach
from coalm.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from coalm.data import CountTokens, Rows, Source
    from coalm.data.browse import Encode
    from coalm.types import Conversation

app = typer.Typer(name="data", help="Build, look at and count training data.", no_args_is_help=True)

_NAMED = 2
"""Examples of each kind of loss that are printed; manifest and rejected.jsonl hold them all."""

_IN_PAGE = 200
"""Samples in a page, unless told otherwise."""

PathArgument = Annotated[
    Path, typer.Argument(help="Folder of a built data set, or a .jsonl file of conversations.")
]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def build(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", "-c", help="Data file (YAML).")],
) -> None:
    """Turn raw data sets into training rows, with a manifest of what went in and came out.

    Keys of the file can be set after the options: sgd.limit=1000 sources=[snips,sgd]. A build that
    was stopped leaves nothing half: give the command again.
    """
    from rich.console import Console

    from coalm.config import load_config
    from coalm.data import DataConfig, load_sources
    from coalm.data import build as run_build

    loaded = load_config(DataConfig, config, context.args)
    for warning in loaded.warnings:
        typer.echo(f"coalm: warning: {one_line(warning)}", err=True)
    start = time.monotonic()
    sources = load_sources(loaded.config)
    with _progress() as watch:
        manifest = run_build(loaded.config, sources, watch)
    _print_rows(Console(highlight=False), manifest.rows)
    _print_losses(sources)
    output = loaded.config.output_dir
    typer.echo(f"written to {output} in {time.monotonic() - start:.0f} s")


app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(teach)
app.command()(contamination)


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """A line per source with the samples read so far; nothing when nobody watches."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} samples"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        tasks = {}

        def watch(source: str, samples: int) -> None:
            if source not in tasks:
                tasks[source] = progress.add_task(source, total=None)
            progress.advance(tasks[source], samples)

        yield watch


def _print_rows(console: Console, rows: Sequence[Rows]) -> None:
    """Samples of each kind and their length: in tokens where these were counted."""
    from rich.table import Table

    counted = any(row.tokens is not None for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("split", "source", "skill", "format"):
        table.add_column(name)
    for name in ("samples", *(("tokens", "tokens each") if counted else ("chars each", "learned"))):
        table.add_column(name, justify="right")
    for row in rows:
        kind = map(one_line, (row.split, row.source, row.skill, row.format))
        table.add_row(*kind, *_figures([row], counted))
    if len(rows) > 1:
        table.add_row("all", "", "", "", *_figures(rows, counted), style="bold")
    console.print(table)


def _figures(rows: Sequence[Rows], counted: bool) -> list[str]:
    samples = sum(row.samples for row in rows)
    if counted:
        tokens = sum(row.tokens or 0 for row in rows)
        return [f"{samples:,}", f"{tokens:,}", f"{tokens / samples:,.1f}"]
    prompt = sum(row.prompt_characters for row in rows)
    reply = sum(row.reply_characters for row in rows)
    return [f"{samples:,}", f"{(prompt + reply) / samples:,.0f}", f"{reply / samples:,.0f}"]


def _print_losses(sources: Sequence[Source]) -> None:
    """What every source lacked or left out."""
    for source in sources:
        ledger = source.ledger
        for reason in ledger.absent:
            typer.echo(f"{source.name}: left out as a whole: {one_line(reason)}")
        if ledger.missing:
            typer.echo(f"{source.name}: missing {_named(ledger.missing)}")
        for reason in ledger.reasons():
            places = [
                rejection.where for rejection in ledger.rejected if rejection.reason == reason
            ]
            typer.echo(f"{source.name}: left out, {reason}: {_named(places)}")


def _named(names: Sequence[str]) -> str:
    """How many, and the first few of them."""
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names):,} ({one_line(', '.join(names[:_NAMED]))}{more})"


@app.command()
def inspect(
    path: PathArgument,
    index: Annotated[int, typer.Option(min=0, help="First sample to show, counted from 0.")] = 0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Samples to show; 1, or 200 in a page.")
    ] = None,
    prompt: Annotated[
        bool, typer.Option("--prompt", help="Show the exact text the model reads and learns.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page to browse, with samples of every kind."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Model folder; the page then shows its chat template and loss mask."),
    ] = None,
) -> None:
    """Show samples as people read them; what the model learns is marked."""
    from rich.console import Console

    from coalm.data.stats import data_files, read_samples

    if html is not None:
        _write_page(path, html, count or _IN_PAGE, tokenizer)
        return
    file = data_files(path)[0]
    console = Console(highlight=False, soft_wrap=True)
    shown = 0
    for conversation in islice(read_samples(file), index, index + (count or 1)):
        (_print_prompt if prompt else _print_sample)(console, conversation)
        shown += 1
    if not shown:
        total = sum(1 for _ in read_samples(file))
        raise DataError(f"{file}: no sample {index}; there are {total}, counted from 0")


def _write_page(path: Path, page: Path, count: int, tokenizer: Path | None) -> None:
    from coalm.data.browse import browser_page, choose, plain_pieces

    choice = choose(path, count)
    if not choice.samples:
        raise DataError(f"{path}: no sample in it")
    encode = _masked(tokenizer) if tokenizer else plain_pieces
    how = f"the chat template of {tokenizer}" if tokenizer else "no chat template"
    about = f"Drawn from {path}, with {how}. What the model learns is green and underlined."
    text = browser_page(f"Samples of {path.name}", choice, encode, about)
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as e:
        raise DataError(f"{page}: cannot be written: {e.strerror or e}") from e
    typer.echo(f"{len(choice.samples):,} samples written to {page}")


def _masked(folder: Path) -> Encode:
    """Samples as a tokenizer's template and our loss mask make them."""
    from coalm.chat_template import encode_sample, load_tokenizer, masked_text

    tokenizer = load_tokenizer(folder)
    return lambda prompt, reply: masked_text(tokenizer, encode_sample(tokenizer, prompt, reply))


def _print_sample(console: Console, conversation: Conversation) -> None:
    from rich.text import Text

    from coalm.data.browse import said
    from coalm.formats.tool_text import signature_list

    console.print(Text(visible(conversation.id), style="bold"))
    meta = ", ".join(f"{key} {value}" for key, value in conversation.meta.items())
    console.print(Text(one_line(meta), style="dim"))
    console.print(Text(visible(signature_list(conversation)), style="dim"))
    *context, target = conversation.messages
    for message in context:
        for label, text in said(message):
            console.print(Text.assemble((f"{label}: ", "cyan"), visible(text)))
    for label, text in said(target):
        console.print(Text.assemble((f"> {label}: ", "bold green"), (visible(text), "green")))
    console.print()


def _print_prompt(console: Console, conversation: Conversation) -> None:
    from rich.text import Text

    from coalm.data.stats import render_sample

    turns, reply = render_sample(conversation)
    for turn in turns:
        console.print(Text(visible(turn.content)))
    console.print(Text(visible(reply), style="green"))
    console.print()


@app.command()
def stats(
    path: PathArgument,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Model folder; its tokenizer counts the tokens.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write the figures into the data set's card, too.")
    ] = False,
) -> None:
    """Count samples, characters and, with a tokenizer, tokens by source, skill and format.

    Tokens stand beside those of table 1 of the paper.
    """
    from rich.console import Console

    from coalm.data import read_manifest, statistics
    from coalm.data.card import write_card
    from coalm.data.stats import PAPER, Counted

    manifest = read_manifest(path) if card else None

    with _progress() as watch:
        rows = statistics(path, _counter(tokenizer) if tokenizer else None, watch)
    if not rows:
        raise DataError(f"{path}: no sample in it")
    _print_rows(Console(highlight=False), rows)
    if tokenizer:
        typer.echo(f"tokens of {tokenizer}, the chat template's own ones included")
        sources = {row.source for row in rows}
        published = [
            f"{name} {paper.samples:,} samples of {paper.each:,.1f} tokens"
            for name, paper in PAPER.items()
            if name in sources
        ]
        if published:
            typer.echo(f"in table 1 of the paper: {', '.join(published)}")
    if manifest is not None:
        write_card(path, manifest, Counted(tokenizer.name, rows) if tokenizer else None)


def _counter(folder: Path) -> CountTokens:
    from coalm.chat_template import encode_sample, load_tokenizer

    tokenizer = load_tokenizer(folder)
    return lambda prompt, reply: len(encode_sample(tokenizer, prompt, reply).token_ids)
