"""Servers for tests: the application on a free port of this machine, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

from coalm.engines.base import Engine
from coalm.engines.scripted import ScriptedEngine
from coalm.types import Prompt

pytest.importorskip("fastapi", reason="needs coalm[serve]")
pytest.importorskip("uvicorn", reason="needs coalm[serve]")


class Served(NamedTuple):
    """A server that runs."""

    url: str
    """Of the API, ends in /v1."""
    root: str
    app: Any
    client: Any
    """`openai.OpenAI` for it."""

    @property
    def desk(self) -> Any:
        return self.app.state.desk


@contextmanager
def _serving(engine: Engine, **settings: Any) -> Generator[Served]:
    """Serve `engine` as long as the block lasts."""
    import uvicorn

    from coalm.server.app import create_app
    from coalm.server.settings import ServerSettings

    openai = pytest.importorskip("openai")
    app = create_app(engine, ServerSettings(**settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    root = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = openai.OpenAI(base_url=f"{root}/v1", api_key="sk-test", max_retries=0, timeout=60)
    try:
        yield Served(f"{root}/v1", root, app, client)
    finally:
        client.close()
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def scripted() -> Generator[Callable[..., Served]]:
    """Starts servers of the scripted engine: `scripted(replies, **settings)`."""
    with ExitStack() as stack:

        def start(
            replies: Iterable[str] | Callable[[Prompt], str], *, delay: float = 0.0, **settings: Any
        ) -> Served:
            return stack.enter_context(_serving(ScriptedEngine(replies, delay=delay), **settings))

        yield start


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Served]]:
    """Serves an engine within a block: `with serving(engine, **settings) as served`."""
    return _serving


@pytest.fixture(scope="session")
def joined() -> Callable[[Iterable[Any]], dict[str, Any]]:
    """What a stream of the SDK comes to: content, thought, calls, finish reason, usage."""
    return _joined


@pytest.fixture(scope="session")
def unstreamed() -> Callable[[Any], dict[str, Any]]:
    """The same of a whole answer."""
    return _unstreamed


def _joined(chunks: Iterable[Any]) -> dict[str, Any]:
    """What a stream of the SDK comes to: content, thought, calls, finish reason."""
    whole: dict[str, Any] = {"content": "", "thought": "", "calls": [], "finish_reason": None}
    for chunk in chunks:
        if not chunk.choices:
            whole["usage"] = chunk.usage.model_dump(exclude_none=True)
            continue
        (choice,) = chunk.choices
        assert whole["finish_reason"] is None, "nothing comes after the reason of the end"
        whole["finish_reason"] = choice.finish_reason
        whole["content"] += choice.delta.content or ""
        whole["thought"] += getattr(choice.delta, "reasoning_content", None) or ""
        for part in choice.delta.tool_calls or ():
            if part.id:
                assert part.index == len(whole["calls"])
                whole["calls"].append([part.function.name, ""])
            assert part.index == len(whole["calls"]) - 1
            whole["calls"][-1][1] += part.function.arguments
    return whole


def _unstreamed(completion: Any) -> dict[str, Any]:
    """The same of a whole answer."""
    (choice,) = completion.choices
    message = choice.message
    return {
        "content": message.content or "",
        "thought": getattr(message, "reasoning_content", None) or "",
        "calls": [[c.function.name, c.function.arguments] for c in message.tool_calls or ()],
        "finish_reason": choice.finish_reason,
        "usage": completion.usage.model_dump(exclude_none=True),
    }
