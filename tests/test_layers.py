"""The import ladder of the package, read from the source: nobody imports upwards or in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src"
LADDER = (
    (
        "errors",
        "types",
        "config",
        "yaml_text",
        "jsonl",
        "origins",
        "assets",
        "memo",
        "heap",
        "page",
    ),
    ("tools", "formats", "chat_template"),
    ("engines", "world"),
    ("agent",),
    ("data", "train", "evals", "server"),
    ("cli",),
    ("", "__main__"),
)
"""Level by level, the modules and folders of `coalm`; the empty name is `coalm/__init__.py`."""
LEVEL = {name: level for level, names in enumerate(LADDER) for name in names}
ROOT_NAMES = {"__version__"}
"""What the package's own modules may take from `coalm` itself."""


class Import(NamedTuple):
    """One imported module of the package and where the import stands."""

    place: str
    importer: str
    target: str


def read_package(source: Path) -> dict[str, Path]:
    """Dotted module name to file, for every file of the package."""
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((source / "coalm").rglob("*.py"))
    }


def find_imports(modules: Mapping[str, Path]) -> list[Import]:
    """Every import of one of `modules` by another, those inside functions included."""
    return [found for name in modules for found in _imports_of(name, modules)]


def _imports_of(importer: str, modules: Mapping[str, Path]) -> Iterator[Import]:
    path = modules[importer]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            targets = _from_targets(node, modules)
        else:
            continue
        for target in dict.fromkeys(targets):
            if target.startswith(("coalm.", ".")) or target == "coalm":
                yield Import(f"{path}:{node.lineno}", importer, target)


def _from_targets(node: ast.ImportFrom, modules: Mapping[str, Path]) -> list[str]:
    """`from a import b` imports the module a.b if there is one, else a name out of the module a."""
    base = f"{'.' * node.level}{node.module or ''}"
    names = [alias.name for alias in node.names]
    if base == "coalm":
        names = [name for name in names if name not in ROOT_NAMES]
    return [f"{base}.{name}" if f"{base}.{name}" in modules else base for name in names]


def faults(modules: Mapping[str, Path]) -> list[str]:
    """One line for everything in the package that breaks the ladder."""
    imports = find_imports(modules)
    strange = [
        f"{path}:1: {name} has no place on the ladder"
        for name, path in modules.items()
        if _unit(name) not in LEVEL
    ]
    wrong = [
        f"{found.place}: {found.importer} imports {found.target}: {fault}"
        for found in imports
        if (fault := _fault(found, modules))
    ]
    return strange + wrong + _circles(imports)


def _unit(module: str) -> str:
    """The step of the ladder that a module stands on: the part after `coalm.`."""
    return module.removeprefix("coalm").removeprefix(".").partition(".")[0]


def _fault(found: Import, modules: Mapping[str, Path]) -> str | None:
    own, other = _unit(found.importer), _unit(found.target)
    if found.target.startswith("."):
        return "a relative import"
    if found.target not in modules:
        return "no such module"
    if own not in LEVEL or other not in LEVEL:
        return None
    if LEVEL[other] > LEVEL[own]:
        return f"upwards, from level {LEVEL[own]} to level {LEVEL[other]}"
    if own == other and own and found.importer.startswith(f"{found.target}."):
        return "its own folder's __init__"
    if LEVEL[other] == LEVEL[own] > 0 and own != other and own != "__main__":
        return f"a neighbour on level {LEVEL[own]}"
    return None


def _circles(imports: list[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for found in imports:
        graph.setdefault(found.importer, set()).add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        # the sorter names each module after one that it is imported by
        circle = list(reversed(e.args[1]))
        first = next(i for i in imports if (i.importer, i.target) == (circle[0], circle[1]))
        return [f"{first.place}: import circle: {' -> '.join(circle)}"]
    return []


def test_the_package_keeps_the_ladder() -> None:
    modules = read_package(SOURCE)
    assert {"coalm", "coalm.types", "coalm.formats.base", "coalm.cli.main"} <= modules.keys()
    assert len(find_imports(modules)) > len(modules)
    found = faults(modules)
    assert not found, "\n" + "\n".join(found)


def made_up(folder: Path, **files: str) -> dict[str, Path]:
    """A package on disk; `agent__react="..."` is the file coalm/agent/react.py."""
    for name, text in {"__init__": "", **files}.items():
        path = folder / "coalm" / f"{name.replace('__', '/') if name[0] != '_' else name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for inside in [p for p in (folder / "coalm").iterdir() if p.is_dir()]:
        if not (inside / "__init__.py").exists():
            (inside / "__init__.py").touch()
    return read_package(folder)


GOOD = {
    "errors": "import json\n",
    "types": "from coalm.errors import CoalmError\n",
    "formats__base": "from coalm.types import Message\n",
    "formats__react": "from coalm.formats import base\nimport coalm.formats.base\n",
    "agent__rollout": "from coalm.formats import get_format\nfrom coalm import __version__\n",
    "evals__base": "import coalm.agent.rollout as rollout\n",
    "cli__main": "def run():\n    from coalm.evals.base import Task\n",
    "__main__": "from coalm.cli.main import main\n",
}


def test_a_package_on_the_ladder_has_no_faults(tmp_path: Path) -> None:
    modules = made_up(tmp_path, **GOOD)
    assert faults(modules) == []
    assert len(find_imports(modules)) == 8


@pytest.mark.parametrize(
    ("name", "text", "line", "fault"),
    [
        ("types", "import os\nimport coalm.agent.rollout\n", 2, "upwards, from level 0 to level 3"),
        ("tools", "def f():\n    from coalm.cli import main\n", 2, "upwards, from level 1 to"),
        ("tools", "if TYPE_CHECKING:\n    import coalm.evals.base\n", 2, "upwards, from level 1"),
        ("data__build", "from coalm.evals.base import Task\n", 1, "a neighbour on level 4"),
        ("tools", "from coalm.formats import get_format\n", 1, "a neighbour on level 1"),
        ("formats__dst", "from coalm.formats import get_format\n", 1, "its own folder's __init__"),
        ("formats__dst", "from . import base\n", 1, "a relative import"),
        ("agent__session", "from coalm import Message\n", 1, "upwards, from level 3 to level 6"),
        ("agent__session", "from coalm.nothing import x\n", 1, "no such module"),
        ("gadgets", "", 1, "coalm.gadgets has no place on the ladder"),
        ("formats__base", "from coalm.formats import react\n", 1, "import circle: coalm.formats."),
        ("errors", "from coalm.types import Message\n", 1, "import circle: coalm."),
        ("cli__chat", "import coalm.cli.chat\n", 1, "import circle: coalm.cli.chat -> coalm.cli"),
    ],
)
def test_a_fault_is_found_with_its_place(
    tmp_path: Path, name: str, text: str, line: int, fault: str
) -> None:
    found = faults(made_up(tmp_path, **(GOOD | {name: text})))
    assert len(found) == 1
    assert fault in found[0]
    in_circle = fault.startswith("import circle")
    assert in_circle or f"/{name.replace('__', '/')}.py:{line}:" in found[0]
