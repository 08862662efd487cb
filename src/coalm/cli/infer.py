"""`coalm infer`: the model of an inference file, as the file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coalm.cli.chat import Format, FormatOption, PromptsOption, TrustOption


def infer(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Inference file (YAML, Oumi's keys).")
    ],
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Talk with the model.")
    ] = False,
    prompt_format: FormatOption = Format.react,
    prompts: PromptsOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Talk with the model of an inference file.

    `coalm chat -c FILE` is the same with tools and sessions. Keys of the file can be set after the
    options: generation.temperature=0.7.
    """
    if not interactive:
        raise typer.BadParameter("add -i; talking is what this command can do")
    from coalm.cli.screen import Screen
    from coalm.cli.talk import Opening, load_infer_config, start_talk
    from coalm.tools import Toolbox

    loaded = load_infer_config(config, context.args, trust_remote_code)
    start_talk(Screen(), loaded, Toolbox(()), Opening(prompt_format.value, prompts))
