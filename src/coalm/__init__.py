"""Make, run and prove conversational agentic language models.

The names below are the public face; importing them loads nothing heavy.
"""

from __future__ import annotations

__version__ = "0.1.0"

from coalm.agent.rollout import Finished, Rollout, run_many, run_one
from coalm.engines.base import Completion, Engine, SamplingParams, Usage
from coalm.errors import CoalmError
from coalm.formats import PromptFormat, get_format
from coalm.types import ChatTurn, Conversation, Message, Prompt, ToolCall, ToolSchema

__all__ = [
    "ChatTurn",
    "CoalmError",
    "Completion",
    "Conversation",
    "Engine",
    "Finished",
    "Message",
    "Prompt",
    "PromptFormat",
    "Rollout",
    "SamplingParams",
    "ToolCall",
    "ToolSchema",
    "Usage",
    "__version__",
    "get_format",
    "run_many",
    "run_one",
]
