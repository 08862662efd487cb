"""What every request passes first: the key, the size and the time of its body; and the counting."""

from __future__ import annotations

import asyncio
import hmac

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coalm.server.faults import response
from coalm.server.metrics import Metrics
from coalm.server.settings import ServerSettings

_COUNTED = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics")


class Gate:
    """Lets requests through to an application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in _COUNTED else "other"
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        headers = Headers(scope=scope)
        if self._needs_key(scope) and not self._has_key(headers):
            refusal = response(
                401, "the API key is missing or wrong; send it as bearer token",
                "authentication_error", code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
            await refusal(scope, receive, counting)
        elif _length(headers) > self._settings.max_bytes:
            refusal = response(413, self._too_large(), param="body")
            await refusal(scope, receive, counting)
        else:
            await self._app(scope, self._limited(receive), counting)

    def _needs_key(self, scope: Scope) -> bool:
        if self._settings.api_key is None:
            return False
        # a browser opens the page without a key, and what watches the server has none
        is_open = not scope["path"].startswith("/v1/") and scope["path"] != "/metrics"
        return not (is_open and scope["method"] in ("GET", "HEAD"))

    def _has_key(self, headers: Headers) -> bool:
        kind, _, key = headers.get("authorization", "").partition(" ")
        right = (self._settings.api_key or "").encode()
        return kind.lower() == "bearer" and hmac.compare_digest(
            key.strip().encode("latin-1"), right
        )

    def _too_large(self) -> str:
        return f"the body is larger than {self._settings.max_bytes} bytes"

    def _limited(self, receive: Receive) -> Receive:
        """`receive` that fails when the body is too large, or takes too long."""
        size, is_whole = 0, False
        end = asyncio.get_running_loop().time() + self._settings.max_seconds

        async def limited() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError as e:
                seconds = f"{self._settings.max_seconds:g}"
                raise HTTPException(408, f"the body did not come within {seconds} s") from e
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if size > self._settings.max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return limited


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0
