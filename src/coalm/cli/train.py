"""`coalm train` and `coalm merge`: from a training file to an adapter, and on to a whole model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.plain_text import one_line
from coalm.errors import MissingExtraError

if TYPE_CHECKING:
    from coalm.train.run import TrainResult

_PACKAGES = ("torch", "transformers", "peft", "safetensors", "accelerate")

TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the model's repository run its own code.")
]


def train(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Training file (YAML, Oumi's keys).")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is in training.output_dir.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it takes: memory, tokens, hours.")
    ] = False,
    gpu: Annotated[str, typer.Option(help="With --plan: the accelerator.")] = "H100",
    devices: Annotated[
        int | None, typer.Option(min=1, help="With --plan: how many; else several numbers.")
    ] = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Fine-tune a model; the same command again goes on where a stopped run was.

    Keys of the file can be set after the options: training.max_steps=20. Ctrl-C saves a checkpoint
    and ends. Several processes share the work: torchrun --nproc-per-node N -m coalm train -c FILE.
    """
    from rich.console import Console

    from coalm.config import load_config
    from coalm.train.config import TrainConfig

    loaded = load_config(TrainConfig, config, context.args, trust_remote_code=trust_remote_code)
    for warning in loaded.warnings if os.environ.get("RANK", "0") == "0" else ():
        typer.echo(f"coalm: warning: {one_line(warning)}", err=True)
    _load_packages()
    if plan:
        from coalm.train.gpus import find_gpu
        from coalm.train.plan import make_plan
        from coalm.train.plan_report import show_plan

        show_plan(Console(), make_plan(loaded.config, find_gpu(gpu), devices=devices))
        return
    from coalm.train.ranks import joined
    from coalm.train.run import train as run_training

    with joined() as ranks:
        result = run_training(loaded.config, overwrite=overwrite, console=Console(), ranks=ranks)
    if ranks.main:
        _print_result(result)
    if result.trained is None:
        raise typer.Exit(130)


def _print_result(result: TrainResult) -> None:
    if result.trained is None:
        typer.echo(
            f"stopped after step {result.step}; the checkpoint is in {result.folder}; the same "
            "command again goes on from it",
            err=True,
        )
        return
    losses = (("loss", result.loss), ("validation loss", result.eval_loss))
    known = [f"{name} {value:.4f}" for name, value in losses if value is not None]
    typer.echo(", ".join([f"{result.step} steps", *known]))
    typer.echo(f"trained: {result.trained}")
    if result.picture is not None:
        typer.echo(f"curve:   {result.picture}")


def merge(
    run: Annotated[
        Path, typer.Argument(help="Run folder, checkpoint or LoRA adapter.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    base: Annotated[
        str | None, typer.Option(help="Base model, in place of the one that the adapter names.")
    ] = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Merge an adapter into its base model: one folder that loads like any other model."""
    _load_packages()
    from coalm.train.merge import merge as run_merge

    typer.echo(run_merge(run, out, base=base, trust_remote_code=trust_remote_code))


def export(
    run: Annotated[
        Path, typer.Argument(help="Run folder, LoRA adapter or whole model.", metavar="RUN")
    ],
    gguf: Annotated[Path, typer.Option(help="GGUF file to make, for llama.cpp.")],
    number_type: Annotated[
        str, typer.Option("--type", help="Type of its matrices: f32, f16 or bf16.")
    ] = "f16",
    base: Annotated[
        str | None, typer.Option(help="Base model, in place of the one that the adapter names.")
    ] = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Write a trained model, an adapter merged into its base, as one GGUF file."""
    _load_packages()
    from coalm.train.gguf_export import export_gguf

    done = export_gguf(
        run, gguf, number_type=number_type, base=base, trust_remote_code=trust_remote_code
    )
    typer.echo(done)


def push(
    run: Annotated[
        Path, typer.Argument(help="Run folder, or a folder with weights in it.", metavar="RUN")
    ],
    repository: Annotated[str, typer.Option("--to", help="Repository on the Hub: OWNER/NAME.")],
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may see a repository that is made anew.")
    ] = False,
) -> None:
    """Upload a trained adapter or model with its card to the Hugging Face Hub."""
    _load_packages()
    from coalm.train.push import push as run_push

    typer.echo(run_push(run, repository, private=not public))


def _load_packages() -> None:
    from importlib.util import find_spec

    for package in _PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "train")

    import logging

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # its bars would break ours
    # It looks for a faster CPU kernel that is no dependency of ours, and complains each time.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
