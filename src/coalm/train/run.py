"""`train`: from a configuration to a run folder with an adapter or a model in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from transformers import PreTrainedTokenizerBase

from coalm import jsonl
from coalm.chat_template import load_tokenizer
from coalm.engines.config import ModelConfig
from coalm.engines.gguf import resolve_model
from coalm.errors import ConfigError, MissingExtraError, TrainError
from coalm.train.config import SplitConfig, TrainConfig
from coalm.train.curve import draw_loss_curve
from coalm.train.dataset import Dropped, TrainingSample, read_samples
from coalm.train.folder import ADAPTER, FINISHED, MODEL, STOPPED, RunFolder
from coalm.train.identity import describe, require_same
from coalm.train.loop import TrainingLoop
from coalm.train.model import context_length, load_model, read_model_config, save_weights, size_of
from coalm.train.report import say, show_data, show_size


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
    config: TrainConfig, *, overwrite: bool = False, console: Console | None = None
) -> TrainResult:
    """Train as `config` says, going on from the newest checkpoint in its folder if there is one.

    Args:
        config: what to train, on what, how, and into which folder.
        overwrite: forget what that folder holds of an earlier run.
        console: where to show data, progress and warnings; None is quiet.

    Raises:
        ConfigError: data files are missing, or the model cannot be trained in the type asked for.
        DataError: a row is no training record.
        TrainError: the folder holds another run, no record is usable, the model cannot be loaded,
            or loss or gradient is not finite.
    """
    config.require_data()
    console = console or Console(quiet=True)
    folder = RunFolder(config.training.output_dir)
    description = describe(config)
    before = folder.read()
    checkpoint = config.training.resume_from_checkpoint
    if folder.holds_weights() and not overwrite:
        require_same(folder.path, before, description)
        checkpoint = next(reversed(folder.checkpoints()), checkpoint)
        if before.get("status") == FINISHED and folder.result():
            say(console, f"{folder.path} is finished already; --overwrite trains it anew")
            return _result(folder)
    tokenizer = _tokenizer(config.model)
    samples, validation = _read_data(config, tokenizer, console)
    torch.manual_seed(config.training.seed)
    loaded = load_model(config, checkpoint)
    show_size(console, *size_of(loaded.model))
    loop = TrainingLoop(config, folder, loaded, samples, validation)
    if checkpoint:
        loop.resume(checkpoint)
        say(console, f"going on from {checkpoint}")
    # Only here, when nothing of the user's can be wrong any more, does the folder change.
    if overwrite:
        folder.clear()
    folder.begin(description, step=loop.progress.step)
    finished = loop.run(console)
    if finished:
        with folder.new(ADAPTER if config.training.use_peft else MODEL) as trained:
            save_weights(loaded.finished(), trained)
            tokenizer.save_pretrained(trained)
    _draw(folder, console)
    folder.write({**description, "status": FINISHED if finished else STOPPED})
    return _result(folder)


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
