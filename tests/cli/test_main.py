from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import coalm


def run_with(body: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run the real command line with one more command, `coalm extra`, whose body is `body`."""
    code = f"""
import os, sys
from coalm.cli.main import app, main
from coalm.errors import ConfigError

@app.command()
def extra() -> None:
    {body}

sys.argv = ["coalm", "extra"]
main()
"""
    return subprocess.run(
        [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def coalm_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coalm", *arguments], capture_output=True, text=True, check=False
    )


def test_version() -> None:
    done = coalm_command("--version")
    assert (done.returncode, done.stdout) == (0, f"coalm {coalm.__version__}\n")


def test_without_arguments_the_help_is_shown() -> None:
    done = coalm_command()
    # on stdout or stderr, depending on the version of typer
    shown = done.stdout + done.stderr
    assert shown.startswith("Usage: coalm [OPTIONS] COMMAND [ARGS]...\n")
    assert "--version" in shown


def test_every_command_file_is_registered() -> None:
    lines = coalm_command("--help").stdout.partition("Commands:\n")[2].splitlines()
    shown = {line.split()[0] for line in lines if re.match(r"  \w", line)}
    assert shown == {
        *("fetch", "world", "data", "train", "merge", "export", "push", "eval", "chat", "infer"),
        *("env", "serve", "vllm-template"),
    }


def test_an_unknown_command_is_a_usage_error() -> None:
    done = coalm_command("chatt")
    assert done.returncode == 2
    assert "No such command 'chatt'" in done.stderr


def test_an_error_of_ours_is_one_line() -> None:
    done = run_with(r'raise ConfigError("a.yaml: no key\n  `modle`; did you mean \x1b[1m`model`?")')
    assert done.returncode == 1
    assert done.stderr == "coalm: a.yaml: no key   `modle`; did you mean \\x1b[1m`model`?\n"
    assert done.stdout == ""


def test_a_defect_keeps_its_traceback() -> None:
    done = run_with('raise KeyError("defect")')
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("KeyError: 'defect'\n")


@pytest.mark.parametrize("body", ["raise KeyboardInterrupt", "os.kill(os.getpid(), 2)"])
def test_ctrl_c_ends_with_130_and_without_a_traceback(body: str) -> None:
    done = run_with(body)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


def test_a_closed_pipe_ends_the_command_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run_with("[print('row', n) for n in range(100_000)]", stdout=write_end)
    os.close(write_end)
    assert done.stderr == ""
    assert done.returncode == 1
