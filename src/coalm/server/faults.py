"""Refusals and failures as OpenAI's clients read them.

::

    {"error": {"message": "temperature: Input should be ...", "type": "invalid_request_error",
               "param": "temperature", "code": null}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from coalm.errors import EngineError
from coalm.server.desk import BusyError, ClosedError, LateError

_SHOWN = 80
"""Characters of a wrong value that an error shows."""
_LONGEST = 500
"""Characters of a message; names and paths in it may be of any length."""
_RETRY_SECONDS = 1
_OF_BODY = (400, 408, 413)
"""What is refused before a body is looked into."""


STATUSES = {
    400: "The request cannot be served; `param` names the field.",
    401: "The API key is missing or wrong.",
    404: "There is no such model, page or world.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    429: "The queue is full; come back after `Retry-After`.",
    500: "The engine failed.",
    503: "The server is shutting down, or its engine has failed.",
    504: "The answer took too long.",
}
"""What each status of an error means."""


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field at fault."""
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer from status 400 on."""

    error: ErrorDetail


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors of a path, for the OpenAPI file."""
    return {one: {"model": ErrorBody, "description": STATUSES[one]} for one in statuses}


class RefusedError(Exception):
    """A request that is not served."""

    def __init__(
        self, message: str, param: str | None = None, *, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code


class _Kind(NamedTuple):
    status: int
    type: str
    code: str


def body(message: str, kind: str, param: str | None = None, code: str | None = None) -> Any:
    """The body of an error."""
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}..."
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def response(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(body(message, kind, param, code), status, headers)


def engine_fault(error: EngineError) -> JSONResponse:
    """What the engine could not do."""
    kind = _kind(error)
    headers = {"Retry-After": str(_RETRY_SECONDS)} if kind.status in (429, 503) else None
    return response(kind.status, str(error), kind.type, None, kind.code, headers)


def engine_fault_body(error: EngineError) -> Any:
    """The same for a stream that has begun."""
    kind = _kind(error)
    return body(str(error), kind.type, None, kind.code)


def _kind(error: EngineError) -> _Kind:
    if isinstance(error, BusyError):
        return _Kind(429, "rate_limit_error", "queue_full")
    if isinstance(error, ClosedError):
        return _Kind(503, "server_error", "not_running")
    if isinstance(error, LateError):
        return _Kind(504, "server_error", "timeout")
    return _Kind(500, "server_error", "engine_failed")


def install(app: FastAPI) -> None:
    """Let `app` answer refusals and failures in this form."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return response(error.status, error.message, param=error.param, code=error.code)

    @app.exception_handler(EngineError)
    async def failed(request: Request, error: EngineError) -> JSONResponse:
        return engine_fault(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        return _invalid(problem)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{error.detail}: {request.method} {request.url.path}"
        param = "body" if error.status_code in _OF_BODY else None
        return response(error.status_code, message, param=param, headers=error.headers)


def _invalid(problem: Mapping[str, Any]) -> JSONResponse:
    where = [str(part) for part in problem["loc"] if part != "body"]
    if problem["type"] == "json_invalid" or not where:
        hint = "send one, with Content-Type: application/json"
        return response(400, f"the body is not a JSON object; {hint}", param="body")
    # pydantic names the branch of a union behind the field
    name = ".".join(part for part in where if part.isidentifier() or part.isdigit())
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return response(400, f"{name}: is missing", param=where[0])
    return response(400, f"{name}: {text}, got {_shown(problem.get('input'))}", param=where[0])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
