"""The model that comes with coalm: whole, small, and the sum of base model and adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from coalm.engines import named
from coalm.engines.gguf import BASE_MODEL
from coalm.errors import AssetError

ADAPTER = named.ADAPTER


@pytest.mark.model
def test_a_short_name_is_a_folder(smollm2: Path) -> None:
    assert named.resolve_model("smollm2-135m-instruct") == smollm2
    assert named.resolve_model("coalm-135m") == named.find_shipped_model()


@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-135M-Instruct", Path("runs/1/merged")])
def test_other_names_are_passed_on(name: str | Path) -> None:
    assert named.resolve_model(name) == name


def test_the_package_stays_small() -> None:
    assert sum(file.stat().st_size for file in ADAPTER.iterdir()) < 20_000_000


def test_the_adapter_names_its_base_model_and_no_folder() -> None:
    settings = json.loads((ADAPTER / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == BASE_MODEL
    assert "/" not in json.dumps(settings)


@pytest.mark.model
@pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # peft calls parts of transformers by old names
def test_the_folder_is_base_model_and_adapter(smollm2: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = named.shipped_model()
    text = "Book a table for 12 at 7:30 pm"
    token_ids, same = (
        AutoTokenizer.from_pretrained(one)(text).input_ids for one in (folder, smollm2)
    )
    assert token_ids == same
    plain = AutoModelForCausalLM.from_pretrained(smollm2).eval()
    made = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        batch = torch.tensor([token_ids])
        before, ours = plain(batch).logits, made(batch).logits
        adapted = PeftModel.from_pretrained(plain, str(ADAPTER)).eval()(batch).logits
    torch.testing.assert_close(ours, adapted, rtol=1e-3, atol=1e-3)
    assert (before - adapted).abs().max() > 1


@pytest.mark.model
@pytest.mark.usefixtures("smollm2")
def test_a_second_call_makes_nothing() -> None:
    written = (named.shipped_model() / "model.safetensors").stat().st_mtime_ns
    assert (named.shipped_model() / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize("manifest", [None, '{"adapter": "of an older release"}', '{"adap'])
def test_a_folder_of_another_adapter_is_not_taken(
    manifest: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    folder = tmp_path / "models" / "coalm-135m"
    folder.mkdir(parents=True)
    if manifest:
        (folder / "coalm_source.json").write_text(manifest)
    assert named.find_shipped_model() is None
    checksum = (ADAPTER / "adapter_model.safetensors.sha256").read_text().split()[0]
    (folder / "coalm_source.json").write_text(json.dumps({"adapter": checksum}))
    assert named.find_shipped_model() == folder


def test_a_run_can_say_which_weights_a_name_stood_for() -> None:
    checksum = (ADAPTER / "adapter_model.safetensors.sha256").read_text().split()[0]
    assert named.weights_checksum("coalm-135m") == checksum
    assert named.weights_checksum("smollm2-135m-instruct") is None


def test_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "coalm-135m"
    shutil.copytree(ADAPTER, copy)
    monkeypatch.setattr(named, "ADAPTER", copy)
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(AssetError, match=r"coalm-135m: the weights are damaged .* install coalm"):
        named.resolve_model("coalm-135m")
    weights.unlink()
    with pytest.raises(AssetError, match="damaged or missing"):
        named.resolve_model("coalm-135m")
