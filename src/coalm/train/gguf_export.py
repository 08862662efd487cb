"""A trained model as one GGUF file, for llama.cpp and what is built on it.

Written with the package `gguf`, which comes from llama.cpp and knows the names of its tensors and
fields. Two families are written: Llama and Qwen2, with the tokenizers that are told apart below.
What the file must say beyond the tensors follows llama.cpp's own `convert_hf_to_gguf.py`: Llama's
query and key rows are interleaved for its rotary embedding, and the frequencies that Llama 3.1
stretches are a tensor of their own.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from coalm.errors import MissingExtraError, TrainError
from coalm.train.folder import MODEL
from coalm.train.merge import merge

_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}
"""Types that a file can be written in, and what GGUF calls such a file."""
_FAMILIES = {"llama": "llama", "qwen2": "qwen2"}
"""transformers' name of a family, and GGUF's."""


def export_gguf(
    run: Path,
    out: Path,
    *,
    number_type: str = "f16",
    base: str | None = None,
    trust_remote_code: bool = False,
) -> Path:
    """Write the model of a run, an adapter merged into its base, as a GGUF file.

    Args:
        run: a run folder, an adapter, or a whole model.
        out: the file to make.
        number_type: of matrices, `f32`, `f16` or `bf16`; vectors are float32.
        base: base model, in place of the one that the adapter names.
        trust_remote_code: run model code that comes with the base.

    Raises:
        TrainError: `out` exists, the family or the tokenizer is none of those that can be written,
            or there is nothing to merge.
        MissingExtraError: gguf is not installed.
    """
    try:
        import gguf  # noqa: F401
    except ModuleNotFoundError as e:
        raise MissingExtraError("gguf", "hf") from e
    if out.exists():
        raise TrainError(f"{out} exists; name a new file")
    if number_type not in _TYPES:
        raise TrainError(f"--type {number_type}: the types are {', '.join(_TYPES)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    whole = next((f for f in (run, run / MODEL) if (f / "config.json").is_file()), None)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".unfinished-") as scratch:
        folder = whole or merge(
            run, Path(scratch) / MODEL, base=base, trust_remote_code=trust_remote_code
        )
        file = Path(scratch) / out.name
        _write(folder, file, number_type)
        shutil.move(file, out)
    return out


def _write(folder: Path, file: Path, number_type: str) -> None:
    from gguf import GGUFWriter

    config: PreTrainedConfig = AutoConfig.from_pretrained(folder)
    family = _FAMILIES.get(str(config.model_type))
    if family is None:
        raise TrainError(
            f"{folder} is of the family {config.model_type}, and coalm writes GGUF files of "
            f"{', '.join(_FAMILIES)} only; use llama.cpp's convert_hf_to_gguf.py on a merged model"
        )
    writer = GGUFWriter(file, family)
    _add_shape(writer, config, number_type)
    _add_tokenizer(writer, folder, config.vocab_size)
    _add_tensors(writer, folder, config, family, number_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: Any, config: Any, number_type: str) -> None:
    from gguf import LlamaFileType

    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_name(config.name_or_path or config.model_type)
    writer.add_file_type(LlamaFileType[_TYPES[number_type]])
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _rope(config: Any) -> Mapping[str, Any]:
    return getattr(config, "rope_parameters", None) or {"rope_theta": config.rope_theta}


def _add_tensors(writer: Any, folder: Path, config: Any, family: str, number_type: str) -> None:
    from gguf import MODEL_ARCH, GGMLQuantizationType, get_tensor_name_map
    from gguf.quants import quantize

    arch = MODEL_ARCH[family.upper()]
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    for name, tensor in _tensors(folder):
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise TrainError(f"{folder} holds a tensor {name}, which GGUF has no name for")
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            query = name.endswith("q_proj.weight")
            tensor = interleaved(
                tensor, config.num_attention_heads if query else config.num_key_value_heads
            )
        kind = GGMLQuantizationType[number_type.upper() if tensor.ndim > 1 else "F32"]
        writer.add_tensor(known, quantize(tensor.float().numpy(), kind), raw_dtype=kind)
    stretched = rope_factors(config)
    if stretched is not None:
        writer.add_tensor("rope_freqs.weight", stretched.numpy())


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainError(f"{folder} holds no safetensors file")
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 # no mapping
                yield name, opened.get_tensor(name)


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key matrix, [heads * size, width], in llama.cpp's order.

    transformers rotates the first half of a head against the second, llama.cpp neighbours.
    """
    size = weight.shape[0] // heads
    halves = weight.reshape(heads, 2, size // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def rope_factors(config: Any) -> Tensor | None:
    """What each rotary frequency of Llama 3.1 is divided by, float32 [head size / 2]."""
    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    low, high, factor = (rope[k] for k in ("low_freq_factor", "high_freq_factor", "factor"))
    frequencies = rope["rope_theta"] ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).float()


def _add_tokenizer(writer: Any, folder: Path, vocabulary: int) -> None:
    from gguf import TokenType

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = described["model"]
    cut = pre_tokenizer_name(described.get("pre_tokenizer")) if model["type"] == "BPE" else None
    if cut is None:
        raise TrainError(
            f"{folder / 'tokenizer.json'} cuts text in a way that coalm cannot name to llama.cpp; "
            "use convert_hf_to_gguf.py of llama.cpp on the merged model"
        )
    tokens = {number: text for text, number in tokenizer.get_vocab().items()}
    added = {token["id"]: token["special"] for token in described["added_tokens"]}
    kinds = {True: TokenType.CONTROL, False: TokenType.USER_DEFINED, None: TokenType.NORMAL}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list([tokens.get(n, f"[PAD{n}]") for n in range(vocabulary)])
    writer.add_token_types(
        [kinds[added.get(n)] if n in tokens else TokenType.UNUSED for n in range(vocabulary)]
    )
    merges = model["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    for role in ("bos", "eos", "pad", "unk"):
        number = getattr(tokenizer, f"{role}_token_id")
        if number is not None:
            getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id])
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def pre_tokenizer_name(described: Mapping[str, Any] | None) -> str | None:
    """llama.cpp's name of the way in which a byte-level BPE tokenizer cuts text; None if unknown.

    Args:
        described: `pre_tokenizer` of a `tokenizer.json`.
    """
    parts = (described or {}).get("pretokenizers") or [described or {}]
    kinds = [part.get("type") for part in parts]
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
        return "smollm"
    if kinds != ["Split", "ByteLevel"]:
        return None
    pattern = parts[0]["pattern"].get("Regex", "")
    if r"\p{N}{1,3}|" in pattern:
        return "llama-bpe"
    return "qwen2" if r"|\p{N}|" in pattern else None
