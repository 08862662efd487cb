from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Literal

import pytest

from coalm.data.config import SgdCallsConfig, SgdConfig
from coalm.data.files import Copy
from coalm.data.sgd import SgdCallsSource, SgdSource
from coalm.errors import DataError
from coalm.types import Conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sgd"
SCHEMA = "sgd_x/data/v1/train/schema.json"
Variant = Literal["original", "v1", "v2", "v3", "v4", "v5"]


def read(root: Path, variant: Variant) -> tuple[SgdSource, list[Conversation]]:
    source = SgdSource(Copy(root), SgdConfig(schema_variant=variant), 7)
    return source, list(source.conversations())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "sgd"))


def test_a_variant_gives_the_same_samples_under_other_names() -> None:
    original, plain = read(FIXTURE, "original")
    variant, told = read(FIXTURE, "v1")
    assert len(plain) == len(told) > 0
    assert variant.ledger.counts == original.ledger.counts
    assert variant.ledger.reasons() == original.ledger.reasons()
    for old, new in zip(plain, told, strict=True):
        assert new.meta["group"] == old.meta["group"]
        assert new.id == old.id.replace(str(old.meta["group"]), f"{old.meta['group']}/v1")
        for before, after in zip(old.messages, new.messages, strict=True):
            if before.role != "tool":
                assert after.content == before.content
            assert [[*c.arguments.values()] for c in after.tool_calls] == [
                [*c.arguments.values()] for c in before.tool_calls
            ]


def test_calls_results_thoughts_and_functions_use_the_names_of_the_variant() -> None:
    _, samples = read(FIXTURE, "v1")
    first = next(s for s in samples if s.messages[-1].tool_calls)
    (call,) = first.messages[-1].tool_calls
    assert call.name == "SearchTable"
    assert all(name.startswith("the_") for name in call.arguments)
    assert "SearchTable" in str(first.messages[-1].thought)
    names = {tool.name for sample in samples for tool in sample.tools}
    assert not names & {"FindTable", "BookTable", "FindSong", "FindRoom"}
    slots = {slot for s in samples for tool in s.tools for slot in tool.properties}
    assert all(slot.startswith("the_") for slot in slots)
    for sample in samples:
        for message in sample.messages:
            if message.role == "tool":
                for row in json.loads(message.content):
                    assert all(name.startswith("the_") for name in row)


def test_functions_of_the_same_name_are_told_apart_in_a_variant_too() -> None:
    _, samples = read(FIXTURE, "v1")
    names = {tool.name for sample in samples for tool in sample.tools}
    assert {"Rooms_11_SearchRoom", "Flats_11_SearchRoom"} <= names


def test_both_sources_know_variants() -> None:
    source = SgdCallsSource(Copy(FIXTURE), SgdCallsConfig(schema_variant="v1", no_call=0), 7)
    names = {call.name for s in source.conversations() for call in s.messages[-1].tool_calls}
    assert "SearchTable" in names
    assert "FindTable" not in names


def test_a_missing_variant_is_named(copy: Path) -> None:
    with pytest.raises(DataError, match=r"no file such as sgd_x/data/v2/train/schema\.json"):
        read(copy, "v2")


def test_a_variant_of_other_services_is_refused(copy: Path) -> None:
    services = json.loads((copy / SCHEMA).read_text())
    (copy / SCHEMA).write_text(json.dumps(services[1:]))
    with pytest.raises(DataError, match=r"v1/train/schema\.json: 5 services instead of .* 6"):
        read(copy, "v1")
    services[0]["slots"].pop()
    (copy / SCHEMA).write_text(json.dumps(services))
    with pytest.raises(DataError, match=r"Tables_11 has 8 slots instead of the 9 of Tables_1"):
        read(copy, "v1")


@pytest.mark.real
@pytest.mark.parametrize("variant", ["v1", "v5"])
def test_the_published_variants_give_what_the_original_gives(
    tmp_path: Path, variant: Variant
) -> None:
    for name in ("sgd-sample.tar.xz", "sgd-schemas.tar.xz"):
        shutil.copy(Path(os.environ["COALM_DATA"]) / "sgd" / name, tmp_path)
    original, plain = read(tmp_path, "original")
    source, told = read(tmp_path, variant)
    assert len(plain) == len(told) > 5000
    assert source.ledger.counts == original.ledger.counts
    assert source.ledger.reasons() == original.ledger.reasons()
