"""Make, run and prove conversational agentic language models.

The names below are the public face; importing them loads nothing heavy.
"""

from __future__ import annotations

__version__ = "0.1.0"

from coalm.agent.functions import tool_from_function
from coalm.agent.react import Limits, stop_reason, user_turn
from coalm.agent.rollout import Finished, Rollout, run_many, run_one
from coalm.agent.session import AgentSession, Answer
from coalm.agent.shared import SharedEngine
from coalm.engines import Completion, Engine, SamplingParams, Usage, load_engine
from coalm.engines.config import InferConfig
from coalm.errors import CoalmError
from coalm.formats import PromptFormat, get_format
from coalm.tools import Tool, Toolbox
from coalm.types import ChatTurn, Conversation, Message, Prompt, ToolCall, ToolSchema

__all__ = [
    "AgentSession",
    "Answer",
    "ChatTurn",
    "CoalmError",
    "Completion",
    "Conversation",
    "Engine",
    "Finished",
    "InferConfig",
    "Limits",
    "Message",
    "Prompt",
    "PromptFormat",
    "Rollout",
    "SamplingParams",
    "SharedEngine",
    "Tool",
    "ToolCall",
    "ToolSchema",
    "Toolbox",
    "Usage",
    "__version__",
    "get_format",
    "load_engine",
    "run_many",
    "run_one",
    "stop_reason",
    "tool_from_function",
    "user_turn",
]
