"""YAML text as plain data, with the line of every key.

PyYAML reads YAML 1.1; three of its traps are closed here: `1e-4` is a number (1.1 wants `1.0e-4`),
a date stays text, and a key that stands twice in one mapping is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import yaml

_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


class YamlError(ValueError):
    """Text that is not YAML, or YAML that is not plain data."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(" ".join(problem.split()))
        self.line = line
        """Counted from 1; None when the parser cannot tell."""


class Document(NamedTuple):
    """What a YAML text says."""

    data: Any
    """Plain JSON values; no two places share an object, so it may be edited."""
    root: yaml.Node | None

    def line(self, parts: Sequence[str]) -> int | None:
        """Line of the deepest of these nested keys and list indices that the text has."""
        node, line = self.root, None
        for part in parts:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == part), None)
                if pair is None:
                    break
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and part.isdigit():
                if int(part) >= len(node.value):
                    break
                node = cast("yaml.Node", node.value[int(part)])
                line = node.start_mark.line + 1
            else:
                break
        return line


def parse(text: str) -> Document:
    """Read one YAML document.

    Raises:
        YamlError: a syntax error, a repeated key, a second document, or a value JSON cannot say.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        data = None if root is None else cast("Any", loader).construct_document(root)
        return Document(json.loads(json.dumps(data)), root)
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else None
        raise YamlError(e.problem or str(e), line) from e
    except RecursionError as e:
        raise YamlError("nested too deeply", None) from e
    except (yaml.YAMLError, ValueError, TypeError) as e:
        raise YamlError(str(e), None) from e


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                problem = f"key '{key.value}' stands in line {lines[key.value]} already"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _FLOAT if tag.endswith(":float") else pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
