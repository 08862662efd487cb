"""A training file: the keys of Oumi's recipes, and what coalm does with them.

::

    model: {model_name: smollm2-135m-instruct}
    data:
      train:
        datasets:
          - dataset_path: output/coalm_it/train.jsonl
    training: {use_peft: true, learning_rate: 1.0e-3, max_steps: 300}
    peft: {lora_r: 16, lora_alpha: 32}

Defaults are Oumi's, but for `peft`, where they are the paper's (arXiv 2502.08820: LoRA of rank 16
and alpha 32 on all linear layers); what a file leaves open there is said in a warning. Fields
"always true (or off) in effect" keep Oumi's files checked; asking for the other value is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from coalm.config import ConfigModel, Remark
from coalm.engines.config import ModelConfig
from coalm.errors import ConfigError

TrainTarget: TypeAlias = Literal["all_assistant_turns", "final_assistant_turn"]
EvalStrategy: TypeAlias = Literal["no", "steps", "epoch"]
Sharding: TypeAlias = Literal[
    "FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_SHARD", "HYBRID_SHARD_ZERO2", "NO_SHARD"
]
TrainerType: TypeAlias = Literal["TRL_SFT", "HF", "OUMI"]

_PLACEHOLDER = "/path/to/"
_OUMI_PEFT = {
    "lora_r": 8,
    "lora_alpha": 8,
    "bnb_4bit_quant_type": "fp4",
    "bnb_4bit_compute_dtype": "float32",
}


def _train_target(value: Any) -> Any:
    if value is None:
        return "all_assistant_turns"
    name = value.lower() if isinstance(value, str) else value
    return "all_assistant_turns" if name == "assistant_turn" else name


def _eval_strategy(value: Any) -> Any:
    return "no" if value is False else value  # YAML reads a bare `no` as false


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class DatasetConfig(ConfigModel):
    """One file of training records."""

    foreign: ClassVar[str] = """
        dataset_kwargs mixture_proportion sample_count seed shuffle_buffer_size split subset
        transform_num_workers trust_remote_code"""
    without_effect: ClassVar[Mapping[str, str]] = {
        "dataset_name": "coalm reads local files only and sees the form of each row itself",
        "shuffle": "the samples of all files are shuffled together, anew in every epoch",
    }

    dataset_name: str = "text_sft_jsonl"
    """Name of the reader in Oumi."""
    dataset_path: Path | None = None
    """JSON lines (may be gzipped): conversations of coalm, chats, or Alpaca rows."""
    shuffle: bool = True
    """Always true in effect, by the seed of the split."""


class SplitConfig(ConfigModel):
    """The files that are trained on, or those that the validation loss is measured on."""

    foreign: ClassVar[str] = (
        "collator_kwargs mixture_strategy stream target_col use_async_dataset use_torchdata"
    )
    renamed: ClassVar[Mapping[str, str]] = {"masking_method": "train_target"}
    without_effect: ClassVar[Mapping[str, str]] = {
        "collator_name": "only words of the assistant are learned, whatever the collator",
        "pack": "samples are padded, not packed",
    }

    datasets: tuple[DatasetConfig, ...] = ()
    """The files; their samples are mixed."""
    collator_name: str | None = "text_completions_only_with_padding"
    """Oumi's way to lay out a batch."""
    train_target: Annotated[TrainTarget, BeforeValidator(_train_target)] = "all_assistant_turns"
    """Which assistant turns of a chat are learned; a `Conversation` of coalm and an Alpaca row
    have one answer anyway. `masking_method: assistant_turn` is an older spelling."""
    pack: bool = False
    """Fill every row with several samples; always off in effect."""
    seed: int | None = None
    """Order of the samples of all files together; None takes `training.seed`."""

    def require(self, key: str) -> None:
        """Check that there are files to read; `key` is where this split stands.

        Raises:
            ConfigError: no data set is named, or one is a placeholder, has no path or no file.
        """
        if not self.datasets:
            raise ConfigError(
                f"{key}.datasets is empty: no data to read; set {key}.datasets.0.dataset_path=FILE"
            )
        for index, dataset in enumerate(self.datasets):
            _require_file(dataset.dataset_path, f"{key}.datasets.{index}.dataset_path")


def _require_file(path: Path | None, key: str) -> None:
    if path is None:
        raise ConfigError(f"{key} is missing: coalm reads local files only; set {key}=FILE")
    if str(path).startswith(_PLACEHOLDER):
        raise ConfigError(f"{key} is the placeholder {path}; set {key}=FILE to train on your data")
    if not path.is_file():
        raise ConfigError(
            f"{key}: no such file: {path}; make it with `coalm data build`, or set {key}=FILE"
        )


class DataConfig(ConfigModel):
    """Training and validation data."""

    foreign: ClassVar[str] = "test"

    train: SplitConfig = SplitConfig()
    """What is learned."""
    validation: SplitConfig = SplitConfig()
    """What the loss is measured on, as `training.eval_strategy` says."""


class CheckpointingConfig(ConfigModel):
    """How gradient checkpointing is done."""

    foreign: ClassVar[str] = "context_fn debug determinism_check preserve_rng_state"
    without_effect: ClassVar[Mapping[str, str]] = {
        "use_reentrant": "coalm checkpoints without re-entry, which gives the same gradients",
    }

    use_reentrant: bool = False
    """Which of two ways torch takes; always the one without re-entry in effect."""


class TrainingConfig(ConfigModel):
    """Steps, batches, optimizer, schedule and checkpoints."""

    foreign: ClassVar[str] = """
        adam_beta1 adam_beta2 adam_epsilon data_seed dataloader_main_process_only
        dataloader_num_workers dataloader_persistent_workers dataloader_prefetch_factor
        ddp_find_unused_parameters dep_log_level empty_device_cache_steps enable_mlflow
        full_determinism gkd gold grpo include_alternative_mfu_metrics
        include_performance_metrics label_ignore_index log_examples log_level log_model_summary
        logging_dir logging_first_step logging_strategy lr_scheduler_kwargs metrics_function
        mixed_precision_dtype nccl_default_timeout_minutes profiler reward_function_kwargs
        reward_functions save_epoch sgd_momentum telemetry trainer_kwargs
        use_deterministic verl_config_overrides"""
    without_effect: ClassVar[Mapping[str, str]] = {
        "compile": "coalm does not compile the model",
        "save_final_model": "the trained model is always saved",
        "try_resume_from_last_checkpoint": "a run always goes on from its newest checkpoint",
    }

    trainer_type: Annotated[TrainerType, BeforeValidator(_upper)] = "HF"
    """All three mean supervised fine-tuning, the one thing that is done here."""
    output_dir: Path = Path("output")
    """Folder of checkpoints, log, loss curve and the trained adapter or model."""
    use_peft: bool = False
    """Train a LoRA adapter (section `peft`) and leave the model's weights as they are."""

    num_train_epochs: int = Field(default=3, ge=1)
    """Passes over the data, unless `max_steps` says otherwise."""
    max_steps: int = -1
    """Optimizer steps; -1 leaves it to `num_train_epochs`."""
    per_device_train_batch_size: int = Field(default=8, ge=1)
    """Samples in one forward and backward pass of one process."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Passes of each process that make up one optimizer step."""
    batching: Literal["padded", "packed", "tree"] = "padded"
    """How samples are laid out (coalm's own key): `padded`, one a row, filled up to the longest;
    `packed`, one after the other in a row; `tree`, so that what samples begin with alike is
    computed once. Losses and gradients of given samples are the same in all three."""
    row_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a row, for `packed` and `tree` (coalm's own key); None takes what
    `per_device_train_batch_size` of the longest samples would have."""
    group_samples: int = Field(default=16, ge=1)
    """Most samples of one group (a dialogue, an instruction) in a step, for `tree` (coalm's own
    key): more share more, fewer mix better."""
    group_by_length: bool = False
    """Put samples of like length into one batch, which saves padding (coalm's own key)."""
    seed: int = 42
    """Adapter weights, dropout and the order of samples."""

    optimizer: Literal["adamw_torch", "adamw_torch_fused"] = "adamw_torch"
    """AdamW; `fused` is the faster kernel, where the device has one."""
    learning_rate: float = Field(default=5e-5, gt=0.0)
    """The highest rate, reached at the end of the warm-up."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate goes on after the warm-up: down to 0 at the last step, or not at all."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps in which the rate rises from 0; counts before `warmup_ratio`."""
    warmup_ratio: float | None = Field(default=None, ge=0.0, le=1.0)
    """The same as a share of all steps."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """For matrices only; biases and norms are left out."""
    max_grad_norm: float | None = Field(default=1.0, ge=0.0)
    """Longer gradients are cut to this length; 0 or null leaves them."""
    enable_gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    gradient_checkpointing_kwargs: CheckpointingConfig = CheckpointingConfig()
    """Details of it."""
    compile: bool = False
    """Compile the model first; always off in effect."""

    eval_strategy: Annotated[EvalStrategy, BeforeValidator(_eval_strategy)] = "no"
    """When to measure the loss on `data.validation`."""
    eval_steps: int = Field(default=500, ge=1)
    """Steps between two measurements, for `eval_strategy: steps`."""
    load_best_model_at_end: bool = False
    """Hand on the weights with the lowest validation loss, not the last ones (as transformers calls
    it); the checkpoint that has them stays."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """End the training after so many validations in a row without a lower loss (as transformers
    calls it); None trains to the last step."""
    per_device_eval_batch_size: int = Field(default=8, ge=1)
    """Samples in one pass of that measurement."""

    save_steps: int = Field(default=500, ge=0)
    """Steps between two checkpoints; 0 writes one only when the run is stopped."""
    save_final_model: bool = True
    """Always true in effect."""
    resume_from_checkpoint: Path | None = None
    """Checkpoint folder to go on from, where `output_dir` has none."""
    try_resume_from_last_checkpoint: bool = True
    """Go on from the newest checkpoint in `output_dir`, if there is one; always true in effect."""

    logging_steps: int = Field(default=50, ge=1)
    """Steps between two lines on the screen; log.jsonl has every step."""
    enable_tensorboard: bool = True
    """Write the log for TensorBoard, too, into `output_dir`/tensorboard, if it is installed."""
    enable_wandb: bool = False
    """Send the log to Weights & Biases, too; its settings are the variables WANDB_..."""
    run_name: str | None = None
    """Name of the run there; None is the name of `output_dir`."""

    def remarks(self) -> Iterator[Remark]:
        """Adds keys that the chosen batching leaves without effect."""
        yield from super().remarks()
        effective = {"row_tokens": ("packed", "tree"), "group_samples": ("tree",)}
        effective["group_by_length"] = ("padded",)
        for key, layouts in effective.items():
            if key in self.model_fields_set and self.batching not in layouts:
                yield Remark(key, f"has no effect on training.batching: {self.batching}")

    @model_validator(mode="after")
    def _validation_where_it_is_needed(self) -> TrainingConfig:
        for key in ("load_best_model_at_end", "early_stopping_patience"):
            if getattr(self, key) and self.eval_strategy == "no":
                raise ValueError(f"{key} needs a validation loss: set eval_strategy to steps")
        return self

    @field_validator("max_steps")
    @classmethod
    def _steps_or_minus_one(cls, value: int) -> int:
        if value < 1 and value != -1:
            raise ValueError(f"expected a number of steps, or -1 for none, got {value}")
        return value


class PeftConfig(ConfigModel):
    """The LoRA adapter; with `q_lora`, on top of a model in four bits."""

    foreign: ClassVar[str] = """
        llm_int8_skip_modules lora_bias lora_exclude_modules lora_init_weights lora_modules_to_save
        lora_target_modules_regex lora_target_parameters lora_task_type peft_save_mode"""

    lora_r: int = Field(default=16, ge=1)
    """Rank of the update matrices."""
    lora_alpha: int = Field(default=32, ge=1)
    """The update is scaled by `lora_alpha / lora_r`."""
    lora_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the adapter's inputs that are set to 0 in training."""
    lora_target_modules: tuple[str, ...] | None = None
    """Names of the layers to adapt; None or `[all-linear]` is every linear layer but the output."""
    q_lora: bool = False
    """Keep the model's own weights in four bits (needs bitsandbytes)."""
    q_lora_bits: Literal[4] = 4
    """Four is the only width that is supported."""
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    """The sixteen values: spaced like a normal distribution, or as a floating-point number."""
    bnb_4bit_quant_storage: Literal["uint8", "float16", "bfloat16", "float32"] = "uint8"
    """Type that the four-bit values are packed into; sharded training needs a float type."""
    bnb_4bit_compute_dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    """Type that they are unpacked to for multiplication."""
    use_bnb_nested_quant: bool = False
    """Quantize the scales, too."""

    @property
    def target_modules(self) -> list[str] | Literal["all-linear"]:
        """`lora_target_modules` as peft takes it."""
        names = self.lora_target_modules
        return "all-linear" if names in (None, ("all-linear",)) else list(names)

    def remarks(self) -> Iterator[Remark]:
        """Adds what a given section leaves to defaults in which coalm and Oumi differ."""
        yield from super().remarks()
        for key, theirs in _OUMI_PEFT.items():
            given = not self.model_fields_set or key in self.model_fields_set
            if not given and (self.q_lora or not key.startswith("bnb_")):
                ours = getattr(self, key)
                yield Remark(key, f"not set: {ours}, as in the paper (Oumi would take {theirs})")


class FsdpConfig(ConfigModel):
    """Sharding over several GPUs, as Oumi's files ask for it."""

    foreign: ClassVar[str] = """
        backward_prefetch force_full_state_dict_on_final_save forward_prefetch min_num_params
        mixed_precision sync_module_states use_orig_params"""
    without_effect: ClassVar[Mapping[str, str]] = {
        "state_dict_type": "checkpoints hold whole tensors, which load like any adapter or model",
    }

    enable_fsdp: bool = False
    """Cut the model into pieces, one for each process (`torchrun`, `accelerate launch`); nothing
    below counts otherwise, nor without a launcher."""
    sharding_strategy: Annotated[Sharding, BeforeValidator(_upper)] = "FULL_SHARD"
    """What is cut: everything; all but the weights between forward and backward pass
    (SHARD_GRAD_OP); the same within each machine (HYBRID_...); nothing (NO_SHARD)."""
    cpu_offload: bool = False
    """Keep in main memory what no GPU needs at the moment."""
    state_dict_type: str = "FULL_STATE_DICT"
    """Whether checkpoints hold whole tensors or pieces; always whole in effect."""
    auto_wrap_policy: str = "NO_WRAP"
    """What is gathered at once: always one transformer layer in effect."""
    transformer_layer_cls: str | None = None
    """The class of such a layer, by name; None finds the model's own."""


class TrainConfig(ConfigModel):
    """A whole training file: `coalm train -c FILE`."""

    foreign: ClassVar[str] = "deepspeed engine generation"  # so an inference file can be planned

    model: ModelConfig
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    peft: PeftConfig = PeftConfig()
    fsdp: FsdpConfig = FsdpConfig()

    def remarks(self) -> Iterator[Remark]:
        """Adds a `peft` section that nothing switches on."""
        yield from super().remarks()
        if self.peft.model_fields_set and not self.training.use_peft:
            yield Remark("peft", "has no effect, since training.use_peft is off")

    def require_data(self) -> None:
        """Check, once the data are needed, that the files are there.

        Raises:
            ConfigError: names the key of the first file that is missing.
        """
        self.data.train.require("data.train")
        if self.training.eval_strategy != "no":
            self.data.validation.require("data.validation")
