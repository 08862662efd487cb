"""How a server treats its clients."""

from __future__ import annotations

from dataclasses import dataclass, field

from coalm.engines.base import SamplingParams
from coalm.formats import PromptFormat, get_format
from coalm.formats.tool_text import ToolText


@dataclass(frozen=True)
class ServerSettings:
    """What `create_app` has to know beside the engine."""

    model: str = "coalm"
    """Name under which the model is asked for."""
    prompt_format: PromptFormat = field(default_factory=lambda: get_format("react"))
    """How the model reads and answers."""
    tool_text: ToolText = "full"
    """How it reads its tools."""
    params: SamplingParams = field(default_factory=lambda: SamplingParams(max_new_tokens=1024))
    """What holds where a request says nothing."""
    can_guide: bool = False
    """Whether the engine keeps to the grammar of a `GuidedPrompt`."""
    guided: bool = False
    """Whether all calls follow a grammar, those that a request leaves to the model, too."""
    places: int = 16
    """Answers under way at once."""
    queue_length: int = 64
    """Requests that wait for a place; a further one is refused with status 429."""
    max_seconds: float = 300.0
    """Time that a request may take, waiting included; and that its body may take to come in."""
    max_bytes: int = 4 * 1024 * 1024
    """Size of a request's body."""
    api_key: str | None = field(default=None, repr=False)
    """Clients have to send it as bearer token; None asks for none."""
    origins: tuple[str, ...] = ()
    """Pages of other servers that may ask from a browser (CORS)."""
