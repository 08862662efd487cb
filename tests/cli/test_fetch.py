from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coalm import assets
from coalm.assets import Asset
from coalm.cli.fetch import fetch
from coalm.errors import AssetError
from coalm.origins import Repository

TOY = Asset(
    name="toy",
    about="two files",
    licence="CC0-1.0",
    megabytes=0.1,
    origins=(
        Repository(
            repository="someone/toy",
            commit="c0ffee",
            files={
                "a.json": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
                "b.json": None,
            },
        ),
    ),
)
app = typer.Typer()
app.command()(fetch)


@pytest.fixture(autouse=True)
def user_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(assets.ASSETS, "toy", TOY)
    monkeypatch.setenv("COALM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COALM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "data"
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "a.json").write_bytes(b"[]")
    return folder


def run(*names: str) -> list[str]:
    return CliRunner().invoke(app, names, catch_exceptions=False).output.splitlines()


def row(lines: list[str], name: str) -> str:
    return " ".join(next(line for line in lines if line.startswith(name)).split())


def test_without_a_name_everything_is_listed(user_data: Path) -> None:
    lines = run()
    assert row(lines, "toy") == "toy two files 0.1 1 of 2 in COALM_DATA"
    assert row(lines, "snips") == "snips SNIPS custom intents 4.7 not here"
    assert row(lines, "smollm2-135m-instruct").endswith("made on first use")
    assert row(lines, "coalm-135m").endswith("made on first use")
    assert len(lines) == len(assets.ASSETS) + 5
    assert lines[-2:] == [f"COALM_DATA = {user_data}", f"cache      = {assets.home()}"]


def test_a_damaged_archive_does_not_stop_the_list(user_data: Path) -> None:
    (user_data / "toy" / "toy.zip").write_bytes(b"cut")
    lines = run()
    assert "cannot be read as an archive" in " ".join(" ".join(lines).split())
    assert row(lines, "snips").endswith("not here")


def test_a_name_says_how_many_files_were_checked(user_data: Path) -> None:
    (user_data / "toy" / "b.json").write_bytes(b"{}")
    assert run("toy") == [
        f"toy: 2 of 2 files in {user_data}/toy, 1 checked, 1 without a known checksum; "
        "licence CC0-1.0"
    ]


def test_a_wrong_name_stops_before_anything_is_fetched(user_data: Path) -> None:
    with pytest.raises(AssetError) as caught:
        run("toy", "snip")
    assert str(caught.value) == (
        "'snip' is nothing to fetch; there are: smollm2-wheel, snips, sgd, apibank, hammer, "
        "xlam, toolace, sealtools, toolalpaca, bfcl-wheel, multiwoz, toy, smollm2-135m-instruct, "
        "coalm-135m"
    )


@pytest.mark.model
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "coalm-135m"])
def test_a_model_can_be_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    folder = assets.home() / "models" / name
    # progress bars go to stderr
    done = CliRunner().invoke(app, [name], catch_exceptions=False)
    assert done.stdout == f"{name}: ready in {folder}\n"
