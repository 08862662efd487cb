"""Answering requests: whole or as a stream, as long as the client is there and there is time."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from coalm.engines.base import Completion, Usage
from coalm.errors import ContextError, EngineError, GrammarError
from coalm.server import faults
from coalm.server.answers import Answering, Form, chat_form, text_form, usage_of
from coalm.server.desk import Desk
from coalm.server.metrics import Metrics
from coalm.server.protocol import ChatRequest, CompletionRequest
from coalm.server.questions import Question, chat_question, completion_questions
from coalm.server.settings import ServerSettings

_GONE = 499
"""What nginx notes when a client closed the connection; nobody reads it."""

_Result = TypeVar("_Result")
_Events = AsyncGenerator[str | Completion]


class _LeftError(Exception):
    """The client has gone."""


class _Visit(NamedTuple):
    """One request on its way."""

    request: Request
    form: Form
    head: dict[str, Any]
    """What the whole answer, and every chunk, begins with."""
    started: float
    """On the clock of the event loop."""


class Completions:
    """Answers the requests of one application."""

    def __init__(self, desk: Desk, settings: ServerSettings, metrics: Metrics) -> None:
        self._desk = desk
        self._settings = settings
        self._metrics = metrics

    async def chat(self, body: ChatRequest, request: Request) -> Response:
        """`/v1/chat/completions`."""
        question = chat_question(body, self._settings)
        return await self._answer(body, request, chat_form(), [question])

    async def complete(self, body: CompletionRequest, request: Request) -> Response:
        """`/v1/completions`."""
        questions = completion_questions(body, self._settings)
        return await self._answer(body, request, text_form(), questions)

    async def _answer(
        self,
        body: ChatRequest | CompletionRequest,
        request: Request,
        form: Form,
        questions: Sequence[Question],
    ) -> Response:
        visit = self._visit(request, form)
        try:
            if body.stream:
                with_usage = bool(body.stream_options and body.stream_options.include_usage)
                return await self._streamed(visit, questions[0], with_usage)
            return await _attended(visit, self._together(visit, questions))
        except _LeftError:
            self._metrics.left.inc()
            return Response(status_code=_GONE)
        except GrammarError as e:
            field = questions[0].guided_by
            raise faults.RefusedError(f"{field}: {e}", field) from e
        except ContextError as e:
            code = "context_length_exceeded"
            raise faults.RefusedError(f"{form.field}: {e}", form.field, code=code) from e

    def _visit(self, request: Request, form: Form) -> _Visit:
        head = {
            "id": f"{form.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": self._settings.model,
        }
        return _Visit(request, form, head, asyncio.get_running_loop().time())

    async def _together(self, visit: _Visit, questions: Sequence[Question]) -> Response:
        tasks = [asyncio.create_task(self._whole(question)) for question in questions]
        try:
            found = [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        choices = [
            {"index": index, **visit.form.choice(answering)}
            for index, (answering, _) in enumerate(found)
        ]
        usage = self._done(visit, [completion.usage for _, completion in found])
        head = {**visit.head, "object": visit.form.whole}
        return JSONResponse({**head, "choices": choices, "usage": usage})

    async def _whole(self, question: Question) -> tuple[Answering, Completion]:
        answering = Answering(question)
        async with aclosing(self._ask(question)) as events:
            async for event in events:
                answering.feed(event)
                if isinstance(event, Completion):
                    return answering, event
        raise EngineError("the engine gave no answer")

    def _ask(self, question: Question) -> _Events:
        return self._desk.ask(question.prompt, question.params, self._settings.max_seconds)

    async def _streamed(self, visit: _Visit, question: Question, with_usage: bool) -> Response:
        events = self._ask(question)
        # the first event before the status is sent: the queue may be full, the prompt too long
        first = await _attended(visit, anext(events))
        self._metrics.first_seconds.observe(_seconds_since(visit.started))
        return _EventStream(self._lines(visit, question, first, events, with_usage), events)

    async def _lines(
        self,
        visit: _Visit,
        question: Question,
        first: str | Completion,
        events: _Events,
        with_usage: bool,
    ) -> AsyncGenerator[str]:
        head = {**visit.head, "object": visit.form.chunk}
        tail = {"usage": None} if with_usage else {}
        answering, event = Answering(question), first
        ended = False
        try:
            for delta in visit.form.opening:
                yield _line({**head, "choices": [_part(visit, delta)], **tail})
            while True:
                for delta in answering.feed(event):
                    yield _line({**head, "choices": [_part(visit, delta)], **tail})
                if isinstance(event, Completion):
                    break
                event = await anext(events)
            last = {**_part(visit, {}), "finish_reason": answering.finish_reason}
            yield _line({**head, "choices": [last], **tail})
            ended = True
            usage = self._done(visit, [event.usage])
            if with_usage:
                yield _line({**head, "choices": [], "usage": usage})
        except EngineError as e:
            ended = True
            yield _line(faults.engine_fault_body(e))
        finally:
            if not ended:
                self._metrics.left.inc()
        yield "data: [DONE]\n\n"

    def _done(self, visit: _Visit, usages: Sequence[Usage]) -> dict[str, int]:
        usage = usage_of(usages)
        self._metrics.add_usage(usage)
        self._metrics.seconds.observe(_seconds_since(visit.started))
        return usage


class _EventStream(StreamingResponse):
    """Server-sent events; when the client leaves, they are given up at once."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncGenerator[str], events: _Events) -> None:
        # without the second header, nginx keeps a stream back until it is whole
        super().__init__(lines, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._lines = lines
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()
            await self._events.aclose()


async def _attended(visit: _Visit, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What comes of `work`, which ends when the client leaves.

    Raises:
        _LeftError: the client has gone.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(visit.request))
    try:
        await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _LeftError
        return task.result()
    finally:
        for one in (task, left):
            one.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _part(visit: _Visit, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, **visit.form.part(delta), "logprobs": None, "finish_reason": None}


def _line(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _seconds_since(started: float) -> float:
    return asyncio.get_running_loop().time() - started
