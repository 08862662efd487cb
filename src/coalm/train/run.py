"""`train`: from a configuration to a run folder with an adapter or a model in it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coalm import jsonl
from coalm.chat_template import load_tokenizer
from coalm.engines.config import ModelConfig
from coalm.engines.named import resolve_model
from coalm.errors import ConfigError, MissingExtraError, TrainError
from coalm.heap import keep_heap_small
from coalm.train.card import write_model_card
from coalm.train.config import SplitConfig, TrainConfig
from coalm.train.curve import draw_loss_curve
from coalm.train.dataset import Dropped, TrainingSample, read_samples
from coalm.train.folder import ADAPTER, FINISHED, MODEL, STOPPED, RunFolder, checkpoint_name
from coalm.train.identity import describe, require_same
from coalm.train.loop import TrainingLoop
from coalm.train.model import (
    TrainedModel,
    context_length,
    gather_weights,
    has_liger,
    load_model,
    read_model_config,
    save_weights,
    size_of,
)
from coalm.train.ranks import ALONE, Ranks
from coalm.train.report import say, show_data, show_size
from coalm.train.trackers import make_trackers


class TrainResult(NamedTuple):
    """How a run stands."""

    folder: Path
    """The run folder, `training.output_dir`."""
    trained: Path | None
    """The adapter's or model's folder; None if the run was stopped before its end."""
    step: int
    """Steps done."""
    loss: float | None
    """Loss per token of the last step."""
    eval_loss: float | None
    """Validation loss per token, measured last."""
    picture: Path | None
    """The loss curve; None if it could not be drawn."""


def train(
    config: TrainConfig,
    *,
    overwrite: bool = False,
    console: Console | None = None,
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Train as `config` says, going on from the newest checkpoint in its folder if there is one.

    Args:
        config: what to train, on what, how, and into which folder.
        overwrite: forget what that folder holds of an earlier run.
        console: where to show data, progress and warnings; None is quiet.
        ranks: the processes that train together; all of them must call this.

    Raises:
        ConfigError: data files are missing, or the model cannot be trained in the type asked for.
        DataError: a row is no training record.
        TrainError: the folder holds another run or is in use, no record is usable, the model
            cannot be loaded, or loss or gradient is not finite.
        MissingExtraError: a package that the configuration asks for is not installed.
    """
    config.require_data()
    console = console if console and ranks.main else Console(quiet=True)
    folder = RunFolder(config.training.output_dir)
    with ExitStack() as stack:
        ranks.on_main(lambda: stack.enter_context(folder.locked()))
        description = ranks.on_main(lambda: describe(config, ranks.count))
        start = ranks.on_main(lambda: _start(config, folder, description, overwrite))
        if start.finished:
            say(console, f"{folder.path} is finished already; --overwrite trains it anew")
            return _result(folder)
        return _train(config, folder, description, start, console, ranks)


class _Start(NamedTuple):
    """What a run begins with."""

    finished: bool = False
    """There is nothing left to do."""
    checkpoint: Path | None = None
    """Where to go on from."""
    clear: bool = False
    """Remove what the folder holds first."""


def _start(
    config: TrainConfig, folder: RunFolder, description: dict[str, Any], overwrite: bool
) -> _Start:
    before = folder.read()
    checkpoint = config.training.resume_from_checkpoint
    if overwrite or not folder.holds_weights():
        return _Start(checkpoint=checkpoint, clear=overwrite)
    require_same(folder.path, before, description)
    checkpoint = next(reversed(folder.checkpoints()), checkpoint)
    return _Start(before.get("status") == FINISHED and bool(folder.result()), checkpoint)


def _train(
    config: TrainConfig,
    folder: RunFolder,
    description: dict[str, Any],
    start: _Start,
    console: Console,
    ranks: Ranks,
) -> TrainResult:
    tokenizer = _tokenizer(config.model)
    samples, validation = _read_data(config, tokenizer, console)
    torch.manual_seed(config.training.seed)
    if not torch.cuda.is_available():
        keep_heap_small()
    loaded = load_model(config, start.checkpoint, ranks)
    torch.manual_seed(config.training.seed + ranks.index)  # dropout differs, the adapter did not
    show_size(console, *size_of(loaded.model))
    _say_what_has_no_effect(config, ranks, console)
    with ExitStack() as stack:
        trackers = [
            stack.enter_context(tracker)
            for tracker in (make_trackers(config, console) if ranks.main else ())
        ]
        loop = TrainingLoop(config, folder, loaded, samples, validation, ranks, trackers)
        if start.checkpoint:
            loop.resume(start.checkpoint)
            say(console, f"going on from {start.checkpoint}")
        # Only here, when nothing of the user's can be wrong any more, does the folder change.
        ranks.on_main(lambda: _begin(folder, description, start, loop.progress.step))
        finished = loop.run(console)
    if finished:
        best = loop.progress.best_step
        if config.training.load_best_model_at_end and best != loop.progress.step:
            say(
                console, f"the lowest validation loss was that of step {best}; its weights are kept"
            )
            loaded = load_model(config, folder.path / checkpoint_name(best), ranks)
        model = loaded.finished()
        weights = gather_weights(model, ranks)
        ranks.on_main(lambda: _save_result(config, folder, model, weights, tokenizer, description))
    if ranks.main:
        _draw(folder, console)
        folder.write({**description, "status": FINISHED if finished else STOPPED})
    ranks.gather(None)  # nobody reads the folder before it is complete
    return _result(folder)


def _begin(folder: RunFolder, description: dict[str, Any], start: _Start, step: int) -> None:
    if start.clear:
        folder.clear()
    folder.begin(description, step=step)


def _save_result(
    config: TrainConfig,
    folder: RunFolder,
    model: TrainedModel,
    weights: dict[str, Tensor] | None,
    tokenizer: PreTrainedTokenizerBase,
    description: dict[str, Any],
) -> None:
    with folder.new(ADAPTER if config.training.use_peft else MODEL) as trained:
        save_weights(model, trained, weights)
        tokenizer.save_pretrained(trained)
        write_model_card(trained, config, description, folder.log)


def _say_what_has_no_effect(config: TrainConfig, ranks: Ranks, console: Console) -> None:
    if config.fsdp.enable_fsdp and not ranks.launched:
        say(
            console,
            "fsdp.enable_fsdp: nothing is sharded in a process that no launcher started; use "
            "torchrun --nproc-per-node N -m coalm train ...",
        )
    if config.model.enable_liger_kernel and not has_liger():
        say(
            console,
            "model.enable_liger_kernel: the kernels need a GPU and the package liger-kernel; the "
            "plain ones compute the same",
        )


def _tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(
        resolve_model(model.model_name),
        model.chat_template,
        trust_remote_code=model.trust_remote_code,
    )
    pad = model.tokenizer_pad_token
    if pad is not None:
        if pad not in tokenizer.get_vocab():
            raise ConfigError(
                f"model.tokenizer_pad_token: {model.model_name} has no token {pad!r}; leave the "
                "key out to take the model's own"
            )
        tokenizer.pad_token = pad
    return tokenizer


def _read_data(
    config: TrainConfig, tokenizer: PreTrainedTokenizerBase, console: Console
) -> tuple[list[TrainingSample], list[TrainingSample]]:
    """Training and validation samples; the second are none unless they are asked for."""
    limits = (config.model.model_max_length, context_length(read_model_config(config.model)))
    limit = min((length for length in limits if length), default=sys.maxsize)
    samples = _read_split("train", config.data.train, tokenizer, limit, console)
    if config.training.eval_strategy == "no":
        return samples, []
    return samples, _read_split("validation", config.data.validation, tokenizer, limit, console)


def _read_split(
    name: str,
    split: SplitConfig,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    console: Console,
) -> list[TrainingSample]:
    samples: list[TrainingSample] = []
    dropped: list[Dropped] = []
    last_only = split.train_target == "final_assistant_turn"
    paths = [dataset.dataset_path for dataset in split.datasets if dataset.dataset_path]
    with console.status(f"reading data.{name}"):
        for path in paths:
            for found in read_samples(path, tokenizer, max_length=limit, last_only=last_only):
                if isinstance(found, Dropped):
                    dropped.append(found)
                else:
                    samples.append(found)
    show_data(console, f"data.{name}", samples, dropped)
    if not samples:
        first = f"; the first, {dropped[0].where}: {dropped[0].reason}" if dropped else ""
        raise TrainError(
            f"data.{name} has no record to learn from: {', '.join(map(str, paths))}: "
            f"{len(dropped)} read, {len(dropped)} dropped{first}"
        )
    return samples


def _draw(folder: RunFolder, console: Console) -> None:
    try:
        draw_loss_curve(folder.log, folder.picture)
    except MissingExtraError as e:
        say(console, f"no picture of the loss curve: {e}")


def _result(folder: RunFolder) -> TrainResult:
    step, loss, eval_loss = 0, None, None
    for _, row in jsonl.read(folder.log):
        step, loss = row["step"], row.get("loss", loss)
        eval_loss = row.get("eval_loss", eval_loss)
    picture = folder.picture if folder.picture.exists() else None
    return TrainResult(folder.path, folder.result(), step, loss, eval_loss, picture)
