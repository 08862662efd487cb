from __future__ import annotations

from pathlib import Path

import pytest

from coalm.config import load_config
from coalm.data.config import DataConfig, SgdConfig
from coalm.errors import ConfigError

NEEDED = ["output_dir=out", "sources=[snips, sgd]"]


def load(*words: str) -> DataConfig:
    return load_config(DataConfig, None, [*NEEDED, *words]).config


def test_the_sections_of_the_sources_have_defaults() -> None:
    config = load("sgd.limit=5")
    assert config.sources == ("snips", "sgd")
    assert config.settings("sgd") == SgdConfig(limit=5)
    assert config.settings("sealtools").limit is None


@pytest.mark.parametrize(
    ("tools", "numbers"),
    [("own", (0, 0)), ("own+3", (3, 3)), ("own+0..4", (0, 4)), ("own+2..2", (2, 2)), ("all", None)],
)
def test_the_rule_for_tools_is_read(tools: str, numbers: tuple[int, int] | None) -> None:
    assert load(f"sgd.tools={tools}").sgd.distractors == numbers


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "sgd.tools=own+",
            r"sgd\.tools: expected own, own\+N, own\+N\.\.M \(N at most M\) or all, got 'own\+'",
        ),
        ("sgd.tools=own+3..2", r"sgd\.tools: .*N at most M.*got 'own\+3\.\.2'"),
        ("sgd.tools=own+٣", r"sgd\.tools: expected own, .*got 'own\+٣'"),
        ("sgd.tools=2", r"sgd\.tools: expected text, got 2"),
        ("sgd.limits=2", r"unknown key 'sgd\.limits'; did you mean 'sgd\.limit'\?"),
        ("sgd_calls.no_call=2", r"sgd_calls\.no_call: expected .*less than or equal to 1, got 2"),
        ("sgd.result_rows=0", r"sgd\.result_rows: expected .*greater than or equal to 1, got 0"),
        ("snips.weight=0", r"snips\.weight: expected .*greater than 0, got 0"),
        ("snips.weight=.nan", r"snips\.weight: "),
        ("validation_share=1", r"validation_share: expected .*less than 1, got 1"),
        ("sources=[sgd, sgd]", r"sources: sgd is named twice; use its `weight` for more of it"),
        ("sources=[]", r"sources: expected at least one of snips, sgd, "),
        ("sources=[sdg]", r"sources\.0: expected 'snips', 'sgd', .*, got 'sdg'"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(word)


def test_output_and_sources_are_needed() -> None:
    with pytest.raises(ConfigError, match="output_dir is missing"):
        load_config(DataConfig, None, ["sources=[sgd]"])
    with pytest.raises(ConfigError, match="sources is missing"):
        load_config(DataConfig, None, [f"output_dir={Path('out')}"])
