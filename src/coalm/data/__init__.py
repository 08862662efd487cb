"""CoALM-IT: raw data sets become training conversations.

`SOURCES` names the sources; `load_sources` opens those of a configuration, `build` writes the rows.
"""

from __future__ import annotations

import importlib
from functools import partial

from coalm import assets
from coalm.data.base import Ledger, Rejection, Source
from coalm.data.build import build
from coalm.data.config import DataConfig, SourceName
from coalm.data.files import Copy
from coalm.data.manifest import Manifest, read_manifest
from coalm.data.optional import OptionalSource
from coalm.data.stats import CountTokens, statistics
from coalm.data.tally import Rows
from coalm.data.teacher import Teacher

__all__ = [
    "SOURCES",
    "CountTokens",
    "DataConfig",
    "Ledger",
    "Manifest",
    "Rejection",
    "Rows",
    "Source",
    "Teacher",
    "build",
    "load_sources",
    "read_manifest",
    "statistics",
]

SOURCES: dict[SourceName, tuple[str, str | None]] = {
    "snips": ("coalm.data.snips.SnipsSource", "snips"),
    "sgd": ("coalm.data.sgd.SgdSource", "sgd"),
    "sgd_calls": ("coalm.data.sgd.SgdCallsSource", "sgd"),
    "sgd_requests": ("coalm.data.sgd_requests.SgdRequestsSource", "sgd"),
    "sgd_states": ("coalm.data.sgd_states.SgdStatesSource", "sgd"),
    "world": ("coalm.data.mini_world.WorldSource", None),
    "hammer": ("coalm.data.hammer.HammerSource", "xlam"),
    "toolace": ("coalm.data.toolace.ToolAceSource", "toolace"),
    "sealtools": ("coalm.data.sealtools.SealToolsSource", "sealtools"),
    "toolalpaca": ("coalm.data.toolalpaca.ToolAlpacaSource", "toolalpaca"),
}
"""Source to the class that reads it and to the asset (also the folder) that holds its files; None
makes its dialogues itself."""


def load_sources(config: DataConfig) -> list[Source]:
    """The sources of a configuration, ready to be read.

    Raises:
        AssetError: the files of a source that is not optional are not on this machine.
        DataError: there is nothing where the configuration points to.
    """
    return [
        OptionalSource(name, partial(_load, name, config))
        if name in config.optional
        else _load(name, config)
        for name in config.sources
    ]


def _load(name: SourceName, config: DataConfig) -> Source:
    path, asset = SOURCES[name]
    module, _, cls = path.rpartition(".")
    settings = config.settings(name)
    opened = getattr(importlib.import_module(module), cls)
    if asset is None:
        return opened(settings, config.seed)
    place = settings.path or (config.root / asset if config.root else None)
    # files of our own choosing are known to the byte, the user's need not be upstream's
    copy = Copy(place) if place else Copy(assets.locate(asset), asset)
    return opened(copy, settings, config.seed)
