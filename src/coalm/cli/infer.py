"""`coalm infer`: the model of an inference file, in a talk or over a whole file of prompts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.chat import Format, FormatOption, PromptsOption, TrustOption
from coalm.cli.plain_text import one_line

if TYPE_CHECKING:
    from coalm.agent.batch import Batch, Summary
    from coalm.engines.config import InferConfig
    from coalm.formats import PromptFormat

_NAMED = 3
"""Rows with a fault that are named on screen; the output names them all."""


def infer(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Inference file (YAML, Oumi's keys).")
    ],
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Talk with the model.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--input", help="File of prompts (.jsonl), one answer each.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="File that gets the answers (.jsonl).")
    ] = None,
    prompt_format: FormatOption = Format.react,
    prompts: PromptsOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Talk with the model of an inference file (-i), or let it answer a file of prompts.

    A run over a file that was stopped goes on with the same command. `coalm chat -c FILE` is a talk
    with tools and sessions. Keys of the file can be set after the options:
    generation.temperature=0.7.
    """
    if interactive == (source is not None) or (source is None) != (output is None):
        raise typer.BadParameter("add -i to talk, or both --input and --output")
    from coalm.cli.talk import Opening, load_infer_config, start_talk

    loaded = load_infer_config(config, context.args, trust_remote_code)
    if source and output:
        from coalm.formats import get_format

        guided = loaded.generation.guided
        chosen = get_format(prompt_format.value, prompts, guided=guided)
        _answer_file(source, output, loaded, chosen)
        return
    from coalm.cli.screen import Screen
    from coalm.tools import Toolbox

    start_talk(Screen(), loaded, Toolbox(()), Opening(prompt_format.value, prompts))


def _answer_file(
    source: Path, output: Path, config: InferConfig, prompt_format: PromptFormat
) -> None:
    from coalm.agent.batch import Batch

    with closing(Batch(source, output, config, prompt_format)) as batch:
        for fault in batch.faults[:_NAMED]:
            typer.echo(f"coalm: warning: {one_line(fault)}", err=True)
        if done := batch.done - len(batch.faults):
            typer.echo(f"{output}: {done:,} of {batch.total:,} answers are there", err=True)
        if batch.done < batch.total:
            _ask(batch, config, prompt_format)
        summary = batch.finish()
    _print_summary(summary)
    typer.echo(f"written to {output}")
    if summary.failed:
        again = f"{summary.failed:,} prompts got no answer; the same command asks them again"
        typer.echo(f"coalm: warning: {again}", err=True)


def _ask(batch: Batch, config: InferConfig, prompt_format: PromptFormat) -> None:
    from coalm.cli.progress import counted
    from coalm.engines import load_engine

    sampling = config.generation.sampling()
    params = sampling.model_copy(update={"stop": (*prompt_format.stop, *sampling.stop)})
    with closing(load_engine(config)) as engine:
        for _ in counted(batch.answer(engine, params), "answering", batch.done, batch.total):
            pass


def _print_summary(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    names = {
        "rows": "rows",
        "answered": "answered",
        "calls": "calls",
        "unreadable": "answers with an unreadable call",
        "cut": "answers cut off at the limit",
        "failed": "without an answer",
        "unusable": "rows that cannot be asked",
        "prompt_tokens": "tokens in",
        "completion_tokens": "tokens out",
    }
    for name, title in names.items():
        table.add_row(title, f"{getattr(summary, name):,}")
    Console(highlight=False).print(table)
