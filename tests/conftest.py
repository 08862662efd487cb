"""What tests of several folders share: golden files, skips, a tiny model with a tiny tokenizer."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import AssetError

GOLDEN = Path(__file__).parent / "golden"
SPECIAL_TOKENS = [
    *("<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>"),
]
"""Those of ChatML and of Llama 3, so that one tokenizer serves every template."""
LEARNT_FROM = [
    "the user asks the assistant system to find a restaurant in the city of San Jose",
    "first\n  second\n  third\n",
]
"""Little, but words, and white space that merges across a line's end as in real tokenizers."""


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores Ctrl-C, and so would every process that the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `--update-golden` write the golden files anew."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine lacks, and say what it is."""
    missing = {
        "real": None if os.environ.get("COALM_DATA") else "COALM_DATA is not set",
        "gpu": _why_no_gpu() if any("gpu" in item.keywords for item in items) else None,
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say at the end what was not tested here, and what it would take."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")


def _why_no_gpu() -> str | None:
    torch = pytest.importorskip("torch")
    return None if torch.cuda.is_available() else "no CUDA device"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file under tests/golden; `--update-golden` writes the file."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run pytest --update-golden and read the result"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of SmolLM2-135M-Instruct, fetched on first use; for tests marked `model`."""
    from coalm.engines.gguf import base_model

    try:
        return base_model()
    except AssetError as e:
        pytest.skip(f"SmolLM2 is out of reach: {e}")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama (2 layers, 512 tokens of context) with a byte-level BPE tokenizer.

    The tokenizer knows the control tokens of ChatML and Llama 3; its template is ChatML. Greedy
    answers hold no control token, so they go on until something else ends them.
    """
    pytest.importorskip("torch")
    from transformers import LlamaConfig

    folder = tmp_path_factory.mktemp("tiny_model")
    vocabulary_size = _write_tiny_tokenizer(folder)
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        initializer_range=0.5,  # wide, so that no two tokens are nearly as likely
        bos_token_id=None,
        eos_token_id=None,
    )
    _write_random_weights(folder, config)
    return folder


@pytest.fixture(scope="session")
def wide_model(tiny_model: Path) -> Path:
    """The like with a context of 4096 tokens, and heads as large as vLLM's CPU build wants them."""
    from transformers import AutoConfig

    folder = tiny_model.with_name("wide_model")
    shutil.copytree(tiny_model, folder)
    config = AutoConfig.from_pretrained(tiny_model, head_dim=32, max_position_embeddings=4096)
    _write_random_weights(folder, config)
    return folder


def _write_random_weights(folder: Path, config: Any) -> None:
    from transformers import LlamaForCausalLM, set_seed

    set_seed(0)
    model = LlamaForCausalLM(config)
    model.lm_head.weight.data[: len(SPECIAL_TOKENS)] = 0.0  # the best of all others is above 0
    model.save_pretrained(folder)


def _write_tiny_tokenizer(folder: Path) -> int:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from coalm.chat_template import load_tokenizer

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(text, special=True) for text in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(LEARNT_FROM, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|begin_of_text|>", eos_token="<|im_end|>"
    )
    tokenizer.save_pretrained(folder)
    load_tokenizer(folder, "chatml").save_pretrained(folder)
    return len(tokenizer)
