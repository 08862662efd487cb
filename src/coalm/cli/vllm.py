"""`coalm vllm-template`: the chat template with which `vllm serve` serves a CoALM model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coalm.cli.chat import PromptsOption


class TemplateFormat(StrEnum):
    """Prompt formats that there are templates of."""

    react = "react"
    json_calls = "json_calls"


def vllm_template(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; else it is printed.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model directory or hub name, of which the own chat template is taken."),
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(help="Chat template in its place: chatml, llama3, llama3_1, or a Jinja file."),
    ] = None,
    prompt_format: Annotated[
        TemplateFormat, typer.Option("--format", help="How the model reads and answers.")
    ] = TemplateFormat.react,
    prompts: PromptsOption = None,
) -> None:
    """Make the chat template with which vllm serve asks a model in our prompt format.

    Give --model or --chat-template. With --output, what vllm has to be told is shown.
    """
    from coalm.server.vllm_template import vllm_template as made

    text = made(prompt_format.value, _family(model, chat_template), prompts)
    if output is None:
        typer.echo(text)
        return
    output.write_text(text + "\n", encoding="utf-8")
    plugin = "coalm.server.vllm_tool_parser"
    name = "coalm" if prompt_format is TemplateFormat.react else f"coalm_{prompt_format.value}"
    typer.echo(
        f"vllm serve {model or 'MODEL'} --chat-template {output} --enable-auto-tool-choice"
        f" --tool-parser-plugin {plugin} --tool-call-parser {name}"
        f" --reasoning-parser-plugin {plugin} --reasoning-parser {name}"
    )


def _family(model: str | None, chat_template: str | None) -> str:
    from coalm.chat_template import load_tokenizer, template_text
    from coalm.errors import ConfigError, TemplateError

    if chat_template is not None:
        return template_text(chat_template)
    if model is None:
        raise ConfigError("which model is it for? Give --model, or --chat-template")
    try:
        return load_tokenizer(model).get_chat_template()
    except ValueError as e:
        raise TemplateError(f"{model} has no chat template; give one with --chat-template") from e
