"""What a build does with samples that violate a criterion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from coalm.data import DataConfig, Manifest, build, load_sources
from coalm.errors import DataError

FIXTURES = Path(__file__).parents[1] / "fixtures"
INVENTED = {
    "id": "odd",
    "query": "Mix some green.",
    "calling": [{"api": "mixPaint", "parameters": {"colour": "green", "litres": 7}}],
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Seal-Tools with a request whose answer invents an amount."""
    shutil.copytree(FIXTURES / "sealtools", tmp_path / "raw" / "sealtools")
    with (tmp_path / "raw" / "sealtools" / "dev.jsonl").open("a") as file:
        file.write(json.dumps(INVENTED) + "\n")
    return tmp_path / "raw"


def run(raw: Path, **settings: Any) -> Manifest:
    config = DataConfig(
        output_dir=raw.parent / "out", root=raw, sources=("sealtools",), workers=1, **settings
    )
    return build(config, load_sources(config))


def rejected(raw: Path) -> list[dict[str, str]]:
    lines = (raw.parent / "out" / "rejected.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "settings",
    [{}, {"on_violation": "drop"}, {"on_violation": "drop", "sealtools": {"on_violation": "fail"}}],
)
def test_it_is_left_out_counted_and_named(raw: Path, settings: dict[str, Any]) -> None:
    manifest = run(raw, **settings)
    report = manifest.sources["sealtools"]
    assert sum(row.samples for row in manifest.rows) == 2
    assert report.rejected["violates the criterion evidence"] == 1
    assert report.violations == {"function": 0, "arguments": 0, "evidence": 1, "thought": 0}
    assert report.examples == {"evidence": ["sealtools/odd: mixPaint: nobody gave litres 7"]}
    assert report.checked["samples"] == 3
    assert {
        "source": "sealtools",
        "where": "sealtools/odd",
        "reason": "violates the criterion evidence",
        "detail": "mixPaint: nobody gave litres 7",
    } in rejected(raw)


@pytest.mark.parametrize(
    "settings",
    [
        {"sealtools": {"on_violation": "fail"}},
        {"on_violation": "fail"},
        {"on_violation": "fail", "sealtools": {"on_violation": "drop"}},
    ],
)
def test_or_there_is_no_data_set(raw: Path, settings: dict[str, Any]) -> None:
    message = (
        r"^1 sample is not sound: sealtools/odd violates the criterion evidence: mixPaint: nobody "
        r"gave litres 7; correct the raw files, or leave such samples out with on_violation=drop$"
    )
    with pytest.raises(DataError, match=message):
        run(raw, **settings)
    assert not (raw.parent / "out" / "manifest.json").exists()


def test_the_first_three_are_named(raw: Path) -> None:
    with (raw / "sealtools" / "dev.jsonl").open("a") as file:
        for number in range(4):
            file.write(json.dumps({**INVENTED, "id": f"odd{number}"}) + "\n")
    with pytest.raises(
        DataError, match=r"^5 samples are not sound: .*odd .*odd0 .*odd1 (?!.*odd2)"
    ):
        run(raw, on_violation="fail")


def test_sources_of_annotated_data_fail_by_default() -> None:
    config = DataConfig(output_dir=Path(), sources=("snips",))
    default = {name: config.settings(name).on_violation for name in ("snips", "sgd", "sgd_calls")}
    assert set(default.values()) == {"fail"}
    written_by_models = ("hammer", "toolace", "sealtools", "toolalpaca")
    assert {config.settings(name).on_violation for name in written_by_models} == {"drop"}
