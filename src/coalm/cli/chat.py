"""`coalm chat`: talk with a model that thinks and calls tools."""

from __future__ import annotations

import json
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


ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Inference file (YAML, Oumi's keys).")
]
ModelOption = Annotated[
    str | None, typer.Option(help="Model directory, or its name on the Hugging Face hub.")
]
AdapterOption = Annotated[Path | None, typer.Option(help="LoRA adapter to put on the model.")]
WorldOption = Annotated[World | None, typer.Option(help="Offer the tools of this small world.")]
ToolsOption = Annotated[
    Path | None,
    typer.Option(help="JSON file of tool schemas; you are asked for the result of every call."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How the model reads and answers.")]
PromptsOption = Annotated[
    Path | None, typer.Option(help="Text file with the instruction, in place of the built-in one.")
]
SystemOption = Annotated[str | None, typer.Option(help="First words for the model: who it is.")]
SessionOption = Annotated[
    Path | None,
    typer.Option(help="File that keeps the conversation (.jsonl); opened again if it is there."),
]
StepsOption = Annotated[int, typer.Option(min=1, help="Times the model may speak in one turn.")]
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
    prompt_format: FormatOption = Format.react,
    prompts: PromptsOption = None,
    system: SystemOption = None,
    session: SessionOption = None,
    max_steps: StepsOption = 10,
    trust_remote_code: TrustOption = False,
) -> None:
    """Talk with a model that thinks and calls tools.

    The model is --model, or the one of the inference file -c; keys of that file can be set after
    the options: generation.temperature=0.7. Input may come from a pipe, one line per turn.
    """
    if world and tools:
        raise typer.BadParameter("--world and --tools exclude each other")
    from coalm.cli.screen import Screen
    from coalm.cli.talk import Opening, load_infer_config, start_talk

    words = [f"model.model_name={json.dumps(model)}"] if model else []
    words += [f"model.adapter_model={json.dumps(str(adapter))}"] if adapter else []
    loaded = load_infer_config(config, [*words, *context.args], trust_remote_code)
    screen = Screen()
    opening = Opening(prompt_format.value, prompts, system, session, max_steps)
    start_talk(screen, loaded, _toolbox(world, tools, screen), opening)


def _toolbox(world: World | None, tools: Path | None, screen: Screen) -> Toolbox:
    from coalm.agent.tool_files import read_tool_schemas
    from coalm.tools import Tool, Toolbox

    if world is World.mini:
        from coalm.world.tools import world_toolbox

        return world_toolbox()
    schemas = read_tool_schemas(tools) if tools else ()
    return Toolbox(Tool(schema, screen.result_of(schema.name)) for schema in schemas)
