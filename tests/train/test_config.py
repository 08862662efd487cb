"""Training files: Oumi's keys as coalm reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coalm.config import load_config
from coalm.engines.config import ModelConfig
from coalm.errors import ConfigError
from coalm.train.config import PeftConfig, TrainConfig
from coalm.train.gpus import find_gpu
from coalm.train.plan import make_plan

# Every key of Oumi's CoALM training files, in our own order and with values of our own; TARGET
# stands for the three spellings that its releases have.
PUBLISHED = """
training:
  trainer_type: "TRL_SFT"
  use_peft: True
  output_dir: "output/run"
  enable_wandb: True
  num_train_epochs: 2
  per_device_train_batch_size: 3
  per_device_eval_batch_size: 5
  gradient_accumulation_steps: 4
  save_steps: 20
  eval_strategy: "steps"
  eval_steps: 10
  logging_steps: 7
  optimizer: "adamw_torch_fused"
  learning_rate: 3.0e-05
  warmup_steps: 6
  warmup_ratio: 0.2
  weight_decay: 0.02
  max_grad_norm: 9
  compile: False
  save_final_model: True
  enable_gradient_checkpointing: True
  gradient_checkpointing_kwargs:
    use_reentrant: False
  ddp_find_unused_parameters: False
  dataloader_num_workers: "auto"
  dataloader_prefetch_factor: 16
  log_model_summary: False
  empty_device_cache_steps: 2
  include_performance_metrics: True

model:
  model_name: "some-lab/some-model"
  adapter_model: null
  model_max_length: 512
  torch_dtype_str: "bfloat16"
  attn_implementation: "sdpa"
  load_pretrained_weights: True
  trust_remote_code: True
  tokenizer_pad_token: "<pad>"
  enable_liger_kernel: True

peft:
  q_lora: True
  bnb_4bit_quant_type: "nf4"
  bnb_4bit_quant_storage: "bfloat16"
  bnb_4bit_compute_dtype: "bfloat16"
  lora_r: 4
  lora_alpha: 6
  lora_target_modules: [q_proj, v_proj]

fsdp:
  enable_fsdp: True
  cpu_offload: True
  forward_prefetch: True
  backward_prefetch: "BACKWARD_POST"
  use_orig_params: True
  auto_wrap_policy: "TRANSFORMER_BASED_WRAP"
  transformer_layer_cls: "LlamaDecoderLayer"

data:
  train:
    datasets:
      - dataset_name: "text_sft_jsonl"
        dataset_path: "/path/to/training/dataset.jsonl"
        shuffle: True
        seed: 1
    collator_name: "text_completions_only_with_padding"
    TARGET
    seed: 2
  validation:
    datasets:
      - dataset_name: "text_sft_jsonl"
        dataset_path: "/path/to/validation/dataset.jsonl"
    collator_name: "text_completions_only_with_padding"
    TARGET
    seed: 3
"""
TARGETS = (
    'train_target: "ALL_ASSISTANT_TURNS"',
    'masking_method: "assistant_turn"',
    'target_col: "messages"',
)


def load(tmp_path: Path, text: str, *overrides: str) -> tuple[TrainConfig, tuple[str, ...]]:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(TrainConfig, path, overrides)


def short(*overrides: str) -> TrainConfig:
    return load_config(TrainConfig, None, ["model.model_name=m", *overrides]).config


@pytest.mark.parametrize("target", TARGETS)
def test_a_published_file_loads_unchanged(tmp_path: Path, target: str) -> None:
    config, _ = load(tmp_path, PUBLISHED.replace("TARGET", target))
    training, peft, data = config.training, config.peft, config.data
    assert config.model == ModelConfig(
        model_name="some-lab/some-model",
        model_max_length=512,
        torch_dtype_str="bfloat16",
        attn_implementation="sdpa",
        tokenizer_pad_token="<pad>",
        enable_liger_kernel=True,
    )
    assert (training.learning_rate, training.max_grad_norm, training.warmup_steps) == (3e-5, 9.0, 6)
    assert (training.eval_strategy, training.eval_steps, training.max_steps) == ("steps", 10, -1)
    assert (training.optimizer, training.output_dir) == ("adamw_torch_fused", Path("output/run"))
    assert (peft.lora_r, peft.lora_alpha, peft.target_modules) == (4, 6, ["q_proj", "v_proj"])
    assert (peft.q_lora, peft.bnb_4bit_quant_storage) == (True, "bfloat16")
    assert data.train.train_target == data.validation.train_target == "all_assistant_turns"
    assert (data.train.seed, data.validation.seed) == (2, 3)
    assert data.train.datasets[0].shuffle


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "model",
    [
        "meta-llama/Llama-3.1-8B-Instruct",
        "meta-llama/Llama-3.3-70B-Instruct",
        "meta-llama/Llama-3.1-405B-Instruct",
    ],
)
def test_a_published_file_can_be_planned(tmp_path: Path, target: str, model: str) -> None:
    text = PUBLISHED.replace("TARGET", target).replace("some-lab/some-model", model)
    plan = make_plan(load(tmp_path, text)[0], find_gpu("H100"), devices=8)
    assert plan.data.samples == 311_583
    assert plan.rows[0].memory.total > 0


def test_a_published_file_has_the_warnings_that_it_should(tmp_path: Path) -> None:
    _, warnings = load(tmp_path, PUBLISHED.replace("TARGET", TARGETS[0]))
    path = tmp_path / "train.yaml"
    expected = [
        f"{path}: Oumi's keys without effect here: training.ddp_find_unused_parameters, "
        "training.dataloader_num_workers, training.dataloader_prefetch_factor, "
        "training.log_model_summary, training.empty_device_cache_steps, "
        "training.include_performance_metrics, fsdp.forward_prefetch, fsdp.backward_prefetch, "
        "fsdp.use_orig_params, data.train.datasets.0.seed",
        f"{path}:40: model.trust_remote_code stays off: it runs code out of the model's "
        "repository; pass --trust-remote-code to allow that",
    ]
    assert list(warnings) == expected


@pytest.mark.parametrize("size", ["8B", "70B"])
def test_an_inference_file_can_be_planned(tmp_path: Path, size: str) -> None:
    """Oumi publishes two beside its training files."""
    text = f"model:\n  model_name: uiuc-convai/CoALM-{size}\ngeneration:\n  max_new_tokens: 99\n"
    config, warnings = load(tmp_path, f"{text}engine: NATIVE\n")
    assert warnings == (
        f"{tmp_path / 'train.yaml'}: Oumi's keys without effect here: generation, engine",
    )
    plan = make_plan(config, find_gpu("H100"))
    assert plan.ways[-1].devices == {"8B": 1, "70B": 2}[size]
    with pytest.raises(ConfigError, match=r"data\.train"):
        config.require_data()


def test_peft_without_a_section_is_the_paper_s_adapter() -> None:
    config, warnings = load_config(
        TrainConfig, None, ["model.model_name=m", "training.use_peft=true"]
    )
    peft = config.peft
    assert (peft.lora_r, peft.lora_alpha, peft.target_modules) == (16, 32, "all-linear")
    assert warnings == ()


def test_what_a_peft_section_leaves_open_is_said() -> None:
    words = ["model.model_name=m", "training.use_peft=true", "peft.lora_r=64"]
    assert load_config(TrainConfig, None, words).warnings == (
        "command line: peft.lora_alpha: not set: 32, as in the paper (Oumi would take 8)",
    )
    quantized = load_config(TrainConfig, None, [*words, "peft.lora_alpha=8", "peft.q_lora=true"])
    assert [line.split(":")[1].strip() for line in quantized.warnings] == [
        "peft.bnb_4bit_quant_type",
        "peft.bnb_4bit_compute_dtype",
    ]


def test_a_peft_section_that_nothing_switches_on_is_said() -> None:
    words = ["model.model_name=m", "peft={lora_r: 16, lora_alpha: 32}"]
    assert load_config(TrainConfig, None, words).warnings == (
        "override 'peft={lora_r: 16, lora_alpha: 32}': peft: has no effect, since "
        "training.use_peft is off",
    )


@pytest.mark.parametrize("names", ["null", "[all-linear]"])
def test_every_linear_layer_has_two_spellings(names: str) -> None:
    assert short(f"peft.lora_target_modules={names}").peft.target_modules == "all-linear"
    assert PeftConfig(lora_target_modules=("q_proj",)).target_modules == ["q_proj"]


@pytest.mark.parametrize(
    ("spelling", "target"),
    [
        ("train_target=ALL_ASSISTANT_TURNS", "all_assistant_turns"),
        ("train_target=final_assistant_turn", "final_assistant_turn"),
        ("train_target=null", "all_assistant_turns"),
        ("masking_method=assistant_turn", "all_assistant_turns"),
        ("masking_method=final_assistant_turn", "final_assistant_turn"),
    ],
)
def test_every_spelling_of_the_train_target(spelling: str, target: str) -> None:
    assert short(f"data.train.{spelling}").data.train.train_target == target


@pytest.mark.parametrize("value", ["no", "'no'", "false"])
def test_a_bare_no_is_no_evaluation(value: str) -> None:
    assert short(f"training.eval_strategy={value}").training.eval_strategy == "no"


def test_a_trainer_may_be_written_small() -> None:
    assert short("training.trainer_type=trl_sft").training.trainer_type == "TRL_SFT"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.learning_rat=1",
            "unknown key 'training.learning_rat'; did you mean 'training.le",
        ),
        ("training.lora_r=8", "unknown key 'training.lora_r'; did you mean 'peft.lora_r'?"),
        (
            "training.learning_rate=fast",
            "training.learning_rate: expected a valid number, got 'fast'",
        ),
        (
            "training.learning_rate=0",
            "training.learning_rate: expected a number greater than 0, got",
        ),
        (
            "training.max_steps=0",
            "training.max_steps: expected a number of steps, or -1 for none, go",
        ),
        ("training.max_steps=1e3", "training.max_steps: expected a valid integer, got 1000.0"),
        (
            "training.trainer_type=TRL_DPO",
            "training.trainer_type: expected 'TRL_SFT', 'HF' or 'OUMI'",
        ),
        (
            "training.batching=trie",
            "training.batching: expected 'padded', 'packed' or 'tree', got 'trie'",
        ),
        (
            "training.optimizer=sgd",
            "training.optimizer: expected 'adamw_torch' or 'adamw_torch_fused'",
        ),
        (
            "training.warmup_ratio=2",
            "training.warmup_ratio: expected a number less than or equal to 1",
        ),
        ("peft.q_lora_bits=8", "peft.q_lora_bits: expected 4, got 8"),
        (
            "fsdp.sharding_strategy=none",
            "fsdp.sharding_strategy: expected 'FULL_SHARD', 'SHARD_GRAD_OP', 'HYBRID_SHARD', ",
        ),
        (
            "data.train.masking_method=x",
            "data.train.masking_method: expected 'all_assistant_turns' or",
        ),
        ("data.train.datasets=x", "data.train.datasets: expected a list, got 'x'"),
        (
            "data.train.datasets.0.dataset_paht=x",
            "unknown key 'data.train.datasets.0.dataset_paht'; di",
        ),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        short(override)
    assert str(caught.value).startswith(f"override '{override}': {message}")


@pytest.mark.parametrize("wish", ["load_best_model_at_end=true", "early_stopping_patience=3"])
def test_choosing_by_validation_needs_one(wish: str) -> None:
    key = wish.partition("=")[0]
    with pytest.raises(ConfigError, match=f"training: {key} needs a validation loss: set eval_str"):
        short(f"training.{wish}")
    short(f"training.{wish}", "training.eval_strategy=epoch")


@pytest.mark.parametrize(
    ("override", "remark"),
    [
        ("training.compile=true", "training.compile: coalm does not compile the model"),
        (
            "training.save_final_model=false",
            "training.save_final_model: the trained model is always",
        ),
        (
            "training.gradient_checkpointing_kwargs.use_reentrant=true",
            "training.gradient_checkpointing_kwargs.use_reentrant: coalm checkpoints without re-",
        ),
        (
            "training.try_resume_from_last_checkpoint=false",
            "training.try_resume_from_last_checkpoint: a run always goes on from its newest",
        ),
        (
            "data.train.datasets.0.shuffle=false",
            "data.train.datasets.0.shuffle: the samples of all files are shuffled together",
        ),
        ("data.train.pack=true", "data.train.pack: samples are padded, not packed"),
        (
            "data.train.collator_name=text_with_padding",
            "data.train.collator_name: only words of the",
        ),
        (
            "data.train.datasets.0.dataset_name=lab/hub-data",
            "data.train.datasets.0.dataset_name: coalm reads local files only",
        ),
        (
            "fsdp.state_dict_type=SHARDED_STATE_DICT",
            "fsdp.state_dict_type: checkpoints hold whole tensors",
        ),
    ],
)
def test_a_wish_that_is_not_granted_is_a_warning(override: str, remark: str) -> None:
    (warning,) = load_config(TrainConfig, None, ["model.model_name=m", override]).warnings
    assert warning.startswith(f"override '{override}': {remark}")


def test_sections_of_other_trainers_are_reported_and_dropped() -> None:
    words = ["deepspeed.zero_stage=3", "training.grpo.use_vllm=true", "data.test.seed=1"]
    config, warnings = load_config(TrainConfig, None, ["model.model_name=m", *words])
    assert config == short()
    assert warnings == (
        "command line: Oumi's keys without effect here: deepspeed, training.grpo, data.test",
    )


FIRST = "data.train.datasets.0.dataset_path"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "data.train.datasets is empty: no data to read; set data.train.datasets.0.data",
        ),
        (
            ["data.train.datasets.0.shuffle=true"],
            f"{FIRST} is missing: coalm reads local files only",
        ),
        (
            [f"{FIRST}=/path/to/x.jsonl"],
            f"{FIRST} is the placeholder /path/to/x.jsonl; set {FIRST}=",
        ),
        (
            [f"{FIRST}=no.jsonl"],
            f"{FIRST}: no such file: no.jsonl; make it with `coalm data build`",
        ),
        ([f"{FIRST}=."], f"{FIRST}: no such file: .; make it"),
        (
            [f"{FIRST}=rows.jsonl", "training.eval_strategy=steps"],
            "data.validation.datasets is empty: no data to read; set data.validation.datasets.0.",
        ),
        (
            [f"{FIRST}=rows.jsonl", "data.train.datasets.1.dataset_path=more.jsonl"],
            "data.train.datasets.1.dataset_path: no such file: more.jsonl",
        ),
    ],
)
def test_data_are_asked_for_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").touch()
    config = short(*words)
    with pytest.raises(ConfigError) as caught:
        config.require_data()
    assert str(caught.value).startswith(message)


def test_data_that_are_there_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").touch()
    # the validation file is a placeholder, but nothing is going to read it
    short(
        f"{FIRST}=rows.jsonl", "data.validation.datasets.0.dataset_path=/path/to/x"
    ).require_data()
