"""Whole training runs of a tiny model: what they learn, write and refuse."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from coalm import jsonl
from coalm.chat_template import encode_prompt
from coalm.errors import CoalmError, TrainError
from coalm.train.config import TrainConfig
from coalm.train.model import load_model
from coalm.train.run import train
from coalm.types import ChatTurn

Configure = Callable[..., TrainConfig]
Write = Callable[..., Path]


def losses_of(run: Path) -> list[float]:
    return [row["loss"] for _, row in jsonl.read(run / "log.jsonl") if "loss" in row]


def screen() -> Console:
    return Console(file=StringIO(), width=200)


def shown(console: Console) -> str:
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.learning_rate=0.003",),
        ("training.use_peft=false",),
        ("training.learning_rate=0.003", "training.enable_gradient_checkpointing=true"),
        ("training.learning_rate=0.003", "model.torch_dtype_str=bfloat16"),
        ("training.use_peft=false", "model.torch_dtype_str=bfloat16"),
        ("training.learning_rate=0.003", "training.batching=tree"),
        ("training.use_peft=false", "training.batching=packed"),
        ("training.use_peft=false", "training.batching=tree", "model.torch_dtype_str=bfloat16"),
    ],
)
def test_it_learns(configure: Configure, overrides: tuple[str, ...]) -> None:
    result = train(configure("training.max_steps=80", *overrides))
    losses = losses_of(result.folder)
    assert len(losses) == 80
    assert sum(losses[-9:]) / 9 < losses[0] / 3


def test_the_trained_model_says_the_answer_and_stops(configure: Configure) -> None:
    result = train(configure("training.max_steps=160", "training.use_peft=false"))
    assert result.trained == result.folder / "model"
    model = AutoModelForCausalLM.from_pretrained(result.trained)
    tokenizer = AutoTokenizer.from_pretrained(result.trained)
    prompt = encode_prompt(tokenizer, (ChatTurn("user", "Repeat.\n\nseven"),))
    mask = torch.ones(1, len(prompt))
    ids = model.generate(input_ids=torch.tensor([prompt]), attention_mask=mask, max_new_tokens=9)
    assert tokenizer.decode(ids[0, len(prompt) :]).startswith("seven<|im_end|>")


def test_full_training_gives_a_model_in_the_type_asked_for(configure: Configure) -> None:
    result = train(configure("training.use_peft=false", "model.torch_dtype_str=bfloat16"))
    assert (
        AutoModelForCausalLM.from_pretrained(result.trained, dtype="auto").dtype == torch.bfloat16
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="a rule for CPUs")
@pytest.mark.parametrize(
    ("fast", "use_peft", "used"),
    [
        (torch.bfloat16, "true", torch.bfloat16),
        (torch.bfloat16, "false", torch.float32),
        (torch.float32, "true", torch.float32),
    ],
)
def test_auto_is_the_faster_type_of_a_cpu_where_no_weight_suffers(
    configure: Configure,
    fast: torch.dtype,
    use_peft: str,
    used: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coalm.train.model.fast_dtype", lambda: fast)
    assert load_model(configure(f"training.use_peft={use_peft}")).dtype == used


def test_an_adapter_is_trained_in_float32_on_a_bfloat16_base(configure: Configure) -> None:
    result = train(configure("model.torch_dtype_str=bfloat16"))
    weights = load_file(result.folder / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert len(weights) == 2 * 7 * 2  # two layers of seven linear maps, two matrices each


def test_inputs_of_an_adapter_stay_in_bfloat16_and_nothing_differs(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[torch.dtype] = []
    forward = nn.Linear.forward

    def watched(self: nn.Linear, tokens: Tensor) -> Tensor:
        given.append(tokens.dtype)
        return forward(self, tokens)

    monkeypatch.setattr(nn.Linear, "forward", watched)
    runs = []
    for name in ("ours", "peft's"):
        runs.append(
            train(
                configure(
                    "model.torch_dtype_str=bfloat16", f"training.output_dir={tmp_path / name}"
                )
            )
        )
        assert (torch.float32 in given) == (name == "peft's")
        given.clear()
        # peft's own way, as every other trainer has it
        monkeypatch.setattr(
            LoraLayer,
            "cast_input_dtype_enabled",
            property(lambda _: True, lambda *_: None),
            raising=False,
        )
    ours, same = (load_file(run.folder / "adapter" / "adapter_model.safetensors") for run in runs)
    assert_close(ours, same, rtol=0, atol=0)


def test_training_goes_on_from_an_adapter(configure: Configure, tmp_path: Path) -> None:
    first = train(configure("training.max_steps=80", "training.learning_rate=0.003"))
    second = train(
        configure(
            f"model.adapter_model={first.trained}", f"training.output_dir={tmp_path / 'second'}"
        )
    )
    assert losses_of(second.folder)[0] < losses_of(first.folder)[0] / 2


Row = Mapping[str, Any]


@pytest.fixture
def first_step(configure: Configure, data: Path, tmp_path: Path) -> Callable[..., Row]:
    """Log row and weights of a first step, in double precision."""
    numbers = itertools.count()

    def first_step(*overrides: str) -> Row:
        run = train(
            configure(
                "model.torch_dtype_str=float64",
                "training.max_steps=1",
                f"training.output_dir={tmp_path / str(next(numbers))}",
                *overrides,
            )
        )
        row = next(row for _, row in jsonl.read(run.folder / "log.jsonl"))
        weights = next(run.trained.glob("*.safetensors"))
        return {"weights": load_file(weights), **row}

    return first_step


def assert_same_step(one: Row, other: Row) -> None:
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-12)
    # norms of transformers compute in single precision
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-6)
    assert one["targets"] == other["targets"]
    torch.testing.assert_close(one["weights"], other["weights"], rtol=1e-5, atol=1e-7)


def test_four_small_batches_give_the_gradient_of_one_big_one(
    first_step: Callable[..., Row],
) -> None:
    size, accumulation = (
        "training.per_device_train_batch_size",
        "training.gradient_accumulation_steps",
    )
    big = first_step(f"{size}=4", f"{accumulation}=1")
    assert_same_step(first_step(f"{size}=1", f"{accumulation}=4"), big)


@pytest.mark.parametrize("batching", ["tree", "packed"])
@pytest.mark.parametrize("use_peft", ["true", "false"])
@pytest.mark.parametrize("checkpointing", ["true", "false"])
def test_trees_make_the_step_that_padded_samples_make(
    first_step: Callable[..., Row], batching: str, use_peft: str, checkpointing: str
) -> None:
    common = (
        "training.per_device_train_batch_size=9",  # all samples, so that the order cannot matter
        f"training.use_peft={use_peft}",
        f"training.enable_gradient_checkpointing={checkpointing}",
    )
    padded = first_step(*common)
    for row_tokens in (500, 70):  # in one row, and in several that are accumulated
        layout = f"training.batching={batching}", f"training.row_tokens={row_tokens}"
        assert_same_step(first_step(*common, *layout), padded)


def test_the_log_and_the_folder(configure: Configure, write: Write) -> None:
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    other = write("other.jsonl", [{**chat, "meta": None}, chat])
    console = screen()
    config = configure(
        "training.num_train_epochs=2",
        "training.max_steps=-1",
        "training.gradient_accumulation_steps=2",
        "training.eval_strategy=steps",
        "training.eval_steps=2",
        "training.logging_steps=2",
        "training.warmup_steps=2",
        f"data.validation.datasets.0.dataset_path={other}",
    )
    with pytest.raises(CoalmError):  # its first row is neither a conversation nor a chat
        train(config)
    write("other.jsonl", [chat, chat])
    result = train(config, console=console)
    rows = [row for _, row in jsonl.read(result.folder / "log.jsonl")]
    # nine samples: 5 micro-batches, 3 steps an epoch; validation at 2, 4 and the last step
    assert [row["step"] for row in rows] == [1, 2, 2, 3, 4, 4, 5, 6, 6]
    assert rows[0].keys() == {
        *("step", "epoch", "loss", "loss_by_skill", "lr", "grad_norm", "targets", "tokens"),
        "seconds",
    }
    assert rows[2].keys() == {"step", "eval_loss", "eval_loss_by_skill"}
    assert rows[0]["loss_by_skill"] == {"train.jsonl": pytest.approx(rows[0]["loss"])}
    assert rows[0]["lr"] == pytest.approx(0.005)
    assert rows[3]["tokens"] == rows[-2]["tokens"] / 2
    assert (result.step, result.loss) == (6, rows[-2]["loss"])
    assert result.eval_loss == rows[-1]["eval_loss"]
    assert (result.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    run = json.loads((result.folder / "run.json").read_text())
    assert run["status"] == "finished"
    assert run["config"]["training"]["learning_rate"] == 0.01
    assert [len(file["sha256"]) for file in run["data"]["train"]] == [64]
    assert run["versions"]["torch"] == torch.__version__
    assert sorted(path.name for path in result.folder.iterdir()) == [
        *("adapter", "log.jsonl", "loss.png", "run.json", "tensorboard"),
    ]
    assert "step 2/6  loss" in shown(console)
    assert "step 3/6  loss" not in shown(console)
    assert "validation loss" in shown(console)


def test_what_is_left_out_is_counted_and_named(configure: Configure, write: Write) -> None:
    rows = [{"instruction": "Say", "input": "", "output": "x" * length} for length in (9, 300, 9)]
    path = write("mixed.jsonl", [*rows, {"messages": [{"role": "user", "content": "Hi"}]}])
    console = screen()
    train(
        configure(f"data.train.datasets.0.dataset_path={path}", "model.model_max_length=200"),
        console=console,
    )
    text = shown(console)
    assert f"1 dropped, longer than 200 tokens: {path}:2 ('mixed.jsonl:2')\n" in text
    assert f"1 dropped, no token to learn: {path}:4 ('mixed.jsonl:4')\n" in text
    line = next(line for line in text.splitlines() if " mixed.jsonl " in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[:3] == ["mixed.jsonl", "mixed.jsonl", "2"]
    assert cells[4] == "20"  # nine letters and the stop token, twice
    assert cells[6] == "2"


def test_no_usable_record_is_an_error(configure: Configure, write: Write) -> None:
    path = write("unspoken.jsonl", [{"messages": [{"role": "user", "content": "Hi"}]}] * 3)
    with pytest.raises(TrainError) as caught:
        train(configure(f"data.train.datasets.0.dataset_path={path}"))
    assert str(caught.value) == (
        f"data.train has no record to learn from: {path}: 3 read, 3 dropped; the first, {path}:1: "
        "no token to learn"
    )
    path.write_text("")
    with pytest.raises(TrainError, match=f"{path}: 0 read, 0 dropped$"):
        train(configure(f"data.train.datasets.0.dataset_path={path}"))


def test_a_finished_run_is_not_trained_again(configure: Configure) -> None:
    first = train(configure())
    before = (first.folder / "log.jsonl").stat().st_mtime_ns
    console = screen()
    assert train(configure(), console=console) == first
    assert (first.folder / "log.jsonl").stat().st_mtime_ns == before
    assert "is finished already; --overwrite trains it anew" in shown(console)
    assert train(configure(), overwrite=True)._replace(loss=None) == first._replace(loss=None)
    assert (first.folder / "log.jsonl").stat().st_mtime_ns > before


def test_another_run_in_the_folder_is_refused(configure: Configure, data: Path) -> None:
    folder = train(configure()).folder
    with pytest.raises(TrainError) as caught:
        train(configure("training.learning_rate=0.02", "training.seed=7"))
    assert str(caught.value) == (
        f"{folder} holds another run: training.seed was 42 and is 7; training.learning_rate was "
        "0.01 and is 0.02; choose another training.output_dir, or replace that run with --overwrite"
    )
    train(configure("training.logging_steps=3"))  # decides nothing
    with data.open("a") as file:
        file.write(json.dumps({"instruction": "More", "output": "more"}) + "\n")
    with pytest.raises(TrainError, match=r"sha256 of data\.train\.datasets\.0 was '[0-9a-f]{64}'"):
        train(configure())
    train(configure("training.learning_rate=0.02"), overwrite=True)


def test_the_same_data_elsewhere_are_the_same_data(configure: Configure, data: Path) -> None:
    first = train(configure())
    moved = data.rename(data.with_name("moved.jsonl"))
    assert train(configure(f"data.train.datasets.0.dataset_path={moved}")) == first


def test_a_folder_of_somebody_else_is_left_alone(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    for overwrite in (False, True):
        with pytest.raises(TrainError, match=r"run holds weights, but no run\.json; choose ano"):
            train(configure(), overwrite=overwrite)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(TrainError, match=r"run holds a damaged run\.json \(Expecting"):
        train(configure())
    (tmp_path / "run" / "run.json").write_text("[]")
    with pytest.raises(TrainError, match=r"holds a damaged run\.json \(no object"):
        train(configure())


def test_a_folder_that_cannot_be_made(configure: Configure, data: Path) -> None:
    for folder in (data / "run", data):
        with pytest.raises(TrainError, match=f"training.output_dir {folder} cannot be "):
            train(configure(f"training.output_dir={folder}"))


def test_a_full_disk_is_said(configure: Configure) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(
            TrainError, match=r"run/checkpoint-2 cannot be written: .*; make room, t"
        ):
            train(configure("training.save_steps=2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert train(configure("training.save_steps=2")).step == 4


def test_a_loss_that_is_not_finite_names_the_samples(
    configure: Configure, tiny_model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] *= float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainError) as caught:
        train(configure(f"model.model_name={broken}"))
    message = str(caught.value)
    assert message.startswith("step 1: the loss is nan with the samples train.jsonl:")
    assert message.count("train.jsonl:") == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.model_name=no/such", "no tokenizer can be loaded from no/such"),
        ("model.torch_dtype_str=float16", "model.torch_dtype_str: .* in float16, whose"),
        ("model.tokenizer_pad_token=<pad>", "model.tokenizer_pad_token: .* has no token '<pad>'"),
        ("model.attn_implementation=magic", "model '.*' cannot be loaded: .*magic"),
        ("model.adapter_model=nowhere", "adapter nowhere cannot be put on .*: "),
        ("peft.lora_target_modules=[ffn]", "a LoRA adapter cannot be put on .*: .*ffn"),
        ("training.resume_from_checkpoint=gone", "adapter gone cannot be put on"),
        ("data.train.datasets.0.dataset_path=gone", "data.train.datasets.0.dataset_path: no such"),
    ],
)
def test_what_cannot_be_trained_is_said(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CoalmError, match=message) as caught:
        train(configure(override))
    assert "\n" not in str(caught.value)


def test_a_signal_saves_a_checkpoint(configure: Configure) -> None:
    class Interrupting(StringIO):
        def write(self, text: str) -> int:
            if "step 3/" in text:
                os.kill(os.getpid(), signal.SIGINT)
            return super().write(text)

    config = configure("training.logging_steps=1", "training.max_steps=9")
    before = signal.getsignal(signal.SIGINT)
    result = train(config, console=Console(file=Interrupting(), width=200))
    assert signal.getsignal(signal.SIGINT) is before
    assert (result.trained, result.step) == (None, 3)
    assert json.loads((result.folder / "run.json").read_text())["status"] == "stopped"
    assert (result.folder / "checkpoint-3").is_dir()
    console = screen()
    assert train(config, console=console).step == 9
    assert f"going on from {result.folder / 'checkpoint-3'}" in shown(console)
    assert len(losses_of(result.folder)) == 9
