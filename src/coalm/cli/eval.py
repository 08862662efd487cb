"""`coalm eval`: run a benchmark, score it again, put runs side by side."""

from __future__ import annotations

import gc
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coalm.cli.chat import OVERRIDES, AdapterOption, ModelOption, TrustOption
from coalm.cli.plain_text import one_line
from coalm.errors import ConfigError

if TYPE_CHECKING:
    from coalm.evals import EvalConfig, SampleResult, Task
    from coalm.evals.runner import Run

app = typer.Typer(
    help="Run benchmarks, score them again, compare runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Style(StrEnum):
    """Form of the replies in BFCL result files."""

    PROMPT = "prompt"
    CALLS = "calls"


RunsArgument = Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")]


@app.command("list")
def list_benchmarks() -> None:
    """List the benchmarks."""
    from coalm.evals import list_tasks

    for name, about in list_tasks().items():
        typer.echo(f"{name}  {about}")


@app.command(context_settings=OVERRIDES)
def run(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(help="Benchmark, see `coalm eval list`.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Evaluation file (YAML).")
    ] = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    limit: Annotated[int | None, typer.Option(help="At most this many samples.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Run a benchmark on a model, or go on with a run that was stopped.

    Keys of the evaluation file can be set after the options: apibank.form=original.
    """
    options = {
        "model.model_name": model,
        "model.adapter_model": adapter,
        "limit": limit,
        "output_dir": out,
    }
    words = [] if task is None else [task if "=" in task else f"task={task}"]
    words += [f"{key}={_yaml(value)}" for key, value in options.items() if value is not None]
    _run(_load(config, [*words, *context.args], trust_remote_code))


@app.command(context_settings=OVERRIDES)
def score(
    context: typer.Context,
    runs: RunsArgument,
    out: Annotated[
        Path | None, typer.Option(help="Leave the run as it is; score a copy in this folder.")
    ] = None,
) -> None:
    """Score finished or interrupted runs again; needs no model.

    Keys that decide no more than scores can be set behind the runs: bfcl.scoring=strict.
    """
    words = [str(word) for word in runs if "=" in str(word) and not word.exists()]
    folders = [folder for folder in runs if str(folder) not in words]
    if not folders or (out is not None and len(folders) > 1):
        raise ConfigError("score takes one run with --out, one or more without")
    for folder in folders:
        with _no_garbage():
            _score(folder, [*words, *context.args], out)


@app.command("export")
def export_results(
    run: Annotated[Path, typer.Argument(help="Folder of a BFCL run.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="Folder of results; the model's folder is made in it.")],
    model: Annotated[
        str | None,
        typer.Option(help="A model of the official tool; says how it decodes the replies."),
    ] = None,
) -> None:
    """Write the replies of a BFCL run as result files that the official tool can score."""
    from coalm.evals.bfcl.exchange import export_run

    written = export_run(run, out, model)
    typer.echo(f"written: {len(written)} files in {written[0].parent if written else out}")


@app.command("import")
def import_results(
    files: Annotated[
        list[Path],
        typer.Argument(help="BFCL result files, or folders of them.", metavar="FILE..."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run that is made.")],
    model: Annotated[
        str | None, typer.Option(help="Name of the model; default: that of the files' folder.")
    ] = None,
    style: Annotated[
        Style | None, typer.Option(help="Form of the replies; default: found out.")
    ] = None,
) -> None:
    """Make a run of result files of the official BFCL tool, and score it."""
    from coalm.evals.bfcl.exchange import import_run

    first = files[0].resolve()
    name = model or (first if first.is_dir() else first.parent).name
    with _no_garbage():
        import_run(files, out, name, None if style is None else style.value)
        _score(out)


@app.command()
def report(
    runs: RunsArgument,
    out: Annotated[
        Path | None, typer.Option(help="Write report.md and report.png into this folder.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a web page with every sample to browse.")
    ] = None,
) -> None:
    """Put runs side by side, with intervals; the first one is what the others are compared with.

    Without --out and --html the report is printed as Markdown.
    """
    from coalm.evals import load_task
    from coalm.evals.compare import compare_runs, load_runs
    from coalm.evals.report import markdown, summary

    loaded = load_runs(runs)
    task = load_task(loaded[0].info.config)
    of = compare_runs(task, loaded)
    if out is None and html is None:
        typer.echo(markdown(of), nl=False)
        return
    written: list[Path] = []
    if out is not None:
        from coalm.evals.picture import draw

        out.mkdir(parents=True, exist_ok=True)
        written += [out / "report.md", out / "report.png"]
        written[0].write_text(markdown(of), encoding="utf-8")
        draw(of, written[1])
    if html is not None:
        from coalm.evals.report_page import report_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(report_page(of, task.samples()), encoding="utf-8")
        written.append(html)
    typer.echo(summary(task, loaded), nl=False)
    typer.echo(f"written: {', '.join(map(str, written))}")


@contextmanager
def _no_garbage() -> Generator[None]:
    """Rows and samples live to the end; looking for garbage among them is a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor at the end of the process
        gc.enable()


def _score(folder: Path, words: Sequence[str] = (), out: Path | None = None) -> None:
    from coalm.evals import load_task
    from coalm.evals.base import subset
    from coalm.evals.runner import score_rows, sum_up
    from coalm.evals.runs import adopt_task, copy_run, read_info, with_scoring

    info = with_scoring(read_info(folder), words)
    if out is not None:
        copy_run(folder, out)
        folder = out
    config = info.config
    task = load_task(config)
    adopt_task(folder, info, task)
    rows = score_rows(task, subset(task.samples(), config.limit, config.seed), folder)
    sum_up(task, rows, folder)
    _print_summary(task, folder, rows)


def _yaml(value: object) -> str:
    return json.dumps(value if isinstance(value, int) else str(value))


def _load(path: Path | None, words: list[str], trust: bool) -> EvalConfig:
    from coalm.config import load_config
    from coalm.evals import EvalConfig

    if path is None:
        for key, lack in (
            ("model.model_name", "no model; give --model PATH"),
            ("output_dir", "no place for the results; give --out FOLDER"),
        ):
            if not any(word.removeprefix("--").startswith(key) for word in words):
                raise ConfigError(f"{lack}, or an evaluation file with -c FILE")
    loaded = load_config(EvalConfig, path, words, trust_remote_code=trust)
    for warning in loaded.warnings:
        _warn(warning)
    return loaded.config


def _run(config: EvalConfig) -> None:
    from coalm.evals import load_task
    from coalm.evals.runner import begin, score_rows, sum_up

    task = load_task(config)
    ready = begin(config, task)
    failed = [row for row in _generated(config, task, ready) if row.error]
    rows = score_rows(task, ready.samples, ready.folder)
    metrics = sum_up(task, rows, ready.folder)
    _print_summary(task, ready.folder, rows)
    for row in failed[:3]:
        _warn(f"{row.id} failed: {row.error}")
    if metrics.too_long:
        _warn(
            f"{metrics.too_long} of {metrics.samples} dialogues outgrew the model's context and "
            "count as wrong"
        )
    if again := metrics.failed - metrics.too_long:
        _warn(
            f"{again} of {metrics.samples} samples have an error; the same command tries them again"
        )


def _warn(text: str) -> None:
    typer.echo(f"coalm: warning: {one_line(text)}", err=True)


def _generated(config: EvalConfig, task: Task, ready: Run) -> Iterable[SampleResult]:
    """The rows that were still to do, each as soon as it is there."""
    from coalm.engines import load_engine
    from coalm.evals.runner import generate

    done, total = len(ready.samples) - len(ready.pending), len(ready.samples)
    if done:
        typer.echo(f"{ready.folder}: going on after {done} of {total} samples", err=True)
    if not ready.pending:
        return
    sampling = config.generation.sampling()
    params = sampling.model_copy(update={"stop": (*task.stop, *sampling.stop)})
    batch_size = config.generation.batch_size or 1
    with closing(load_engine(config)) as engine:
        rows = generate(task, ready.pending, engine, ready.folder, params, batch_size)
        yield from _with_progress(rows, done, total)


def _with_progress(rows: Iterable[SampleResult], done: int, total: int) -> Iterator[SampleResult]:
    """The same rows, with a bar on stderr: how many, how fast, how long still."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total, completed=done, rate="")
        for row in rows:
            speed = progress.tasks[0].speed
            progress.update(bar, advance=1, rate=f"{speed:.2f}/s" if speed else "")
            yield row


def _print_summary(task: Task, folder: Path, rows: list[SampleResult]) -> None:
    from coalm.evals.report import summary
    from coalm.evals.runs import ScoredRun, read_info

    scored = ScoredRun(folder.resolve().name, read_info(folder), rows)
    typer.echo(summary(task, [scored]), nl=False)
    typer.echo(f"all figures: coalm eval report {folder}")
