"""`coalm data teach`: a teacher model writes the thoughts of a data set anew."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.chat import TrustOption
from coalm.cli.plain_text import one_line
from coalm.errors import ConfigError

if TYPE_CHECKING:
    from coalm.data import DataConfig, Teacher
    from coalm.engines.config import InferConfig


def teach(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Data file (YAML) with a section `teacher`.")
    ],
    trust_remote_code: TrustOption = False,
) -> None:
    """Let a teacher model write the thoughts, or whole turns, of a finished build anew.

    Answers are kept as they come: a run that was stopped asks only what has no answer yet. Keys of
    the file can be set after the options: teacher.limit=100.
    """
    from coalm.config import load_config
    from coalm.data import DataConfig

    loaded = load_config(DataConfig, config, context.args)
    for warning in loaded.warnings:
        typer.echo(f"coalm: warning: {one_line(warning)}", err=True)
    if loaded.config.teacher is None:
        raise ConfigError(f"{config} has no section `teacher`")
    _teach(loaded.config, _infer_config(loaded.config.teacher.infer, trust_remote_code))


def _infer_config(path: Path, trust: bool) -> InferConfig:
    from coalm.cli.talk import load_infer_config

    return load_infer_config(path, [], trust)


def _teach(config: DataConfig, infer: InferConfig) -> None:
    from coalm.data import Teacher

    with closing(Teacher(config, infer)) as teacher:
        if questions := teacher.open_questions:
            _ask(teacher, questions)
        manifest = teacher.build()
    counts = manifest.sources["teacher"].counts
    typer.echo(
        f"{counts.get('samples taught', 0):,} samples taught; all answers: "
        f"{counts.get('prompt tokens', 0):,} tokens in, {counts.get('completion tokens', 0):,} out"
    )
    for reason, number in manifest.sources["teacher"].rejected.items():
        typer.echo(f"left out, {one_line(reason)}: {number:,}")
    typer.echo(f"written to {config.teacher.output_dir if config.teacher else ''}")


def _ask(teacher: Teacher, questions: int) -> None:
    from coalm.cli.progress import counted

    asked = tokens_in = tokens_out = 0
    with closing(teacher.load()) as engine:
        for usage in counted(teacher.ask(engine), "asking", 0, questions):
            if usage is not None:
                asked += 1
                tokens_in += usage.prompt_tokens
                tokens_out += usage.completion_tokens
    typer.echo(f"asked {asked:,}: {tokens_in:,} tokens in, {tokens_out:,} out", err=True)
