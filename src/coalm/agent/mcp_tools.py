"""Tools of MCP servers, through the official SDK: a command spoken to over its stdin, or a URL.

::

    with mcp_tools("python shop_server.py") as tools:
        toolbox = Toolbox(tools)

The connection lives in a thread with an event loop of its own, so that tools are plain functions.
"""

from __future__ import annotations

import asyncio
import shlex
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, TextIO

from pydantic import JsonValue

from coalm.agent.functions import TIMEOUT, plain_schema
from coalm.errors import MissingExtraError, ToolError
from coalm.tools import Tool
from coalm.types import ToolSchema

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, ContentBlock
    from mcp_types import Tool as ServerTool

_MOST_TOOLS = 10_000
"""A server that lists more is broken: its pages go round in a circle."""


@contextmanager
def mcp_tools(
    server: str, *, timeout: float = TIMEOUT, env: Mapping[str, str] | None = None
) -> Generator[tuple[Tool, ...]]:
    """The tools of a server, for as long as the block lasts.

    Args:
        server: URL of a server (streamable HTTP), or the command line that starts one.
        timeout: Seconds until a call, or the connection, counts as failed.
        env: Environment of the command, beside the little that the SDK passes on (PATH, HOME, ...).

    Raises:
        ToolError: the server cannot be started or reached, or does not speak MCP.
        MissingExtraError: the package mcp is not installed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        connection = _Connection(server, timeout, env, log)
        try:
            yield connection.open()
        finally:
            connection.close()


class _Connection:
    """One server: everything about it happens in one task on one loop, as the SDK demands."""

    def __init__(
        self, server: str, timeout: float, env: Mapping[str, str] | None, log: TextIO
    ) -> None:
        self._server, self._timeout, self._env, self._log = server, timeout, env, log
        self._ready: Future[tuple[Tool, ...]] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._leave: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="coalm-mcp", daemon=True)

    def open(self) -> tuple[Tool, ...]:
        self._thread.start()
        return self._ready.result()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(self._timeout)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except MissingExtraError as e:
            self._ready.set_exception(e)
        except BaseException as e:  # noqa: BLE001 - whoever opens the connection is told
            if not self._ready.done():
                self._ready.set_exception(self._failure(e))

    async def _live(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._timeout):
                client = await stack.enter_async_context(self._client())
                found = await _list_tools(client)
            self._ready.set_result(tuple(self._tool(client, one) for one in found))
            await self._leave.wait()

    def _client(self) -> Client:
        try:
            from mcp import Client, StdioServerParameters, stdio_client
        except ImportError as e:
            raise MissingExtraError("mcp 2", "mcp") from e
        if self._server.startswith(("http://", "https://")):
            return Client(self._server, read_timeout_seconds=self._timeout)
        command, *arguments = shlex.split(self._server)
        parameters = StdioServerParameters(
            command=command, args=arguments, env=dict(self._env or {})
        )
        transport = stdio_client(parameters, self._log)
        return Client(transport, read_timeout_seconds=self._timeout)

    def _failure(self, error: BaseException) -> ToolError:
        self._log.seek(0)
        said = self._log.read().strip().rpartition("\n")[2]
        last = f"; the last it said: {said[:200]}" if said else ""
        return ToolError(f"MCP server {self._server!r} cannot be used: {_reason(error)}{last}")

    def _tool(self, client: Client, found: ServerTool) -> Tool:
        schema = ToolSchema(
            name=found.name,
            description=found.description or "",
            parameters=plain_schema(found.input_schema),
        )
        return Tool(schema, self._function(client, found.name), self._timeout)

    def _function(self, client: Client, name: str) -> Callable[..., JsonValue]:
        def call(**arguments: JsonValue) -> JsonValue:
            coroutine = client.call_tool(name, arguments, self._timeout)
            if not self._thread.is_alive():
                coroutine.close()
                raise ToolError(f"the connection to MCP server {self._server!r} is closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            try:
                result = future.result()
            except Exception as e:
                raise ToolError(f"{name}: MCP server failed: {_reason(e)}") from e
            return _result(name, result)

        return call


async def _list_tools(client: Client) -> list[ServerTool]:
    found: list[ServerTool] = []
    cursor: str | None = None
    while len(found) < _MOST_TOOLS:
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        if not (cursor := page.next_cursor):
            return found
    raise ToolError(f"it lists more than {_MOST_TOOLS} tools")


def _result(name: str, result: CallToolResult) -> JsonValue:
    if result.is_error:
        raise ToolError(_text(result) or f"{name} failed and does not say why")
    return _text(result) if result.structured_content is None else result.structured_content


def _text(result: CallToolResult) -> str:
    return "\n".join(_block_text(block) for block in result.content)


def _block_text(block: ContentBlock) -> str:
    """What a model without eyes and ears can read of a block."""
    if block.type == "text":
        return block.text
    if block.type == "resource":
        return str(getattr(block.resource, "text", f"[resource {block.resource.uri}]"))
    if block.type == "resource_link":
        return f"[resource {block.uri}]"
    return f"[{block.type}, {block.mime_type}]"


def _reason(error: BaseException) -> str:
    """The first of a group's errors, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = " ".join(str(error).split())
    return text or type(error).__name__
