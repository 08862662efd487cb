"""Addresses of OpenAI-compatible endpoints, and what their answers hold of interest.

A chat completion, shortened::

    {"choices": [{"message": {"role": "assistant", "content": "Thought: ..."},
                  "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 812, "completion_tokens": 31}}

A completion has `text` in the choice instead, and from vLLM, on request, `token_ids`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coalm.engines.base import Completion, Usage
from coalm.engines.stops import find_stop
from coalm.errors import EngineError


class Address(NamedTuple):
    """Where an endpoint is."""

    base: str
    """What `/chat/completions` is put behind; without query and user."""
    query: dict[str, str]
    is_openai: bool
    """Whether this is OpenAI's own host."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """The endpoint that `url` means: the base, its `/chat/completions`, or a bare host.

        Raises:
            EngineError: it is no address.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as e:
            raise EngineError(f"remote_params.api_url: {url!r} is no address: {e}") from e
        if parts.scheme not in ("http", "https") or not host:
            raise EngineError(
                "remote_params.api_url: expected an address such as http://localhost:8000/v1, "
                f"got {url!r}"
            )
        path = parts.path.rstrip("/")
        for ending in ("/chat/completions", "/completions"):
            path = path.removesuffix(ending)
        place = f"[{host}]" if ":" in host else host
        base = f"{parts.scheme}://{place}{f':{port}' if port else ''}{path or '/v1'}"
        return cls(base, dict(parse_qsl(parts.query)), host == "api.openai.com")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Usage(_Part):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(_Part):
    content: str | None = None


class _Choice(_Part):
    message: _Message = _Message()
    text: str | None = None
    token_ids: tuple[int, ...] | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str | None:
        return self.message.content if self.text is None else self.text

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.finish_reason in ("content_filter", "abort", "error"):
            raise ValueError(f"the endpoint ended the answer with {self.finish_reason!r}")
        # a model that is cut off while it reasons has said nothing yet
        if self.said is None and self.finish_reason != "length":
            raise ValueError("no text in it")
        return self


class _Answer(_Part):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def read_answer(body: bytes, stop: Sequence[str]) -> Completion:
    """The completion in an answer of either form; stop texts that the server let pass are cut.

    An endpoint that gives no usage costs nothing as far as we know: zeros.

    Raises:
        ValidationError: it is no such answer, or holds no text.
    """
    answer = _Answer.model_validate_json(body)
    choice = answer.choices[0]
    text = choice.said or ""
    cut = find_stop(text, stop)
    reason: Literal["stop", "length"] = (
        "length" if cut is None and choice.finish_reason == "length" else "stop"
    )
    usage = answer.usage or _Usage()
    return Completion(
        text=text[:cut],
        token_ids=choice.token_ids or (),
        finish_reason=reason,
        usage=Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0),
    )
