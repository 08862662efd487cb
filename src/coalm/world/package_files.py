"""The YAML files of the mini world: its names, what people say, and its services."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import JsonValue


@cache
def read_yaml(name: str) -> dict[str, JsonValue]:
    """A YAML file of this package."""
    return yaml.safe_load(files("coalm.world").joinpath(name).read_text(encoding="utf-8"))
