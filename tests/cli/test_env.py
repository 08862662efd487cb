from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import coalm
from coalm import assets
from coalm.cli.env import env

app = typer.Typer()
app.command()(env)


def rows() -> dict[str, str]:
    lines = CliRunner().invoke(app, catch_exceptions=False).output.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    monkeypatch.delenv("COALM_DATA", raising=False)


def test_versions_machine_and_settings(tmp_path: Path) -> None:
    found = rows()
    assert found["coalm"] == coalm.__version__
    assert found["python"].startswith(f"{platform.python_version()} (")
    assert found["pydantic"][0].isdigit()
    assert found["device"].split(":")[0] in {"cpu", "mps", "cuda", "unknown without torch"}
    assert int(found["cores"]) >= 1
    assert found["COALM_HOME"] == str(tmp_path)
    assert found["COALM_DATA"] == "not set"


def test_every_asset_has_a_row() -> None:
    found = rows()
    assert {found[name] for name in assets.ASSETS} == {"not here"}
    assert found["smollm2-135m-instruct"] == found["coalm-135m"] == "made on first use"


def test_defaults_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COALM_HOME")
    assert rows()["COALM_HOME"] == f"not set, {Path.home()}/.cache/coalm"


def test_a_machine_without_torch_is_described_too() -> None:
    code = """
import importlib.util
importlib.util.find_spec = lambda name: None
from coalm.cli.env import env
env()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\ndevice                 unknown without torch\n" in done.stdout
