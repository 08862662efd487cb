"""`coalm world`: write the mini world's data files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def world(
    directory: Annotated[
        Path, typer.Argument(help="New folder, or an earlier world to replace.", metavar="DIR")
    ],
    seed: Annotated[int, typer.Option(help="Another number, another world.")] = 0,
) -> None:
    """Write the mini world's dialogues and rows, to build data from.

    They come in the layouts of SGD, SNIPS, xLAM and ToolACE: coalm data build -c FILE root=DIR.
    """
    from coalm.world.files import write_world

    counts = write_world(directory, seed)
    for kind, count in counts.items():
        typer.echo(f"{count:7,}  {kind}")
    typer.echo(f"written to {directory}")
