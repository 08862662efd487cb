"""The model to train: base weights, LoRA or QLoRA or full fine-tuning, and its number types.

Weights that are trained are kept in float32, whatever the base has: steps of 1e-5 vanish in the 8
bits of bfloat16. The forward pass runs in the base's type through autocast, at that type's speed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.integrations.liger import apply_liger_kernel

from coalm.engines.config import ModelConfig
from coalm.engines.hf_dtype import fast_dtype
from coalm.engines.named import resolve_model
from coalm.errors import ConfigError, MissingExtraError, TrainError
from coalm.train.config import PeftConfig, TrainConfig
from coalm.train.ranks import ALONE, Ranks, whole
from coalm.train.sharding import is_in_pieces, is_sharded, make_mesh, shard

TrainedModel = PreTrainedModel | PeftModel


class Loaded(NamedTuple):
    """A model in training mode, and the number type it computes in."""

    model: TrainedModel
    dtype: torch.dtype
    device: torch.device
    """Where it computes; with `fsdp.cpu_offload` its weights are elsewhere."""

    def computing(self) -> torch.autocast:
        """Context of every forward pass: float32 weights meet the others in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype == torch.bfloat16)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context of a validation: nothing is learned, and nothing is dropped out."""
        self.model.eval()
        for module in self.model.modules():
            if type(module).__module__.startswith("bitsandbytes"):
                # Out of training it repacks its weights for faster inference on a CPU, for good;
                # what is learned from then on, and pieces of FSDP, would be wrong.
                module.training = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train()

    def finished(self) -> TrainedModel:
        """The model as it is handed on: after full fine-tuning, in the type it computes in."""
        if not isinstance(self.model, PeftModel):
            nn.Module.to(self.model, self.dtype)
        return self.model


class Size(NamedTuple):
    """Parameters of a model."""

    all: int
    trained: int


def load_model(config: TrainConfig, checkpoint: Path | None = None, ranks: Ranks = ALONE) -> Loaded:
    """The model, with the weights that are not to be trained frozen.

    Args:
        config: what to train and how.
        checkpoint: folder of trained weights to go on from, in place of the untrained ones.
        ranks: the processes that train it, in pieces if the file asks for that.

    Raises:
        ConfigError: weights cannot be trained, or cannot be sharded, in the type asked for.
        TrainError: the model or the adapter cannot be loaded.
        MissingExtraError: `peft.q_lora` without bitsandbytes.
    """
    path = resolve_model(config.model.model_name)
    dtype = _compute_type(config.model, path, frozen=config.training.use_peft)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if is_sharded(config, ranks):
        mesh = make_mesh(config, ranks)

        def load() -> TrainedModel:
            found = _load(config, path, dtype, checkpoint, torch.device("cpu"))
            shard(found, config, mesh, dtype)
            return found

        # A machine has room for one whole model in main memory, not for one in each process.
        return Loaded(ranks.in_turn(load), dtype, device)
    return Loaded(_load(config, path, dtype, checkpoint, device), dtype, device)


def _load(
    config: TrainConfig,
    path: str | Path,
    dtype: torch.dtype,
    checkpoint: Path | None,
    device: torch.device,
) -> TrainedModel:
    """The model in one piece, in training mode."""
    use_peft = config.training.use_peft
    full = checkpoint if checkpoint and not use_peft else path
    kept = dtype if use_peft else torch.promote_types(dtype, torch.float32)
    model: TrainedModel = _base(full, config, kept, device)
    if config.model.enable_liger_kernel and has_liger():
        # The loss needs logits at a few places only, which is cheaper than any fused loss.
        apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    with warnings.catch_warnings():
        # transformers 5 renames what older releases of it, and peft, still call by the old name
        warnings.simplefilter("ignore", FutureWarning)
        if config.training.enable_gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if use_peft:
            model = _with_adapter(model, config, checkpoint)
            if dtype == torch.bfloat16:
                _leave_types_to_autocast(model)
    return model.train()


def has_liger() -> bool:
    """Whether this machine can run the kernels of `model.enable_liger_kernel`."""
    return torch.cuda.is_available() and find_spec("liger_kernel") is not None


def gather_weights(model: TrainedModel, ranks: Ranks) -> dict[str, Tensor] | None:
    """What was trained of a model in pieces, put together in the main memory of the first process.

    All processes must ask; None for a model in one piece, which has its weights itself.
    """
    if not is_in_pieces(model):
        return None
    adapter = isinstance(model, PeftModel)
    parts = (
        ((name, p) for name, p in model.named_parameters() if p.requires_grad)
        if adapter
        else model.state_dict().items()
    )
    weights: dict[str, Tensor] = {}
    for name, part in parts:
        tensor = whole(part.detach())
        if ranks.main:
            weights[name] = tensor.cpu()
    return weights


def save_weights(
    model: TrainedModel, folder: Path, weights: dict[str, Tensor] | None = None
) -> None:
    """Write what was trained into `folder`: an adapter, or the whole model.

    Args:
        model: the model, whose type and settings are written, too.
        folder: an empty folder.
        weights: what `gather_weights` gave.
    """
    if isinstance(model, PeftModel):
        # Left to itself, peft asks the hub whether the vocabulary has grown.
        model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=weights)
    else:
        model.save_pretrained(folder, state_dict=weights)


def size_of(model: TrainedModel) -> Size:
    """How many parameters the model has, and how many of them are trained."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Size(sum(n for n, _ in counts), sum(n for n, trained in counts if trained))


def context_length(config: PreTrainedConfig) -> int | None:
    """Tokens that the model can take, where its configuration says so."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def read_model_config(model: ModelConfig) -> PreTrainedConfig:
    """The model's own configuration, without its weights.

    Raises:
        TrainError: there is no such model.
    """
    path = resolve_model(model.model_name)
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=model.trust_remote_code)
    except (OSError, ValueError) as e:
        raise _unloadable(path, e) from e


def _compute_type(model: ModelConfig, path: str | Path, *, frozen: bool) -> torch.dtype:
    """The type of the forward pass, and of weights that are not trained, or saved after it."""
    name = model.torch_dtype_str
    stored = read_model_config(model).dtype if name == "auto" else name
    dtype = getattr(torch, stored) if isinstance(stored, str) else stored or torch.float32
    if name == "auto" and not torch.cuda.is_available():
        fast = fast_dtype()  # on a CPU the other type takes several times as long
        if frozen or fast == torch.float32:
            return fast
    if dtype == torch.float16:
        raise ConfigError(
            f"model.torch_dtype_str: {path} would be trained in float16, whose gradients vanish; "
            "use bfloat16"
        )
    return dtype


def _base(
    path: str | Path, config: TrainConfig, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    q_lora = config.training.use_peft and config.peft.q_lora
    try:
        return AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=config.model.attn_implementation,
            trust_remote_code=config.model.trust_remote_code,
            quantization_config=_four_bits(config.peft) if q_lora else None,
            device_map=device.type,
        )
    except (OSError, ValueError, ImportError, SafetensorError) as e:
        raise _unloadable(path, e) from e


def _four_bits(peft: PeftConfig) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "qlora")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=peft.bnb_4bit_quant_type,
        bnb_4bit_quant_storage=getattr(torch, peft.bnb_4bit_quant_storage),
        bnb_4bit_compute_dtype=getattr(torch, peft.bnb_4bit_compute_dtype),
        bnb_4bit_use_double_quant=peft.use_bnb_nested_quant,
    )


def _with_adapter(
    model: PreTrainedModel, config: TrainConfig, checkpoint: Path | None
) -> PeftModel:
    start = checkpoint or config.model.adapter_model
    try:
        if start:
            return PeftModel.from_pretrained(model, str(start), is_trainable=True)
        adapted = get_peft_model(model, lora_config(config.peft))
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        what = f"adapter {start}" if start else "a LoRA adapter"
        raise TrainError(f"{what} cannot be put on {model.name_or_path}: {_brief(e)}") from e
    # What the user calls the base; peft notes the folder in this machine's cache.
    adapted.active_peft_config.base_model_name_or_path = config.model.model_name
    return adapted


def _leave_types_to_autocast(model: PeftModel) -> None:
    """Spare the adapter's inputs the way to float32 and back: autocast has the last word anyway."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def lora_config(peft: PeftConfig) -> LoraConfig:
    """The adapter as peft takes it."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=peft.lora_r,
        lora_alpha=peft.lora_alpha,
        lora_dropout=peft.lora_dropout,
        target_modules=peft.target_modules,
    )


def _unloadable(path: str | Path, error: Exception) -> TrainError:
    return TrainError(
        f"model {str(path)!r} cannot be loaded: {_brief(error)}; set model.model_name to a model "
        "folder or a name on the hub"
    )


def _brief(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
