"""From a request to what the engine is asked, and how its answer is to be read."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import JsonValue

from coalm.agent.questions import read_conversation
from coalm.agent.react import as_prompted
from coalm.engines.base import SamplingParams
from coalm.errors import DataError, FormatError
from coalm.formats.base import PromptFormat
from coalm.formats.grammar import MOST_CALLS
from coalm.formats.reader import PlainReader, Reader
from coalm.formats.tool_text import tool_text_meta
from coalm.server.faults import RefusedError
from coalm.server.protocol import (
    ChatRequest,
    CompletionRequest,
    JsonFormat,
    NamedTool,
    SchemaFormat,
)
from coalm.server.settings import ServerSettings
from coalm.types import ChatTurn, Conversation, GuidedPrompt, Prompt, ToolSchema


class Question(NamedTuple):
    """What the engine is asked."""

    prompt: Prompt
    params: SamplingParams
    reader: Reader
    """Of the answer."""
    most_calls: int = MOST_CALLS
    """Further ones are left out of the answer."""
    guided_by: str = "tools"
    """The field that a grammar comes from."""


def chat_question(request: ChatRequest, settings: ServerSettings) -> Question:
    """The question in a chat request.

    Raises:
        RefusedError: the request cannot be served as it is.
    """
    check_model(request.model, settings)
    _check_tools(request)
    most_calls = 1 if request.parallel_tool_calls is False else MOST_CALLS
    if isinstance(request.tool_choice, NamedTool):
        most_calls = 1
    conversation = _conversation(request, settings)
    offered = () if request.tool_choice == "none" else conversation.tools
    conversation = conversation.model_copy(update={"tools": offered})
    grammar = _grammar(request, conversation.tools, most_calls, settings)
    try:
        prompt = settings.prompt_format.render(as_prompted(conversation))
        _check_text(prompt)
    except FormatError as e:
        raise RefusedError(f"messages: {e}", "messages") from e
    return Question(
        prompt=prompt if grammar is None else GuidedPrompt(prompt, grammar),
        params=_params(request, settings, settings.prompt_format.stop),
        reader=settings.prompt_format.reader(calls=bool(offered)),
        most_calls=most_calls,
        guided_by="tools" if offered else "response_format",
    )


def completion_questions(request: CompletionRequest, settings: ServerSettings) -> list[Question]:
    """The questions in a completion request: each prompt is the words of a user.

    Raises:
        RefusedError: the request cannot be served as it is.
    """
    check_model(request.model, settings)
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    params = _params(request, settings)
    return [Question((ChatTurn("user", text),), params, PlainReader()) for text in prompts]


def check_model(name: str, settings: ServerSettings) -> None:
    """Refuse another model's name.

    Raises:
        RefusedError: the server does not serve this model.
    """
    if name != settings.model:
        text = f"model: there is no model {name!r:.80} here; this server serves {settings.model!r}"
        raise RefusedError(text, "model", status=404, code="model_not_found")


def _check_tools(request: ChatRequest) -> None:
    names: set[JsonValue] = set()
    for at, tool in enumerate(request.tools or ()):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            text = f'tools.{at}: expected {{"type": "function", "function": {{...}}}}'
            raise RefusedError(text, "tools")
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise RefusedError(f"tools.{at}.function.name: expected a text", "tools")
        if name in names:
            raise RefusedError(f"tools.{at}.function.name: a second tool {name!r:.80}", "tools")
        names.add(name)
    choice = request.tool_choice
    if choice == "required" and not names:
        raise RefusedError("tool_choice: 'required' needs tools", "tool_choice")
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        text = f"tool_choice: there is no tool {choice.function.name!r:.80} among tools"
        raise RefusedError(text, "tool_choice")


def _conversation(request: ChatRequest, settings: ServerSettings) -> Conversation:
    row = {"messages": request.messages, "tools": request.tools}
    try:
        conversation = read_conversation(row, "request")
    except DataError as e:
        text = str(e)
        raise RefusedError(text, "tools" if text.startswith("tools") else "messages") from e
    return conversation.model_copy(update={"meta": tool_text_meta(settings.tool_text)})


def _check_text(prompt: Prompt) -> None:
    """Refuse what no tokenizer takes; JSON can say it."""
    try:
        for turn in prompt:
            turn.content.encode()
    except UnicodeEncodeError as e:
        text = f"half of a character: {e.object[e.start : e.end]!r}"
        raise RefusedError(f"messages or tools: {text}", "messages") from e


def _grammar(
    request: ChatRequest,
    tools: tuple[ToolSchema, ...],
    most_calls: int,
    settings: ServerSettings,
) -> str | None:
    """What the answer has to follow; None leaves it free."""
    form, choice = request.response_format, request.tool_choice
    must_call = choice == "required" or isinstance(choice, NamedTool)
    prompt_format = settings.prompt_format
    if isinstance(form, JsonFormat | SchemaFormat):
        _check_guiding("response_format", settings)
        if tools:
            text = "response_format: JSON excludes calls; set tool_choice to 'none'"
            raise RefusedError(text, "response_format")
        is_any = isinstance(form, JsonFormat)
        return prompt_format.json_grammar(
            {"type": "object"} if is_any else form.json_schema.schema_
        )
    if must_call:
        _check_guiding("tool_choice", settings)
    elif not settings.guided:
        return None
    if isinstance(choice, NamedTool):
        tools = tuple(tool for tool in tools if tool.name == choice.function.name)
    return _calls_grammar(prompt_format, tools, must_call, most_calls)


def _calls_grammar(
    prompt_format: PromptFormat, tools: tuple[ToolSchema, ...], must_call: bool, most_calls: int
) -> str:
    try:
        return prompt_format.grammar(tools, must_call=must_call, most_calls=most_calls)
    except FormatError as e:
        raise RefusedError(f"tools: {e}", "tools") from e


def _check_guiding(field: str, settings: ServerSettings) -> None:
    if not settings.can_guide:
        raise RefusedError(
            f"{field}: needs an engine that guides answers, which this server's does not: serve "
            "with the engine hf (and coalm[guided]) or vllm",
            field,
        )


def _params(
    request: ChatRequest | CompletionRequest, settings: ServerSettings, stop: tuple[str, ...] = ()
) -> SamplingParams:
    default = settings.params
    limit = request.max_tokens
    if isinstance(request, ChatRequest):
        limit = request.max_completion_tokens or limit
    return SamplingParams(
        max_new_tokens=limit or default.max_new_tokens,
        temperature=default.temperature if request.temperature is None else request.temperature,
        top_p=default.top_p if request.top_p is None else request.top_p,
        stop=tuple(dict.fromkeys((*stop, *default.stop, *request.stops))),
        seed=default.seed if request.seed is None else request.seed,
    )
