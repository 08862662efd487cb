from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coalm.cli.world import world
from coalm.errors import DataError

app = typer.Typer()
app.command()(world)


def test_writes_every_layout_and_counts_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "w"), "--seed", "3"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "sgd/train" in result.output
    assert result.output.endswith(f"written to {tmp_path / 'w'}\n")
    folders = {path.name for path in (tmp_path / "w").iterdir()}
    assert folders == {"sgd", "snips", "xlam", "toolace", "world.json"}


def test_strangers_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="holds files that are not a mini world"):
        CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
