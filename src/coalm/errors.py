"""Every error that coalm raises on purpose.

::

    CoalmError
    +-- ConfigError         a YAML file or an override that cannot be used
    +-- AssetError          an outside file that is missing, unreachable or damaged
    +-- DataError           a record or a data file that cannot be read
    +-- FormatError         a conversation that a prompt format cannot render
    |   +-- ParseError      model text that is not of the format
    +-- TemplateError       a chat template that cannot give token ids and a loss mask
    +-- ToolError           a tool that is unknown, was called wrongly, or failed
    +-- EngineError         a model or an endpoint that cannot generate
    |   +-- ContextError    a prompt that is too long for the model
    |   +-- GrammarError    a grammar that an answer cannot be held to
    +-- TrainError          a training run that cannot start or go on
    +-- EvalError           an evaluation that cannot run, resume or report
    +-- MissingExtraError   an optional package is not installed

The message says what is wrong, the value, and the next step, in one line; the command line prints
it as it is. Anything that is not a CoalmError is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class CoalmError(Exception):
    """Base of all errors that a user can act on."""


class ConfigError(CoalmError):
    """A configuration file or override cannot be used."""


class AssetError(CoalmError):
    """An outside file is missing, unreachable or damaged."""


class DataError(CoalmError):
    """A record or a data file cannot be read."""


class FormatError(CoalmError):
    """A prompt format cannot render this conversation."""


class ParseError(FormatError):
    """Model text is not of the expected form."""


class TemplateError(CoalmError):
    """A chat template cannot give token ids and a loss mask."""


class ToolError(CoalmError):
    """A tool is unknown, was called wrongly, or failed."""


class EngineError(CoalmError):
    """A model or an endpoint cannot generate."""


class ContextError(EngineError):
    """A prompt leaves no room in the model's context; trying again does not help."""


class GrammarError(EngineError):
    """An answer cannot be held to this grammar, or the JSON Schema in it."""


class TrainError(CoalmError):
    """A training run cannot start or go on."""


class EvalError(CoalmError):
    """An evaluation cannot run, resume or report."""


class MissingExtraError(CoalmError):
    """An optional package is not installed; the message holds the install line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; this feature needs it: pip install 'coalm[{extra}]'"
        )


@contextmanager
def needs_extra(extra: str) -> Generator[None]:
    """For imports of ours that need the packages of an extra.

    Raises:
        MissingExtraError: one of these is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package in ("", "coalm"):
            raise
        raise MissingExtraError(package, extra) from e
