"""`coalm chat`: talk with a model that thinks and calls tools."""

from __future__ import annotations

import json
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from coalm.cli.screen import Screen
    from coalm.tools import Toolbox

OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings of commands that take `a.b=c` after their options."""


class World(StrEnum):
    """Sets of tools that come with coalm."""

    mini = "mini"


class Format(StrEnum):
    """Prompt formats that a conversation can be held in."""

    react = "react"
    json_calls = "json_calls"
    python_calls = "python_calls"
    system_calls = "system_calls"


class ToolText(StrEnum):
    """How a prompt shows the tools on offer."""

    full = "full"
    signatures = "signatures"
    names = "names"


ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Inference file (YAML, Oumi's keys).")
]
ModelOption = Annotated[
    str | None, typer.Option(help="Model directory, or its name on the Hugging Face hub.")
]
AdapterOption = Annotated[Path | None, typer.Option(help="LoRA adapter to put on the model.")]
WorldOption = Annotated[World | None, typer.Option(help="Offer the tools of this small world.")]
ToolsOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Python file, which is run, with functions to offer (.py); or tool schemas (.json), "
        "and you are asked for the result of every call. May be repeated."
    ),
]
McpOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mcp", help="MCP server to take tools from: its command line or URL. May be repeated."
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How the model reads and answers.")]
ToolTextOption = Annotated[
    ToolText | None,
    typer.Option(
        help="How the model reads the tools; else as signatures, which are short, if it is "
        "coalm-135m, and in full if it is another."
    ),
]
PromptsOption = Annotated[
    Path | None, typer.Option(help="Text file with the instruction, in place of the built-in one.")
]
SystemOption = Annotated[
    str | None,
    typer.Option(help="First words for the model; else, with --world, what day it is there."),
]
SessionOption = Annotated[
    Path | None,
    typer.Option(help="File that keeps the conversation (.jsonl); opened again if it is there."),
]
ReplayOption = Annotated[
    Path | None,
    typer.Option(
        help="Saved conversation to hold once more, by the model or, if none is given, by the "
        "recorded words, with the tools of now; then show what changed."
    ),
]
StepsOption = Annotated[int, typer.Option(min=1, help="Times the model may speak in one turn.")]
SecondsOption = Annotated[
    float | None, typer.Option(min=0.0, help="Seconds after which a turn is ended.")
]
TokensOption = Annotated[
    int | None, typer.Option(min=1, help="Tokens of the model after which a turn is ended.")
]
TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the model's repository run its own code.")
]


def chat(
    context: typer.Context,
    config: ConfigOption = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    world: WorldOption = None,
    tools: ToolsOption = None,
    mcp: McpOption = None,
    prompt_format: FormatOption = Format.react,
    tool_text: ToolTextOption = None,
    prompts: PromptsOption = None,
    system: SystemOption = None,
    session: SessionOption = None,
    replay: ReplayOption = None,
    max_steps: StepsOption = 10,
    max_seconds: SecondsOption = None,
    max_tokens: TokensOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Talk with a model that thinks and calls tools.

    The model is --model, or the one of the inference file -c, or else coalm-135m, which comes with
    coalm. Keys of an inference file can be set after the options: generation.temperature=0.7. Input
    may come from a pipe, one line per turn.
    """
    from coalm.agent.react import Limits
    from coalm.cli.screen import Screen
    from coalm.cli.talk import Opening, load_infer_config, replay_talk, start_talk

    if world and system is None:
        from coalm.world.rules import TODAY_TEXT

        system = TODAY_TEXT
    screen = Screen()
    limits = Limits(max_steps=max_steps, max_seconds=max_seconds, max_tokens=max_tokens)
    opening = Opening(
        prompt_format.value,
        prompts,
        system,
        session,
        limits,
        tool_text=tool_text.value if tool_text else None,
    )
    words = [f"model.model_name={json.dumps(model)}"] if model else []
    words += [f"model.adapter_model={json.dumps(str(adapter))}"] if adapter else []
    words += context.args
    with ExitStack() as stack:
        if replay and not words and config is None:
            replay_talk(screen, None, _toolbox(stack, world, tools, mcp, screen), opening, replay)
            return
        loaded = load_infer_config(config, words, trust_remote_code)
        toolbox = _toolbox(stack, world, tools, mcp, screen)
        if replay:
            replay_talk(screen, loaded, toolbox, opening, replay)
        else:
            start_talk(screen, loaded, toolbox, opening)


def _toolbox(
    stack: ExitStack,
    world: World | None,
    files: list[Path] | None,
    servers: list[str] | None,
    screen: Screen,
) -> Toolbox:
    """All tools that the options name; `stack` holds what has to be closed."""
    from coalm.agent.functions import tools_from_file
    from coalm.agent.mcp_tools import mcp_tools
    from coalm.agent.tool_files import read_tool_schemas
    from coalm.tools import Tool, Toolbox

    found: list[Tool] = []
    if world is World.mini:
        from coalm.world.tools import world_toolbox

        found += world_toolbox().tools
    for path in files or []:
        if path.suffix == ".py":
            found += tools_from_file(path)
        else:
            schemas = read_tool_schemas(path)
            found += [Tool(schema, screen.result_of(schema.name)) for schema in schemas]
    for server in servers or []:
        found += stack.enter_context(mcp_tools(server))
    return Toolbox(found)
