"""Importing coalm, and asking the command line for help, stays light."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import coalm

HEAVY = {
    *("torch", "transformers", "vllm", "peft", "matplotlib", "datasets", "openai", "fastapi"),
    *("accelerate", "safetensors", "gguf", "bitsandbytes", "numpy", "nltk", "jieba"),
}
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import coalm",
        "import coalm.agent.session, coalm.agent.tool_files, coalm.world, coalm.evals",
        "import coalm.formats.react, coalm.formats.json_calls, coalm.formats.python_calls",
    ],
)
def test_importing_the_package_is_light(code: str) -> None:
    loaded = modules_after(code)
    assert "coalm" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_asking_for_help_is_light(arguments: list[str]) -> None:
    code = f"""
import sys
from coalm.cli.main import main
sys.argv = ["coalm", *{arguments}]
try:
    main()
except SystemExit as e:
    assert e.code == 0, e.code
"""
    loaded = modules_after(code)
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_a_heavy_import_would_be_seen() -> None:
    assert modules_after("import json.tool, argparse") >= {"json", "argparse"}


def test_every_public_name_is_there_once() -> None:
    assert sorted(set(coalm.__all__)) == sorted(coalm.__all__)
    assert [name for name in coalm.__all__ if not hasattr(coalm, name)] == []


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads(
        (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert coalm.__version__ == project["project"]["version"]
