"""The application that `coalm serve` runs: OpenAI's API in front of an engine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse

from coalm import __version__
from coalm.engines.base import Engine
from coalm.server import faults
from coalm.server.completions import Completions
from coalm.server.desk import Desk
from coalm.server.gate import Gate
from coalm.server.metrics import CONTENT_TYPE, Metrics
from coalm.server.protocol import ChatRequest, CompletionRequest
from coalm.server.questions import check_model
from coalm.server.sessions import router_for
from coalm.server.settings import ServerSettings


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI's description, without the status of its own answer to a wrong body."""
        described = super().openapi()
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        return described


def create_app(engine: Engine, settings: ServerSettings | None = None) -> FastAPI:
    """An application that answers with `engine`.

    The engine is used by the application alone from now on; whoever made it closes it, after the
    application has been shut down. `app.state.desk` asks it beside the clients.

    Args:
        engine: Any.
        settings: How to treat the clients.
    """
    settings = settings or ServerSettings()
    desk = Desk(engine, places=settings.places, queue_length=settings.queue_length)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    # the pages of documentation that come with FastAPI fetch scripts from outside
    app = _Application(
        title="coalm", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.desk = desk
    metrics = Metrics(desk)
    faults.install(app)
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    _add_answers(app, Completions(desk, settings, metrics))
    _add_reports(app, settings, desk, metrics)
    app.include_router(router_for())
    return app


def _add_answers(app: FastAPI, completions: Completions) -> None:
    @app.post(
        "/v1/chat/completions", response_model=None, responses=faults.described(*faults.STATUSES)
    )
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Answer the last message of a conversation."""
        return await completions.chat(body, request)

    @app.post("/v1/completions", response_model=None, responses=faults.described(*faults.STATUSES))
    async def complete(body: CompletionRequest, request: Request) -> Response:
        """Answer words as they are."""
        return await completions.complete(body, request)


def _add_reports(app: FastAPI, settings: ServerSettings, desk: Desk, metrics: Metrics) -> None:
    model = {
        "id": settings.model,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "coalm",
    }

    @app.get("/v1/models", response_model=None, responses=faults.described(401))
    async def models() -> JSONResponse:
        """The model that is served."""
        return JSONResponse({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}", response_model=None, responses=faults.described(401, 404))
    async def one_model(name: str) -> JSONResponse:
        """The same, by its name."""
        check_model(name, settings)
        return JSONResponse(model)

    @app.get("/health", response_model=None, responses={503: {"description": "No answers."}})
    async def health() -> JSONResponse:
        """Whether prompts are answered."""
        state = {"status": "ok" if desk.is_open else "closed"}
        return JSONResponse(state, 200 if desk.is_open else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def counters() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})
