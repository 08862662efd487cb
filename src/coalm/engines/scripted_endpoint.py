"""An OpenAI-compatible endpoint without a model, in this process: for tests, examples, dry runs.

::

    with ScriptedEndpoint(lambda prompt: "Hello!") as endpoint:
        engine = OpenAIEngine("any", url=endpoint.url)

It answers at once, keeps what it was asked, and misbehaves on demand.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.types import ChatTurn, Prompt


class Fault(NamedTuple):
    """How one request goes wrong."""

    status: int = 200
    body: str = ""
    """Sent as it is."""
    headers: Mapping[str, str] = {}
    delay: float = 0.0
    """Seconds before anything is sent."""
    drop: bool = False
    """Close the connection without an answer."""


class ScriptedEndpoint:
    """Answers `/v1/chat/completions` on a free port of this machine; use as a context manager.

    A word counts as a token; stop texts and limits work as with a model.
    """

    def __init__(
        self, answer: Callable[[Prompt], str], faults: Iterable[Fault | None] = ()
    ) -> None:
        """Start to listen.

        Args:
            answer: What the model says to a prompt; called from several threads.
            faults: One for each request in the order of arrival, None for a good answer; when they
                are used up, all answers are good.
        """
        self._engine = ScriptedEngine(answer)
        self._faults = iter(faults)
        self._lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        """The body of every request so far."""
        self.most_at_once = 0
        """The highest number of requests that were open at the same time."""
        self._open = 0
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def enter(self, body: dict[str, Any]) -> Fault | None:
        """Note a request; what goes wrong with it."""
        with self._lock:
            self.requests.append(body)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            return next(self._faults, None)

    def leave(self) -> None:
        """A request is over."""
        with self._lock:
            self._open -= 1

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request."""
        prompt = tuple(ChatTurn(turn["role"], turn["content"]) for turn in body["messages"])
        params = SamplingParams(
            max_new_tokens=body.get("max_tokens", 512), stop=tuple(body.get("stop", ()))
        )
        (answer,) = self._engine.generate([prompt], params)
        return {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer.text},
                    "finish_reason": answer.finish_reason,
                }
            ],
            "usage": answer.usage._asdict(),
        }

    def close(self) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> ScriptedEndpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of defects only: that a client hangs up is part of the play."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(endpoint: ScriptedEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = endpoint.enter(body)
            try:
                self._answer(body, fault)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                endpoint.leave()

        def _answer(self, body: dict[str, Any], fault: Fault | None) -> None:
            if fault is None:
                self._send(200, json.dumps(endpoint.respond(body)), {})
                return
            time.sleep(fault.delay)
            if fault.drop:
                self.close_connection = True
                return
            self._send(fault.status, fault.body, fault.headers)

        def _send(self, status: int, text: str, headers: Mapping[str, str]) -> None:
            data = text.encode()
            self.send_response(status)
            sent = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
            for name, value in sent.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
