"""Requests of OpenAI's API, as far as they are served.

A field that would change the answer and cannot be served is refused with its name; one that cannot
change it (`user`, `metadata`, ...) is passed over. So is null, everywhere. Messages and tools are
read by `coalm.agent.questions`, as those of prompt files are.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from coalm.server.faults import RefusedError

MOST_STOPS = 16
MOST_PROMPTS = 64

_UNUSED = """
    metadata moderation prompt_cache_key prompt_cache_options prompt_cache_retention
    reasoning_effort safety_identifier service_tier store user verbosity"""
"""Fields that cannot change an answer of ours."""
_NEUTRAL: dict[str, tuple[JsonValue, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "modalities": (["text"],),
}
"""Fields that can only be served with these values."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class StreamOptions(_Part):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None


class _Request(BaseModel):
    """What both kinds of completion have in common."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=2**31)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)

    @field_validator("stop")
    @classmethod
    def _some_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        texts = [stop] if isinstance(stop, str) else stop or []
        if len(texts) > MOST_STOPS:
            raise ValueError(f"at most {MOST_STOPS} stop texts")
        if not all(texts):
            raise ValueError("a stop text must not be empty")
        return stop

    @model_validator(mode="after")
    def _nothing_else(self) -> _Request:
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _UNUSED.split() or value in _NEUTRAL.get(name, ()):
                continue
            raise RefusedError(f"{name}: {self._why_not(name)}", name)
        return self

    def _why_not(self, name: str) -> str:
        if name in _NEUTRAL:
            return f"can only be {_NEUTRAL[name][0]!r} here"
        if name in ("functions", "function_call"):
            return "is not served; use tools and tool_choice"
        known = [*type(self).model_fields, *_NEUTRAL, *_UNUSED.split()]
        near = get_close_matches(name, known, n=1)
        return f"there is no such field; did you mean {near[0]!r}?" if near else "is not served"

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts of the request."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class NamedFunction(_Part):
    """The function that has to be called."""

    name: str


class NamedTool(_Part):
    """`tool_choice` with a name."""

    type: Literal["function"] = "function"
    function: NamedFunction


class JsonSchema(_Part):
    """The form of a reply."""

    name: str
    description: str | None = None
    schema_: dict[str, JsonValue] = Field(alias="schema")
    strict: bool | None = None


class TextFormat(_Part):
    """A reply in words."""

    type: Literal["text"]


class JsonFormat(_Part):
    """A reply that is some JSON object."""

    type: Literal["json_object"]


class SchemaFormat(_Part):
    """A reply that is JSON of a given form."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class ChatRequest(_Request):
    """The body of `/v1/chat/completions`."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: (
        Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")] | None
    ) = None
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31)
    """The newer name of `max_tokens`; it wins."""


class CompletionRequest(_Request):
    """The body of `/v1/completions`."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]

    @model_validator(mode="after")
    def _one_stream(self) -> CompletionRequest:
        if self.stream and not isinstance(self.prompt, str) and len(self.prompt) > 1:
            raise RefusedError("prompt: a stream answers one prompt, not several", "prompt")
        return self
