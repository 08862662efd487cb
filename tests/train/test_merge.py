"""A merged model says what base and adapter say together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from coalm.errors import TrainError
from coalm.train.config import TrainConfig
from coalm.train.merge import merge
from coalm.train.run import train

Configure = Callable[..., TrainConfig]

PROMPTS = torch.tensor([[5, 80, 33, 7], [0, 99, 200, 31], [12, 12, 250, 1]])


@pytest.fixture
def run(configure: Configure) -> Path:
    return train(configure("training.max_steps=30", "training.save_steps=20")).folder


def greedy(model: PreTrainedModel | PeftModel) -> list[list[int]]:
    mask = torch.ones_like(PROMPTS)
    return model.generate(input_ids=PROMPTS, attention_mask=mask, max_new_tokens=20).tolist()


def adapted(base: Path, adapter: Path) -> PeftModel:
    with pytest.warns(FutureWarning):  # peft under the newest transformers
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter))


@pytest.mark.parametrize("part", [".", "adapter", "checkpoint-20"])
def test_merged_equals_base_with_adapter(
    run: Path, part: str, tiny_model: Path, tmp_path: Path
) -> None:
    out = merge(run / part, tmp_path / "merged")
    assert out == tmp_path / "merged"
    merged = AutoModelForCausalLM.from_pretrained(out)
    apart = adapted(tiny_model, run / ("adapter" if part == "." else part))
    with torch.no_grad():
        logits, expected = merged(PROMPTS).logits, apart(PROMPTS).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert greedy(merged) == greedy(apart)
    assert greedy(merged) != greedy(AutoModelForCausalLM.from_pretrained(tiny_model))
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_model).chat_template
    assert {path.name for path in out.iterdir()} >= {"model.safetensors", "tokenizer.json"}


def test_the_result_has_the_type_of_the_stored_base(
    run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "half"
    shutil.copytree(tiny_model, base)
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(base)
    out = merge(run, tmp_path / "merged", base=str(base))
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_an_adapter_names_its_base_as_the_user_did(run: Path, tiny_model: Path) -> None:
    assert f'"{tiny_model}"' in (run / "adapter" / "adapter_config.json").read_text()


def test_what_cannot_be_merged_is_said(
    run: Path, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    out = tmp_path / "merged"
    with pytest.raises(TrainError, match=f"{tmp_path} holds no adapter; give a run folder that"):
        merge(tmp_path, out)
    with pytest.raises(TrainError, match=f"{run} exists; give --out a new folder"):
        merge(run, run)
    with pytest.raises(
        TrainError, match=r"cannot be merged into no/such: .*name its base model wit"
    ):
        merge(run, out, base="no/such")
    config = run / "adapter" / "adapter_config.json"
    config.write_text("{}")
    with pytest.raises(TrainError, match=r"adapter_config.json names no base model; give --base"):
        merge(run, out)
    shutil.rmtree(run / "adapter")
    (run / "model").mkdir()
    with pytest.raises(TrainError, match="run/model is a whole model already; there is nothing to"):
        merge(run, out)
    assert not out.exists()


def test_an_adapter_of_another_model_does_not_fit(
    run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "wide"
    shutil.copytree(tiny_model, base)
    config = AutoModelForCausalLM.from_pretrained(tiny_model).config
    config.intermediate_size = 96
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    with pytest.raises(TrainError, match=r"cannot be merged into .*wide: ") as caught:
        merge(run, tmp_path / "merged", base=str(base))
    assert "\n" not in str(caught.value)
