"""`coalm fetch`: get outside files before they are needed, or see what is there."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from coalm.errors import AssetError


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Assets to get; none lists them all.", metavar="NAME")
    ] = None,
) -> None:
    """Get data sets and models, each file checked; without a name, list what there is."""
    from coalm import assets
    from coalm.engines.named import NAMED

    if not names:
        _print_table()
        return
    known = [*assets.ASSETS, *NAMED]
    for name in names:
        if name not in known:
            raise AssetError(f"{name!r} is nothing to fetch; there are: {', '.join(known)}")
    for name in names:
        if name in NAMED:
            typer.echo(f"{name}: ready in {NAMED[name].make()}")
        else:
            _fetch_asset(name)


def _fetch_asset(name: str) -> None:
    from coalm import assets

    asset, folder = assets.get(name), assets.fetch(name)
    found = [file.checked for file in assets.walk(name)]
    unchecked = len(found) - sum(found)
    rest = f", {unchecked} without a known checksum" if unchecked else ""
    typer.echo(
        f"{name}: {len(found)} of {len(asset.paths())} files in {folder}, "
        f"{sum(found)} checked{rest}; licence {asset.licence}"
    )


def state_of(name: str) -> str:
    """In a few words, what of an asset is on this machine and where."""
    from coalm import assets

    try:
        found = assets.state(name)
    except AssetError as e:
        return str(e)
    if not found.place:
        return "not here"
    present, total = len(found.present), len(assets.get(name).paths())
    amount = "all" if present == total else f"{present} of {total}"
    return f"{amount} in {found.place}"


def state_of_model(name: str) -> str:
    """In a few words, whether a model of a short name is made."""
    from coalm.engines.named import NAMED

    try:
        return "all in cache" if NAMED[name].find() else "made on first use"
    except AssetError as e:
        return str(e)


def _print_table() -> None:
    from rich.console import Console
    from rich.table import Table

    from coalm import assets
    from coalm.engines.named import NAMED

    columns = ("name", "what", "MB", "files")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0), header_style="bold")
    for asset in assets.ASSETS.values():
        table.add_row(asset.name, asset.about, f"{asset.megabytes:g}", state_of(asset.name))
    for name, model in NAMED.items():
        table.add_row(name, model.about, "542", state_of_model(name))
    Console(highlight=False).print(table)
    typer.echo(f"COALM_DATA = {os.environ.get('COALM_DATA') or 'not set'}")
    typer.echo(f"cache      = {assets.home()}")
