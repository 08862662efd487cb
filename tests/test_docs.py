"""The pages say what is so: Python blocks run, commands and links exist, the CLI page is current.

`pytest --update-golden tests/test_docs.py` writes docs/cli.md anew. A Python block that opens with
`# needs: model` runs where SmolLM2 is at hand; all others need nothing but the package.
"""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
import typer.main

from coalm.cli.main import app
from coalm.config import ConfigModel, load_config
from coalm.data.config import DataConfig
from coalm.engines.config import InferConfig
from coalm.evals.config import EvalConfig
from coalm.train.config import TrainConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md"])
NEEDS_MODEL = "# needs: model\n"
FORBIDDEN = re.compile(r"/work\b|/tmp\b|/home\b|/root\b|\.\./shared|workplace", re.IGNORECASE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_OWN_FILE = re.compile(r"(?:configs|benchmarks|examples|src|tests)/[\w./-]+\.\w+")
CONFIGS: dict[str, type[ConfigModel]] = {
    "coalm data build": DataConfig,
    "coalm train": TrainConfig,
    "coalm chat": InferConfig,
    "coalm infer": InferConfig,
    "coalm serve": InferConfig,
    "coalm eval run": EvalConfig,
}
_TREE: Any = typer.main.get_command(app)


class Block(NamedTuple):
    """A fenced piece of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            language, body = found.groups()
            if language in languages:
                line = text.count("\n", 0, found.start()) + 1
                yield Block(page.name, line, language, body)


def command_lines() -> Iterator[tuple[str, str]]:
    """(place, line) of everything that the pages tell people to type."""
    for block in blocks("bash", "console"):
        for line in block.text.replace("\\\n", " ").splitlines():
            typed = line.removeprefix("$ ")
            if block.language == "bash" or typed != line:
                yield f"{block.page}:{block.line}", typed


def coalm_lines() -> list[tuple[str, str]]:
    # a path such as `.venv/bin/coalm` is the same command
    lines = [
        (place, re.sub(r"^(?:\w+=\S+ )*\S*/?coalm\b", "coalm", t)) for place, t in command_lines()
    ]
    return [(place, line) for place, line in lines if line.startswith("coalm ")]


def ids(items: list[Any]) -> list[str]:
    return [" ".join(map(str, item[:2])) for item in items]


PYTHON = list(blocks("python"))
LINES = coalm_lines()


def test_there_is_something_to_check() -> None:
    assert len(PYTHON) >= 2
    assert len(LINES) >= 20


def test_the_cli_page_is_current(request: pytest.FixtureRequest) -> None:
    path, page = DOCS / "cli.md", cli_page()
    if request.config.getoption("--update-golden"):
        path.write_text(page, encoding="utf-8")
    hint = "run pytest --update-golden tests/test_docs.py and read the result"
    assert path.read_text(encoding="utf-8") == page, hint


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, marks=[pytest.mark.model] if block.text.startswith(NEEDS_MODEL) else [])
        for block in PYTHON
    ],
    ids=ids(PYTHON),
)
def test_python_blocks_run(
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if block.text.startswith(NEEDS_MODEL):
        request.getfixturevalue("smollm2")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    runpy.run_path(str(script))


@pytest.mark.parametrize(("place", "line"), LINES, ids=ids(LINES))
def test_commands_and_their_options_exist(place: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command, path = _TREE, ["coalm"]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        path.append(words.pop(0))
        assert path[-1] in command.commands, f"{place}: there is no command {' '.join(path)}"
        command = command.commands[path[-1]]
    options = {name: o for o in command.params for name in (*o.opts, *o.secondary_opts)}
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    unknown = [flag for flag in flags if flag not in options and flag != "--help"]
    assert not unknown, f"{place}: {' '.join(path)} has no option {unknown[0]}"


CONFIGURED = [
    (place, line, model)
    for place, line in LINES
    for command, model in CONFIGS.items()
    if line.startswith(command)
]


@pytest.mark.parametrize(("place", "line", "model"), CONFIGURED, ids=ids(CONFIGURED))
def test_configurations_load_with_the_keys_that_are_set(
    place: str, line: str, model: type[ConfigModel]
) -> None:
    words = shlex.split(line, comments=True)
    given = [path for flag, path in pairwise(words) if flag in ("-c", "--config")]
    keys = [word for word in words if re.match(r"[a-z][\w.]*=", word)]
    defaults = [] if given else ["model.model_name=x"]
    if model is EvalConfig and not given:
        defaults.append("output_dir=x")
    load_config(model, ROOT / given[0] if given else None, [*defaults, *keys])


def test_files_of_the_repository_that_are_named_exist() -> None:
    named = {
        (page.name, name)
        for page in PAGES
        for name in _OWN_FILE.findall(page.read_text(encoding="utf-8"))
    }
    # a page that shows how to add something names files that are not there yet
    lacking = sorted(
        f"{page}: {name}"
        for page, name in named
        if not (ROOT / name).exists() and not re.search(r"(?:^|[/_])x\.|/x/", name)
    )
    assert named
    assert lacking == []


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_inside_the_repository_lead_somewhere() -> None:
    broken: list[str] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for link in _LINK.findall(text):
            path, _, anchor = link.partition("#")
            if "://" in link or link.startswith("mailto:"):
                continue
            target = (page.parent / path) if path else page
            if not target.exists():
                broken.append(f"{page.name}: {link}")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{page.name}: {link} (no such heading)")
    assert broken == []


def test_the_index_lists_every_page() -> None:
    listed = set(_LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - listed == {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_page_names_a_place_of_the_machine_it_was_written_on(page: Path) -> None:
    assert FORBIDDEN.findall(page.read_text(encoding="utf-8")) == []


def cli_page() -> str:
    """Every command with its arguments and options, as Markdown.

    Made from the declarations: the look of `--help` depends on typer's version and the terminal.
    """
    intro = (
        "Made from the command line itself. Commands with a configuration take its keys after their"
    )
    outro = "options: `a.b=c` or `--a.b c`."
    return "\n\n".join(["# Command line", f"{intro}\n{outro}", *_sections(_TREE, "coalm")]) + "\n"


def _sections(command: Any, name: str) -> Iterator[str]:
    yield f"## `{name}`"
    yield inspect.cleandoc(command.help)
    kinds = get_type_hints(command.callback) if command.callback else {}
    rows = [_row(param, kinds[param.name]) for param in command.params if param.name in kinds]
    if rows:
        yield "\n".join(["| argument, option | meaning |", "|---|---|", *rows])
    for child, found in getattr(command, "commands", {}).items():
        yield from _sections(found, f"{name} {child}")


def _row(param: Any, kind: Any) -> str:
    argument = param.param_type_name == "argument"
    names = [param.metavar or param.name.upper()] if argument else param.opts
    meaning = [param.help]
    for found in (kind, *get_args(kind)):
        if isinstance(found, type) and issubclass(found, StrEnum):
            meaning.append(f"One of {', '.join(found)}.")
    if param.required:
        meaning.append("Required.")
    elif param.default is not None and not isinstance(param.default, bool):
        meaning.append(f"Default: {param.default}.")
    return f"| {', '.join(f'`{name}`' for name in names)} | {' '.join(meaning)} |"
