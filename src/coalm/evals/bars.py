"""Bars with error bars as SVG, for a web page: no package draws them, no file is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from coalm.evals.intervals import Interval
from coalm.page import escape

_HEIGHT, _TOP, _BOTTOM, _LEFT = 160.0, 12.0, 44.0, 40.0
_FOOT = _TOP + _HEIGHT
_BAR, _GAP = 26.0, 28.0
_COLOURS = 4
"""The style sheet has `run0` to `run3`; beyond, numbers tell the bars apart."""


class Cluster(NamedTuple):
    """The bars of one figure."""

    label: str
    bars: Sequence[Interval | None]
    """One per run; None where a run lacks the figure."""


def draw_bars(title: str, runs: Sequence[str], clusters: Sequence[Cluster]) -> str:
    """An SVG element: a cluster per figure, a bar per run, in percent."""
    bars = [bar for cluster in clusters for bar in cluster.bars if bar]
    top = max([100.0, *(bar.high for bar in bars)])
    width = _LEFT + sum(_width(cluster) for cluster in clusters)
    height = _FOOT + _BOTTOM
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(title)}: {escape(_spoken(runs, clusters))}">'
    ]
    parts += _axis(width, top)
    left = _LEFT
    for cluster in clusters:
        parts += _cluster(runs, cluster, left, top)
        left += _width(cluster)
    return "\n".join([*parts, "</svg>"])


def _width(cluster: Cluster) -> float:
    # a letter of the label is about seven wide
    return max(len(cluster.bars) * _BAR, 7.0 * len(cluster.label)) + _GAP


def _spoken(runs: Sequence[str], clusters: Sequence[Cluster]) -> str:
    found = (
        f"{cluster.label} of {run} {bar.value:.1f}"
        for cluster in clusters
        for run, bar in zip(runs, cluster.bars, strict=True)
        if bar
    )
    return ", ".join(found)


def _axis(width: float, top: float) -> Iterator[str]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share * top, top)
        kind = "axis" if share == 0 else "grid"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{width:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 6, y + 4, f"{share * top:.0f}", "end")


def _cluster(runs: Sequence[str], cluster: Cluster, left: float, top: float) -> Iterator[str]:
    middle = left + _width(cluster) / 2
    start = middle - len(cluster.bars) * _BAR / 2
    for number, (run, bar) in enumerate(zip(runs, cluster.bars, strict=True)):
        x = start + number * _BAR
        yield _text(x + _BAR / 2, _FOOT + 14, str(number + 1))
        if bar is not None:
            yield from _bar(run, cluster.label, bar, x, top, f"run{number % _COLOURS}")
    yield _text(middle, _FOOT + 34, cluster.label)


def _bar(run: str, figure: str, bar: Interval, x: float, top: float, style: str) -> Iterator[str]:
    y, high, low = (_y(value, top) for value in (bar.value, bar.high, bar.low))
    text = f"{run}, {figure}: {bar.value:.1f} ({bar.low:.1f} to {bar.high:.1f})"
    yield f"<g><title>{escape(text)}</title>"
    yield f'<rect class="{style}" x="{x + 2:.1f}" y="{y:.1f}" width="{_BAR - 4}"'
    yield f' height="{_FOOT - y:.1f}"/>'
    yield f'<path class="error" d="M{x + 9:.1f} {high:.1f}h8m-4 0V{low:.1f}m-4 0h8"/></g>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _y(value: float, top: float) -> float:
    return _TOP + _HEIGHT * (1 - value / top)
