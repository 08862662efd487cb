"""The back ends of the multi-turn questions: a file system, a trading bot, and six more.

Their classes come out of the official wheel, whose sha256 is checked whenever it is read; it is
never installed. Importing it as it is would load every vendor's SDK, so only the modules with the
classes are loaded, under a package name of our own.

What a model may do here is call a public method by its name with literal arguments (see `run`).
"""

from __future__ import annotations

import decimal
import inspect
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from types import MethodType, ModuleType
from typing import Any, cast

from coalm.errors import MissingExtraError
from coalm.evals.bfcl.data import WHEEL, Entry, module_name, open_wheel
from coalm.evals.bfcl.dispatch import FAILURES, run_call
from coalm.evals.bfcl.guards import guarded
from coalm.evals.bfcl.verdict import Value

_PACKAGE = "coalm_bfcl_wheel"
_SOURCES = "bfcl_eval/eval_checker/multi_turn_eval/func_source_code"
_LONG_CONTEXT = "long_context"
_STATELESS = ("MathAPI",)


class Simulators:
    """Fresh instances of all back ends of one entry, with their starting state."""

    def __init__(self, entry: Entry) -> None:
        self.instances: dict[str, object] = {}
        self._methods: dict[str, Callable[..., Value]] = {}
        long_context = "long_context" in entry.id
        for name in entry.classes:
            module = _load_module(module_name(name))
            if long_context:
                _renew_extensions(module)
            cls: type[Any] = vars(module)[name]
            instance = cls()
            if name not in _STATELESS:
                state = _copy(entry.initial_config.get(name, {}))
                instance._load_scenario(state, long_context=long_context)
            self.instances[name] = instance
            for method, function in _public_methods(cls):
                bound = MethodType(function, instance)
                self._methods[method] = guarded(method, instance, bound)

    def run(self, call: str) -> str:
        """Result text of a call such as `cd(folder='temp')`, as a model gets to read it.

        See `dispatch` for what a call may hold. Everything else, and every failure, gives a text
        that starts with `Error during execution:`.
        """
        try:
            with _own_precision():
                return _as_text(run_call(call, self._methods))
        except FAILURES as e:
            return f"Error during execution: {e}"

    def difference(self, other: Simulators) -> str | None:
        """The first public attribute in which these differ from `other`; None when equal."""
        for name, instance in other.instances.items():
            for attribute, value in vars(instance).items():
                if attribute.startswith("_"):
                    continue
                try:
                    same = vars(self.instances[name]).get(attribute) == value
                except RecursionError:
                    same = False  # a folder that holds itself
                if not same:
                    return f"{name}.{attribute}"
        return None


@cache
def _public_methods(cls: type) -> tuple[tuple[str, Callable[..., Value]], ...]:
    members = inspect.getmembers(cls, inspect.isfunction)
    return tuple((name, function) for name, function in members if not name.startswith("_"))


def _copy(value: Value) -> Value:
    """A copy of plain data; `copy.deepcopy` would take longer than everything else in a score."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in cast("dict[Value, Value]", value).items()}
    return [*map(_copy, cast("list[Value]", value))] if isinstance(value, list) else value


@contextmanager
def _own_precision() -> Generator[None]:
    """Undo what the maths back end does to the precision of `decimal` and `mpmath`."""
    with decimal.localcontext():
        mpmath = sys.modules.get("mpmath")
        if mpmath is None:
            yield
            return
        with mpmath.workdps(mpmath.mp.dps):
            yield


def _as_text(result: Value) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        with suppress(TypeError, ValueError, RecursionError):
            return json.dumps(result)
    return str(cast("object", result))


class _WheelLoader(SourceLoader):
    """Loads a module from the wheel; imports between its modules lead to our package name."""

    def get_filename(self, fullname: str) -> str:
        return f"{WHEEL}/{_SOURCES}/{fullname.rpartition('.')[2]}.py"

    def get_data(self, path: str) -> bytes:
        source = open_wheel().read(path.removeprefix(f"{WHEEL}/"))
        return source.replace(_SOURCES.replace("/", ".").encode(), _PACKAGE.encode())


@cache
def _load_module(name: str) -> ModuleType:
    if name != _LONG_CONTEXT:
        _load_module(_LONG_CONTEXT)  # several modules import it
    package = sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE))
    package.__path__ = []
    spec = spec_from_loader(f"{_PACKAGE}.{name}", _WheelLoader())
    if spec is None or spec.loader is None:
        raise ImportError(f"{_PACKAGE}.{name} has no loader")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as e:
        del sys.modules[spec.name]
        raise MissingExtraError(str(e.name), "eval") from e
    return module


def _renew_extensions(module: ModuleType) -> None:
    """Give a module its own long lists anew: its instances hand out and change the originals."""
    originals = vars(_load_module(_LONG_CONTEXT))
    for name in vars(module).keys() & originals.keys():
        if name.endswith("_EXTENSION"):
            setattr(module, name, _copy(originals[name]))
