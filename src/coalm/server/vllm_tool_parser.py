"""The plug-in with which `vllm serve` reads the answers of a CoALM model.

::

    vllm serve MODEL --chat-template coalm.jinja --enable-auto-tool-choice \
        --tool-parser-plugin coalm.server.vllm_tool_parser --tool-call-parser coalm \
        --reasoning-parser-plugin coalm.server.vllm_tool_parser --reasoning-parser coalm

Importing it registers, under the names in `PARSERS`, a tool parser that tells calls and reply from
an answer, and a reasoning parser that tells its thoughts. vLLM's own interface divides this work by
where reasoning ends; a CoALM answer may think again at any time. So while an answer is streamed the
tool parser reads all of it, thoughts included, and the reasoning parser stands aside; without a
reasoning parser thoughts are left out.

An answer that is not streamed goes through the same reader in one piece, so both come to the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from coalm.formats import get_format
from coalm.formats.grammar import MOST_CALLS
from coalm.formats.reader import Delta, Reader
from coalm.types import ToolSchema

# vLLM is typed in parts only, and this file is checked where it is not installed
_protocol: Any = importlib.import_module("vllm.entrypoints.generate.base.protocol")
_requests: Any = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
_ids: Any = importlib.import_module("vllm.renderers.chat_utils")
_sampling: Any = importlib.import_module("vllm.sampling_params")
_tool_parsers: Any = importlib.import_module("vllm.tool_parsers")
_reasoning: Any = importlib.import_module("vllm.reasoning")

PARSERS = {"coalm": "react", "coalm_json_calls": "json_calls"}
"""Names for `--tool-call-parser` and `--reasoning-parser`, each with the format that it reads."""


class CoalmToolParser(_tool_parsers.ToolParser):
    """Reads one answer in the format react."""

    format_name: ClassVar[str] = "react"
    engine_based_streaming = True  # gives deltas and a flush in the end, without the text before
    supports_required_and_named = False  # a call that must be made is written in our format, too
    skip_reasoning_parsing = False  # vLLM sets this when there is no reasoning parser

    def __init__(self, tokenizer: Any, tools: Any = None) -> None:
        super().__init__(tokenizer, tools)
        self._format = get_format(self.format_name)
        self._reader: Reader | None = None
        self._calls = 0

    def adjust_request(self, request: Any) -> Any:
        """Let the answer end where the format ends it; a call that must be made gets a grammar."""
        if isinstance(request, _requests.ChatCompletionRequest):
            own = [request.stop] if isinstance(request.stop, str) else request.stop or []
            request.stop = list(dict.fromkeys((*own, *self._format.stop)))
            grammar = self._grammar(request)
            if grammar is not None:
                request.structured_outputs = _sampling.StructuredOutputsParams(grammar=grammar)
                request.response_format = None
        return request

    def _grammar(self, request: Any) -> str | None:
        """What an answer with `tool_choice` required, or of a tool by its name, looks like."""
        choice = request.tool_choice
        name = getattr(getattr(choice, "function", None), "name", None)
        if not request.tools or (choice != "required" and name is None):
            return None
        tools = [_schema(tool) for tool in request.tools if name in (None, tool.function.name)]
        single = name is not None or request.parallel_tool_calls is False
        return self._format.grammar(tools, must_call=True, most_calls=1 if single else MOST_CALLS)

    def extract_tool_calls(self, model_output: str, request: Any) -> Any:
        """Calls and reply of a whole answer."""
        reader = self._new_reader(request)
        calls: list[dict[str, str]] = []
        reply = ""
        for delta in (*reader.feed(model_output), *reader.end()):
            if delta.kind == "call":
                calls.append({"name": delta.text, "arguments": ""})
            elif delta.kind == "arguments":
                calls[-1]["arguments"] += delta.text
            elif delta.kind == "content":
                reply += delta.text
        return _protocol.ExtractedToolCallInformation(
            tools_called=bool(calls),
            tool_calls=[
                _protocol.ToolCall(function=_protocol.FunctionCall(**call)) for call in calls
            ],
            content=reply or None,
        )

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> Any:
        """What is certain after a further piece of the answer; None while that is nothing."""
        if self._reader is None:
            self._reader = self._new_reader(request)
        return self._message(self._reader.feed(delta_text))

    def finish_streaming(self) -> Any:
        """What is left when the answer is complete, or was cut off."""
        return None if self._reader is None else self._message(self._reader.end())

    def _new_reader(self, request: Any) -> Reader:
        calls = bool(getattr(request, "tools", None)) and request.tool_choice != "none"
        return self._format.reader(calls=calls)

    def _message(self, deltas: Iterable[Delta]) -> Any:
        texts = {"thought": "", "content": ""}
        calls: dict[int, Any] = {}
        for delta in deltas:
            if delta.kind == "call":
                calls[self._calls] = self._begin(delta.text)
                self._calls += 1
            elif delta.kind == "arguments":
                at = self._calls - 1
                calls.setdefault(at, self._go_on()).function.arguments += delta.text
            else:
                texts[delta.kind] += delta.text
        thought = "" if self.skip_reasoning_parsing else texts["thought"]
        if not (thought or texts["content"] or calls):
            return None
        given: dict[str, Any] = {"reasoning": thought, "content": texts["content"]}
        if calls:
            given["tool_calls"] = list(calls.values())
        return _protocol.DeltaMessage(**{name: value for name, value in given.items() if value})

    def _begin(self, name: str) -> Any:
        return _protocol.DeltaToolCall(
            index=self._calls,
            id=_ids.make_tool_call_id(),
            type="function",
            function=_protocol.DeltaFunctionCall(name=name, arguments=""),
        )

    def _go_on(self) -> Any:
        return _protocol.DeltaToolCall(
            index=self._calls - 1, function=_protocol.DeltaFunctionCall(arguments="")
        )


class CoalmReasoningParser(_reasoning.ReasoningParser):
    """Tells the thoughts of an answer in the format react."""

    format_name: ClassVar[str] = "react"
    engine_based_streaming = True  # or vLLM would not take the tool parser for such a one, either

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """From the first token on the tool parser reads; a grammar holds from there, too."""
        return True

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """The tool parser reads all of them."""
        return input_ids

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """The thoughts of a whole answer, and all of it for the tool parser."""
        reader = get_format(self.format_name).reader()
        deltas = (*reader.feed(model_output), *reader.end())
        thought = "".join(delta.text for delta in deltas if delta.kind == "thought")
        return thought or None, model_output

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> Any:
        """Everything goes on to the tool parser."""
        return _protocol.DeltaMessage(content=delta_text)


def _schema(tool: Any) -> ToolSchema:
    function = tool.function
    given = {"description": function.description, "parameters": function.parameters}
    known = {name: value for name, value in given.items() if value is not None}
    return ToolSchema(name=function.name, **known)


def register() -> None:
    """Make the parsers known to vLLM under the names in `PARSERS`."""
    for name, format_name in PARSERS.items():
        own = {"format_name": format_name}
        _tool_parsers.ToolParserManager.register_module(
            name, module=type(f"CoalmToolParser_{format_name}", (CoalmToolParser,), own)
        )
        _reasoning.ReasoningParserManager.register_module(
            name, module=type(f"CoalmReasoningParser_{format_name}", (CoalmReasoningParser,), own)
        )


register()
