"""The command line: sub-commands, and how every kind of ending looks from outside.

A `CoalmError` is one line on stderr and exit status 1, Ctrl-C is status 130, a reader that closed
the pipe ends the command quietly. Everything else is a defect and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from coalm import __version__
from coalm.cli.chat import OVERRIDES, chat
from coalm.cli.data import app as data
from coalm.cli.env import env
from coalm.cli.eval import app as evaluate
from coalm.cli.fetch import fetch
from coalm.cli.infer import infer
from coalm.cli.plain_text import one_line
from coalm.cli.serve import serve
from coalm.cli.train import export, merge, push, train
from coalm.cli.vllm import vllm_template
from coalm.cli.world import world
from coalm.errors import CoalmError

app = typer.Typer(
    name="coalm",
    help="Make, run and prove conversational agentic language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coalm {__version__}")
        raise typer.Exit


@app.callback()
def coalm(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Make, run and prove conversational agentic language models."""


app.command()(fetch)
app.command()(world)
app.add_typer(data, name="data")
app.command(context_settings=OVERRIDES)(train)
app.command()(merge)
app.command()(export)
app.command()(push)
app.add_typer(evaluate, name="eval")
app.command(context_settings=OVERRIDES)(chat)
app.command(context_settings=OVERRIDES)(infer)
app.command(context_settings=OVERRIDES)(serve)
app.command("vllm-template")(vllm_template)
app.command()(env)


def main() -> None:
    """Run the command line and exit with its status."""
    for stream, errors in (
        (sys.stdin, "replace"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        # a terminal or file of another encoding must not end a chat
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)
    if not sys.stderr.isatty():
        # the bars of transformers and the hub would fill a log file with carriage returns
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app(prog_name="coalm")
    except CoalmError as error:
        typer.echo(f"coalm: {one_line(str(error))}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
