"""The loss curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coalm import jsonl
from coalm.errors import MissingExtraError

_SMOOTHING = 0.9


def draw_loss_curve(log: Path, picture: Path) -> None:
    """Draw training and validation loss over the steps in `log` as a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as e:
        raise MissingExtraError("matplotlib", "train") from e
    steps, losses = _points(log, "loss")
    eval_steps, eval_losses = _points(log, "eval_loss")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss per token")
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=1)
    axes.plot(steps, smoothed(losses), color="tab:blue", label="training")
    if eval_losses:
        axes.plot(eval_steps, eval_losses, "o-", color="tab:orange", label="validation")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    scratch = picture.with_name(f".unfinished-{picture.name}")
    FigureCanvasAgg(figure).print_png(str(scratch))
    scratch.replace(picture)


def _points(log: Path, key: str) -> tuple[list[int], list[float]]:
    rows = [row for _, row in jsonl.read(log) if key in row]
    return [row["step"] for row in rows], [row[key] for row in rows]


def smoothed(values: Sequence[float]) -> list[float]:
    """Running mean that forgets, unbiased at its start."""
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total = _SMOOTHING * total + value
        weight = _SMOOTHING * weight + 1
        means.append(total / weight)
    return means
