"""Plans, held against published counts, real models, and what torch really keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coalm.chat_template import load_tokenizer
from coalm.config import load_config
from coalm.errors import ConfigError, DataError
from coalm.train.config import TrainConfig
from coalm.train.data_size import measure_data, shared_length
from coalm.train.gpus import find_gpu
from coalm.train.memory import activation_bytes, device_memory, take_census, weight_bytes
from coalm.train.model import load_model, read_model_config, size_of
from coalm.train.plan import make_plan
from coalm.train.shapes import read_shape

H100 = find_gpu("h100")


def config_of(name: str, *overrides: str) -> TrainConfig:
    return load_config(TrainConfig, None, [f"model.model_name={name}", *overrides]).config


@pytest.mark.parametrize(
    ("name", "parameters", "lora"),
    [  # as the models' pages count them; LoRA of rank 16 on all linear layers
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, 11_272_192),
        ("meta-llama/Llama-3.2-3B", 3_212_749_824, 24_313_856),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248, 41_943_040),
        ("meta-llama/Meta-Llama-3.1-8B", 8_030_261_248, 41_943_040),
        ("uiuc-convai/CoALM-8B", 8_030_261_248, 41_943_040),
        ("meta-llama/Llama-3.3-70B-Instruct", 70_553_706_496, 207_093_760),
        ("meta-llama/Llama-3.1-405B-Instruct", 405_853_388_800, 623_443_968),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304, 18_464_768),
    ],
)
def test_published_shapes(name: str, parameters: int, lora: int) -> None:
    config = config_of(name, "training.use_peft=true", "peft.lora_r=16")
    census = take_census(read_shape(config.model), config)
    assert (census.all, census.trained) == (parameters, lora)


@pytest.mark.parametrize("use_peft", [True, False])
def test_census_and_weights_are_those_of_the_loaded_model(configure, use_peft: bool) -> None:
    config = configure(f"training.use_peft={use_peft}", "model.torch_dtype_str=bfloat16")
    census = take_census(read_shape(config.model), config)
    model = load_model(config).model
    assert (census.all + census.trained * use_peft, census.trained) == size_of(model)
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    assert weight_bytes(census, config) == held


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_what_torch_keeps(configure, checkpointing: bool) -> None:
    config = configure(
        "model.torch_dtype_str=float32",
        f"training.enable_gradient_checkpointing={checkpointing}",
        "training.use_peft=false",
    )
    shape = read_model_config(config.model)
    model = load_model(config).model
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = 256
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model(input_ids=torch.ones((1, tokens), dtype=torch.int64)).last_hidden_state.sum()
    measured = sum(kept.values())
    if checkpointing:  # the layer that is computed anew in the backward pass comes on top
        entries = shape.num_hidden_layers * 4 * shape.hidden_size * tokens
        assert entries <= measured <= activation_bytes(shape, config, tokens)
    else:
        assert activation_bytes(shape, config, tokens) == pytest.approx(measured, rel=0.25)


def test_four_bits_and_sharding() -> None:
    config = config_of(
        "meta-llama/Llama-3.1-405B-Instruct",
        *("training.use_peft=true", "peft.q_lora=true", "peft.lora_r=16", "fsdp.enable_fsdp=true"),
    )
    shape = read_shape(config.model)
    census = take_census(shape, config)
    one, eight, sixteen = (
        device_memory(census, shape, config, devices=n, tokens=4096, targets=400)
        for n in (1, 8, 16)
    )
    assert 225e9 < one.weights < 250e9
    assert eight.weights == pytest.approx(one.weights / 8)
    assert sixteen.optimizer == pytest.approx(one.optimizer / 16)
    assert eight.activations == one.activations


def test_405b_needs_sixteen_devices_of_80_gb() -> None:
    plan = make_plan(
        load_config(TrainConfig, Path("configs/train/405b.yaml"), []).config, H100, devices=16
    )
    ways = {way.name.partition(",")[0]: way.devices for way in plan.ways}
    assert ways["serve it in 16 bits"] == 16
    assert plan.rows[0].fits
    assert plan.rows[0].memory.weights == 0.0 < plan.rows[0].memory.host  # offloaded


def test_more_operations_with_all_weights_and_with_checkpointing() -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"

    def hours(*overrides: str) -> float:
        config = config_of(name, "training.num_train_epochs=1", *overrides)
        return make_plan(config, H100, devices=1).rows[0].hours

    lora, full = hours("training.use_peft=true"), hours("training.use_peft=false")
    assert full == pytest.approx(lora * 3 / 2, rel=0.02)
    again = hours("training.use_peft=true", "training.enable_gradient_checkpointing=true")
    assert again == pytest.approx(lora * 3 / 2)


def test_tokens_are_counted_and_shared(configure, data: Path) -> None:
    config = configure()
    size = measure_data(config, 512)
    assert size.samples == 9
    tokenizer = load_tokenizer(Path(config.model.model_name))
    assert size.tokens > 9 * len(tokenizer("Repeat.").input_ids)
    assert size.shared == size.tokens  # every row is a group of its own
    assert "model's tokenizer" in size.origin
    assert measure_data(config, size.longest - 1).samples < 9


def test_without_tokenizer_tokens_are_estimated(configure, data: Path) -> None:
    config = configure("model.model_name=./no/such/model")
    size = measure_data(config, 512)
    assert size.samples == 9
    assert size.origin.startswith("estimated")


def test_shared_length_counts_every_beginning_once() -> None:
    assert shared_length(["abcd", "abef", "x", "abc"]) == len("abcd") + len("ef") + len("x")
    assert shared_length([(1, 2, 3), (1, 2, 4), (1, 2)]) == 4
    assert shared_length([]) == 0


def test_steps_follow_the_file(configure) -> None:
    plan = make_plan(configure("training.max_steps=9"), H100)
    assert (plan.steps, plan.samples_a_step) == (9, 2)
    assert plan.epochs == pytest.approx(9 / 5)
    epochs = make_plan(configure("training.max_steps=-1", "training.num_train_epochs=2"), H100)
    assert epochs.steps == 10


def test_unknown_gpu() -> None:
    with pytest.raises(ConfigError, match="'H1OO' is known; did you mean H100"):
        find_gpu("H1OO")


def test_no_sample_is_short_enough(configure) -> None:
    with pytest.raises(DataError, match="no sample of up to 3 tokens"):
        make_plan(configure("model.model_max_length=3"), H100)
