from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from coalm.config import load_config
from coalm.data import DataConfig, build, load_sources
from coalm.data.files import MissingFilesError
from coalm.errors import AssetError

FIXTURES = Path(__file__).parents[1] / "fixtures"


def config(tmp_path: Path, *words: str) -> DataConfig:
    # the folder with all fixtures has no `snips/` of the upstream layout, so that stands apart
    given = [f"output_dir={tmp_path / 'out'}", f"root={FIXTURES}", *words]
    return load_config(DataConfig, None, given).config


def test_a_build_goes_on_without_an_optional_source_and_says_so(tmp_path: Path) -> None:
    chosen = config(
        tmp_path, "sources=[sgd, toolace]", "optional=[toolace]", "toolace.path=/nowhere"
    )
    sources = load_sources(chosen)
    manifest = build(chosen, sources)
    assert {row.source for row in manifest.rows} == {"sgd"}
    (reason,) = manifest.sources["toolace"].absent
    assert reason.startswith("/nowhere: no such file or folder")
    assert manifest.sources["sgd"].absent == []
    assert sources[1].ledger.absent == [reason]


def test_an_optional_source_that_is_there_is_read(tmp_path: Path) -> None:
    chosen = config(tmp_path, "sources=[toolalpaca]", "optional=[toolalpaca]")
    manifest = build(chosen, load_sources(chosen))
    assert sum(row.samples for row in manifest.rows) == 4
    assert manifest.sources["toolalpaca"].absent == []


def test_a_folder_without_the_file_is_an_absent_source_too(tmp_path: Path) -> None:
    chosen = config(tmp_path, "sources=[toolace]", "optional=[toolace]", f"toolace.path={tmp_path}")
    (source,) = load_sources(chosen)
    assert list(source.conversations()) == []
    (reason,) = source.ledger.absent
    assert reason.startswith(f"{tmp_path}: no file such as data.json here")


def test_without_the_word_the_same_ends_the_build(tmp_path: Path) -> None:
    with pytest.raises(MissingFilesError, match="/nowhere: no such file or folder"):
        load_sources(config(tmp_path, "sources=[toolace]", "toolace.path=/nowhere"))


def test_the_error_for_xlam_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COALM_DATA", raising=False)
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    chosen = load_config(DataConfig, None, ["output_dir=out", "sources=[hammer]"]).config
    with pytest.raises(AssetError) as caught:
        load_sources(chosen)
    assert str(caught.value) == (
        f"xlam: no file in {tmp_path}/assets/xlam; run `coalm fetch xlam`, or set COALM_DATA to a "
        "folder that holds xlam/xlam-7.5k-irrelevancek.json; accept the terms at "
        "https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k first, and set "
        "HF_TOKEN to a token of yours that may read"
    )


def test_optional_may_name_what_is_not_built(tmp_path: Path) -> None:
    """So that a recipe's `sources` can be set shorter on the command line."""
    assert config(tmp_path, "sources=[sgd]", "optional=[toolace]").sources == ("sgd",)


def test_an_optional_source_can_be_sent_to_another_process(tmp_path: Path) -> None:
    chosen = config(tmp_path, "sources=[toolace]", "optional=[toolace]")
    (source,) = pickle.loads(pickle.dumps(load_sources(chosen)))  # noqa: S301
    assert len(list(source.conversations())) == 7


def test_prompts_may_show_functions_by_name_alone(tmp_path: Path) -> None:
    chosen = config(tmp_path, "sources=[toolace]", "tool_text=names")
    build(chosen, load_sources(chosen))
    text = (tmp_path / "out" / "train.alpaca.jsonl").read_text(encoding="utf-8")
    assert '[{\\"name\\": \\"Kiln Market API\\"}' in text
    assert "Country code" not in text
