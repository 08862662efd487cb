"""Tools an assistant can call: what the model is told, the function behind it, the checks between.

A `Toolbox` answers every call with a tool message, the bad ones too::

    box.execute(ToolCall(name="BookTable", arguments={"party_size": "four"})).content
    {"error": "BookTable: argument 'party_size' must be an integer, got 'four'"}
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import re
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar, cast

from pydantic import JsonValue

from coalm.errors import ToolError
from coalm.types import Message, ToolCall, ToolSchema

MAX_RESULT_CHARS = 20_000
"""Longer results are cut: a model's context holds no more, and a turn goes on without the rest."""


@dataclass(frozen=True)
class Tool:
    """A schema for the model and the function that runs when the model calls it."""

    schema: ToolSchema
    function: Callable[..., object]
    """Called with the checked arguments by name; raises ToolError to explain a failure. May be a
    coroutine function."""
    timeout: float | None = None
    """Seconds until a call counts as failed. With a number, a call runs in a thread of its own
    beside the other calls of the same action; None runs the calls one after the other in the
    caller's thread, for as long as they take. Coroutines always run beside each other."""


_T = TypeVar("_T")
_Coroutine: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
_Job: TypeAlias = Callable[[], object]
"""Gives the result of a call that may have been started already; raises what went wrong."""


class Toolbox:
    """Tools by name; `execute` turns a call into the observation the model reads."""

    def __init__(self, tools: Iterable[Tool], *, max_chars: int = MAX_RESULT_CHARS) -> None:
        self._tools: dict[str, Tool] = {}
        self._max_chars = max_chars
        for tool in tools:
            if tool.schema.name in self._tools:
                raise ToolError(f"two tools are named {tool.schema.name!r}; names must differ")
            self._tools[tool.schema.name] = tool

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools as they were given, to make a larger toolbox of several."""
        return tuple(self._tools.values())

    @property
    def schemas(self) -> tuple[ToolSchema, ...]:
        """What the model is told, in the order in which the tools were given."""
        return tuple(tool.schema for tool in self._tools.values())

    def call(self, name: str, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """Check the arguments and run the tool.

        Raises:
            ToolError: no such tool, arguments that do not fit its schema, or a tool that failed.
        """
        call = ToolCall(name=name, arguments=dict(arguments))
        return cast("JsonValue", _finish(name, self._start(call, None)))

    def execute(self, call: ToolCall) -> Message:
        """The tool message that answers `call`; every failure becomes `{"error": ...}`."""
        return next(self.execute_all([call]))

    def execute_all(
        self, calls: Sequence[ToolCall], seconds: float | None = None
    ) -> Iterator[Message]:
        """The tool messages that answer the calls of one action, in the order of the calls.

        Tools with a time limit and coroutines start at once, all together; the others run in their
        place.

        Args:
            calls: What the model asks for.
            seconds: Time limit for all calls together, beside the limits of the tools.
        """
        jobs = [self._start(call, seconds) for call in calls]
        for call, job in zip(calls, jobs, strict=True):
            try:
                content = _as_text(call.name, _finish(call.name, job))
            except ToolError as e:
                content = json.dumps({"error": str(e)}, ensure_ascii=False)
            content = _cut(content, self._max_chars)
            yield Message(role="tool", content=content, name=call.name, tool_call_id=call.id)

    def _start(self, call: ToolCall, seconds: float | None) -> _Job:
        try:
            tool, arguments = self._checked(call)
        except ToolError as e:
            return partial(_fail, e)
        run = partial(tool.function, **arguments)
        if inspect.iscoroutinefunction(tool.function):
            loop = _caller_loop.get() or _own_loop()
            if loop.is_closed():
                return partial(_fail, ToolError(f"{call.name}: its event loop is closed"))
            started = asyncio.run_coroutine_threadsafe(_guarded(cast("_Coroutine", run)), loop)
        elif tool.timeout is not None:
            started = in_thread(run)
        else:
            return run
        limits = [limit for limit in (tool.timeout, seconds) if limit is not None]
        return partial(_wait, started, min(limits, default=None), time.monotonic())

    def _checked(self, call: ToolCall) -> tuple[Tool, dict[str, JsonValue]]:
        if call.error is not None:
            said = f"; you wrote: {call.raw[:200]}" if call.raw else ""
            raise ToolError(f"the call could not be read: {call.error}{said}")
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"there is no tool {call.name!r}; {_known(call.name, self._tools)}")
        return tool, check_arguments(tool.schema, call.arguments)


def _fail(error: ToolError) -> object:
    raise error


def _finish(name: str, job: _Job) -> object:
    try:
        return job()
    except ToolError:
        raise
    except _LateError as e:
        raise ToolError(f"{name} gave no result within {e}") from e
    except (Exception, SystemExit) as e:  # a tool is foreign code: what breaks in it is its failure
        raise ToolError(f"{name} failed: {_describe(e)}") from e


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the text of a foreign error is foreign code, too
        return type(error).__name__


class _LateError(Exception):
    """A call took longer than its limit; the text is the limit."""


def in_thread(run: Callable[[], _T]) -> Future[_T]:
    """Start `run` in a thread that does not keep the program from ending."""
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()  # so that nobody can cancel what cannot be stopped

    def work() -> None:
        try:
            future.set_result(run())
        except BaseException as e:  # noqa: BLE001 - whoever waits for the result is told
            future.set_exception(e)

    threading.Thread(target=work, name="coalm-tool", daemon=True).start()
    return future


async def _guarded(run: _Coroutine) -> object:
    try:
        return await run()
    except (KeyboardInterrupt, SystemExit) as e:
        # either would end the loop and with it all other calls
        raise ToolError(f"the tool left with {_describe(e)}") from e


def _wait(future: Future[object], limit: float | None, started: float) -> object:
    left = None if limit is None else max(0.0, started + limit - time.monotonic())
    try:
        # not result(): a KeyboardInterrupt of the tool would pass for one of the user
        error = future.exception(timeout=left)
    except TimeoutError as e:
        future.cancel()
        raise _LateError(f"{limit:g} seconds") from e
    if error is not None and not isinstance(error, (Exception, SystemExit)):
        raise ToolError(f"the tool left with {_describe(error)}") from error
    return future.result()


_caller_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("loop", default=None)


@contextmanager
def coroutines_on(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Within the block, coroutine tools run on `loop`, which another thread keeps going.

    Otherwise they run on a loop of coalm's own.
    """
    token = _caller_loop.set(loop)
    try:
        yield
    finally:
        _caller_loop.reset(token)


@cache
def _own_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="coalm-tools", daemon=True).start()
    return loop


def _as_text(name: str, result: object) -> str:
    """A result as the model reads it: text as it is, everything else as JSON."""
    try:
        text = (
            result
            if isinstance(result, str)
            else json.dumps(result, ensure_ascii=False, allow_nan=False)
        )
    except (TypeError, ValueError, RecursionError) as e:
        raise ToolError(f"{name} returned something that is not JSON: {e}") from e
    return text.encode("utf-8", "replace").decode("utf-8")  # no tokenizer takes lone surrogates


def _cut(text: str, most: int) -> str:
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]}\n[{left_out} more characters were cut]"


def check_arguments(schema: ToolSchema, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The arguments with their values brought to the schema's types ("2" becomes 2).

    Schemas without a type, or with one that JSON Schema does not know, let every value pass.

    Raises:
        ToolError: an unknown or a missing argument, or a value of another type or not in the enum.
    """
    properties = schema.properties
    for name in arguments:
        if name not in properties:
            raise ToolError(f"{schema.name}: unknown argument {name!r}; {_known(name, properties)}")
    missing = [name for name in schema.required if name not in arguments]
    if missing:
        raise ToolError(f"{schema.name}: missing argument {', '.join(map(repr, missing))}")
    checked: dict[str, JsonValue] = {}
    for name, value in arguments.items():
        try:
            checked[name] = _coerce(value, properties[name])
        except _MismatchError as e:
            raise ToolError(f"{schema.name}: argument {name!r} {e}") from e
    return checked


class _MismatchError(Exception):
    """A value does not fit its schema; the text continues 'argument "x" ...'."""


def _coerce(value: JsonValue, spec: Mapping[str, JsonValue]) -> JsonValue:
    options = spec.get("enum")
    if isinstance(options, list) and any(
        value == one and type(value) is type(one) for one in options
    ):
        return value  # also where `type` contradicts: an enum says more
    branches = spec.get("anyOf") or spec.get("oneOf")
    if isinstance(branches, list):
        return _first_fit(value, [b for b in branches if isinstance(b, dict)])
    kind = spec.get("type")
    if isinstance(kind, list):
        return _first_fit(value, [{**spec, "type": one} for one in kind])
    if isinstance(kind, str) and kind in _READERS:
        value = _READERS[kind](value)
    if isinstance(value, list) and isinstance(items := spec.get("items"), dict):
        value = [_coerce(item, items) for item in value]
    if isinstance(value, dict) and isinstance(fields := spec.get("properties"), dict):
        value = {k: _coerce_field(v, fields.get(k)) for k, v in value.items()}
    if isinstance(options, list) and value not in options:
        raise _MismatchError(f"must be one of {options!r}, got {value!r}")
    return value


def _coerce_field(value: JsonValue, spec: JsonValue) -> JsonValue:
    return _coerce(value, spec) if isinstance(spec, dict) else value


def _first_fit(value: JsonValue, specs: list[dict[str, JsonValue]]) -> JsonValue:
    reasons: list[str] = []
    # A value that fits a branch as it is must not be bent to an earlier one ("2" stays a string).
    results: list[JsonValue] = []
    for spec in specs:
        try:
            results.append(_coerce(value, spec))
        except _MismatchError as e:
            reasons.append(str(e))
    if not results and specs:
        raise _MismatchError(" or ".join(reasons))
    same = [r for r in results if r == value and type(r) is type(value)]
    return (same or results or [value])[0]


def _integer(value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        raise _mismatch("an integer", value)
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
        return int(value)
    raise _mismatch("an integer", value)


def _number(value: JsonValue) -> JsonValue:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", value.strip()):
        return float(value)
    raise _mismatch("a number", value)


def _boolean(value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _mismatch("true or false", value)


def _string(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise _mismatch("a string", value)


def _array(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return value
    raise _mismatch("a list", value)


def _object(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return value
    raise _mismatch("an object", value)


def _null(value: JsonValue) -> JsonValue:
    if value is None:
        return value
    raise _mismatch("null", value)


_READERS: dict[str, Callable[[JsonValue], JsonValue]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "array": _array,
    "object": _object,
    "null": _null,
}


def _mismatch(expected: str, value: JsonValue) -> _MismatchError:
    return _MismatchError(f"must be {expected}, got {value!r}")


def _known(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known) or 'none'}"
