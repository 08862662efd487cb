"""`coalm serve`: the model of an inference file behind OpenAI's API."""

from __future__ import annotations

import math
import signal
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.chat import Format, FormatOption, PromptsOption, ToolTextOption, TrustOption

if TYPE_CHECKING:
    from coalm.engines.config import InferConfig
    from coalm.server.settings import ServerSettings


def serve(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Inference file (YAML, Oumi's keys).")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="Name of the model for clients; else model.model_name.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="COALM_API_KEY", help="Key that clients have to send."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page's origin that may ask from a browser. May be repeated."),
    ] = None,
    queue: Annotated[int, typer.Option(min=0, help="Requests that wait for a place.")] = 64,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Time that a request may take.")
    ] = 300.0,
    max_mib: Annotated[float, typer.Option(min=0.001, help="Size of a request, in MiB.")] = 4.0,
    prompt_format: FormatOption = Format.react,
    tool_text: ToolTextOption = None,
    prompts: PromptsOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Serve a model to everything that speaks OpenAI's protocol, and the page at /.

    The model is that of the inference file -c, or else coalm-135m, which comes with coalm. Keys of
    the file can be set after the options: generation.batch_size=32 (answers at once). Ctrl-C ends
    the server when the answers under way are complete; a second one ends it at once.
    """
    from coalm.cli.talk import load_infer_config
    from coalm.engines.named import usual_tool_text
    from coalm.formats import get_format
    from coalm.server.settings import ServerSettings

    loaded = load_infer_config(config, context.args, trust_remote_code)
    settings = ServerSettings(
        model=name or loaded.model.model_name,
        prompt_format=get_format(prompt_format.value, prompts),
        tool_text=tool_text.value if tool_text else usual_tool_text(loaded.model.model_name),
        params=loaded.generation.sampling(),
        can_guide=_can_guide(loaded),
        guided=loaded.generation.guided,
        places=loaded.generation.batch_size or ServerSettings.places,
        queue_length=queue,
        max_seconds=max_seconds,
        max_bytes=int(max_mib * 2**20),
        api_key=api_key,
        origins=tuple(origin or ()),
    )
    _run(loaded, settings, host, port)


def _run(config: InferConfig, settings: ServerSettings, host: str, port: int) -> None:
    from coalm.engines import load_engine
    from coalm.errors import needs_extra

    with needs_extra("serve"):
        import uvicorn

        from coalm.server.app import create_app
    # so that the engine is closed; uvicorn passes the signal on when its own work is done
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with closing(load_engine(config)) as engine:
        typer.echo(f"serving {settings.model} at http://{host}:{port}/v1", err=True)
        uvicorn.run(
            create_app(engine, settings),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.max_seconds),
        )


def _can_guide(config: InferConfig) -> bool:
    from coalm.engines import GUIDING

    return config.engine in GUIDING and find_spec("llguidance") is not None
