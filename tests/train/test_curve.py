"""The loss curve picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.errors import MissingExtraError
from coalm.train.curve import draw_loss_curve, smoothed

ROWS = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[2:], []])
def test_a_picture_is_drawn_from_any_log(tmp_path: Path, rows: list[dict[str, float]]) -> None:
    jsonl.write(tmp_path / "log.jsonl", rows)
    draw_loss_curve(tmp_path / "log.jsonl", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2


def test_without_matplotlib_the_install_line_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'coalm\[train\]'"):
        draw_loss_curve(tmp_path / "log.jsonl", tmp_path / "loss.png")


def test_smoothing_keeps_constants_and_starts_at_the_first_value() -> None:
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert smoothed([1.0, 2.0]) == pytest.approx([1.0, (0.9 + 2.0) / 1.9])
