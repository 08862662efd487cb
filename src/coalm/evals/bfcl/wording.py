"""The official wording of prompts, read out of the source text of the wheel.

A score is comparable only if the model was asked in the very same words. They are string constants
of two modules that are never run here: one cannot be imported without every vendor's SDK.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from coalm.errors import ParseError
from coalm.evals.bfcl.arithmetic import compute
from coalm.evals.bfcl.data import open_wheel


class Wording(NamedTuple):
    """Texts that prompts are made of; `{}` stands where a type or a schema goes."""

    system: str
    """System message, with `{functions}` in it."""
    more_functions: str
    """User message that brings functions which were held back, with `{functions}` in it."""
    more_tools: str
    """The same where the functions are not part of the message."""
    languages: dict[str, str]
    """Language to the remark behind every function description."""
    any_type: dict[str, str]
    """Language to the remark on a parameter of any type; so on for the other remarks."""
    one_type: dict[str, str]
    items: dict[str, str]
    members: dict[str, str]
    float_type: str


@cache
def official_wording() -> Wording:
    """The wording of `bfcl-eval` 2025.6.8.

    Raises:
        AssetError: the wheel is not on this machine or is damaged.
    """
    prompts = _constants("bfcl_eval/constants/default_prompts.py")
    remarks = "bfcl_eval/model_handler/utils.py"
    java, javascript, python = _remarks(remarks, "_get_language_specific_hint")
    typed = _remarks(remarks, "func_doc_language_specific_pre_processing")
    (float_type,) = _remarks(remarks, "_cast_to_openai_type")
    both = ("Java", "JavaScript")
    return Wording(
        system=prompts["DEFAULT_SYSTEM_PROMPT"],
        more_functions=prompts["DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING"],
        more_tools=prompts["DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC"],
        languages={"Java": java, "JavaScript": javascript, "Python": python},
        any_type=dict(zip(both, (typed[0], typed[3]), strict=True)),
        one_type=dict(zip(both, (typed[1], typed[4]), strict=True)),
        items=dict(zip(both, (typed[2], typed[5]), strict=True)),
        members={"JavaScript": typed[6]},
        float_type=float_type,
    )


def _constants(member: str) -> dict[str, str]:
    """Every text that a module assigns to a name."""
    found: dict[str, str] = {}
    for node in _parse(member).body:
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            try:
                found[target.id] = compute(node.value, found)
            except ParseError:
                continue
    return found


def _remarks(member: str, function: str) -> list[str]:
    """The texts in a function that are added to a description: those that begin with a blank."""
    node = next(
        node
        for node in _parse(member).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return [text for text in _texts(node) if text.startswith(" ")]


def _texts(node: ast.AST) -> Iterator[str]:
    """String constants and f-strings, in the order of the source."""
    match node:
        case ast.JoinedStr(values=values):
            yield "".join(next(_texts(part), "{}") for part in values)
        case ast.Constant(value=str(text)):
            yield text
        case ast.FormattedValue():
            return
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _texts(child)


@cache
def _parse(member: str) -> ast.Module:
    return ast.parse(open_wheel().read(member))
