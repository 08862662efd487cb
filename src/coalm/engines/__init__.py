"""Engines by name; each is imported, with what it needs, only when it is asked for."""

from __future__ import annotations

import importlib

from coalm.engines.base import Completion, Engine, SamplingParams, Usage
from coalm.engines.config import InferConfig
from coalm.errors import EngineError, needs_extra

__all__ = ["ENGINES", "Completion", "Engine", "SamplingParams", "Usage", "load_engine"]

ENGINES = {
    "hf": "coalm.engines.hf.HfEngine",
    "openai": "coalm.engines.openai.OpenAIEngine",
    "vllm": "coalm.engines.vllm.VllmEngine",
    "scripted": "coalm.engines.scripted.ScriptedEngine",
}
"""Name to class; a class is made by its `from_config(config)`. The name is also its extra."""

GUIDING = ("hf", "vllm")
"""Engines that keep to the grammar of a `GuidedPrompt`."""


def load_engine(config: InferConfig) -> Engine:
    """The engine and model that an inference file asks for, ready to generate.

    Raises:
        EngineError: there is no such engine, or its model cannot be loaded.
        MissingExtraError: a package that the engine needs is not installed.
    """
    name = config.engine
    if name not in ENGINES:
        raise EngineError(f"coalm has no engine {name!r} yet; use one of: {', '.join(ENGINES)}")
    module, _, cls = ENGINES[name].rpartition(".")
    if config.generation.guided and name not in GUIDING:
        raise EngineError(
            f"the engine {name!r} cannot guide calls; use {', '.join(GUIDING)}, or leave out "
            "generation.guided"
        )
    with needs_extra(name):
        engine_class = getattr(importlib.import_module(module), cls)
    return engine_class.from_config(config)
