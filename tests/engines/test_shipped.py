from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from coalm.engines import shipped
from coalm.engines.config import ModelConfig
from coalm.engines.gguf import BASE_MODEL
from coalm.engines.shipped import SHIPPED, shipped_adapter, with_shipped
from coalm.errors import EngineError

MOST_BYTES = 20_000_000


def test_the_shipped_model_is_the_base_with_the_adapter_that_comes_along() -> None:
    model = with_shipped(ModelConfig(model_name=SHIPPED))
    assert model.model_name == BASE_MODEL
    assert model.adapter_model == str(shipped_adapter())
    config = json.loads((shipped_adapter() / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == BASE_MODEL


def test_other_models_stay_what_they_are() -> None:
    model = ModelConfig(model_name="m", adapter_model="a")
    assert with_shipped(model) is model


def test_the_weights_are_small() -> None:
    assert (shipped_adapter() / shipped.WEIGHTS).stat().st_size < MOST_BYTES


def test_a_second_adapter_is_refused() -> None:
    with pytest.raises(EngineError, match="an adapter of its own"):
        with_shipped(ModelConfig(model_name=SHIPPED, adapter_model="mine"))


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models" / "coalm_135m"
    shutil.copytree(shipped_adapter(), folder)
    monkeypatch.setattr(shipped, "files", lambda _package: tmp_path)
    assert shipped_adapter() == folder
    weights = folder / shipped.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(EngineError, match="is damaged"):
        shipped_adapter()
    weights.unlink()
    with pytest.raises(EngineError, match="holds no adapter"):
        shipped_adapter()
