"""The training loop: steps, validation, checkpoints, and the log of all of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim import AdamW

from coalm.errors import TrainError
from coalm.jsonl import Appender
from coalm.train.batches import Batch, BatchOrder, padded_batch
from coalm.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from coalm.train.config import TrainConfig
from coalm.train.dataset import TrainingSample
from coalm.train.folder import RunFolder, checkpoint_name
from coalm.train.loss import SkillTotals, target_losses
from coalm.train.model import Loaded
from coalm.train.report import report_steps
from coalm.train.schedule import learning_rate
from coalm.train.stopping import wish_to_stop

_KEPT = 2
"""Checkpoints that stay: the newest, and one in case that one is lost."""
_NAMED = 8
"""Samples of a bad step that are named one by one."""


class TrainingLoop:
    """One model, its optimizer and its data, from the first step or a checkpoint to the last.

    Its steps are a function of the configuration, the samples and the state in a checkpoint:
    stopped anywhere and resumed, it computes the numbers of a run that never stopped.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        loaded: Loaded,
        samples: Sequence[TrainingSample],
        validation: Sequence[TrainingSample],
    ) -> None:
        self.progress = Progress()
        """How far it got."""
        self._config = config.training
        self._folder = folder
        self._loaded = loaded
        self._samples = samples
        self._validation = sorted(validation, key=lambda sample: len(sample.token_ids))
        self._order = BatchOrder(
            [len(sample.token_ids) for sample in samples],
            batch_size=self._config.per_device_train_batch_size,
            accumulation=self._config.gradient_accumulation_steps,
            seed=_either(config.data.train.seed, self._config.seed),
            group_by_length=self._config.group_by_length,
        )
        epochs = self._config.num_train_epochs
        limit = self._config.max_steps
        self.total = epochs * self._order.steps_per_epoch if limit < 0 else limit
        """Steps of the whole run."""
        self._trained = [p for p in loaded.model.parameters() if p.requires_grad]
        self._optimizer = _adamw(self._trained, config)

    def resume(self, checkpoint: Path) -> None:
        """Take over everything but the weights, which the model has been loaded with.

        Raises:
            TrainError: the checkpoint is damaged.
        """
        self.progress = load_checkpoint(checkpoint, self._optimizer)

    def run(self, console: Console) -> bool:
        """Train to the last step; False if the user stopped it, with a checkpoint at that place.

        Raises:
            TrainError: loss or gradient is not finite, or the folder cannot be written.
        """
        done, every = self.progress.step, self._config.logging_steps
        with (
            Appender(self._folder.log) as log,
            report_steps(console, self.total, done, every) as report,
            wish_to_stop() as wish,
        ):
            while self.progress.step < self.total:
                row = self._step()
                log.append(row)
                report.step(row)
                if self._due_for_validation():
                    row = {"step": self.progress.step, **self._validate()}
                    log.append(row)
                    report.validation(row)
                if wish.is_set() and self.progress.step < self.total:
                    self._save()
                    return False
                if _divides(self._config.save_steps, self.progress.step):
                    self._save()
        return True

    def _step(self) -> dict[str, Any]:
        started = time.perf_counter()
        batches = [
            padded_batch([self._samples[index] for index in indices])
            for indices in self._order.step(self.progress.step)
        ]
        step = self.progress.step + 1
        rate = learning_rate(self._config, step, self.total)
        losses, norm = self._update(batches, step, rate)
        self.progress = Progress(
            step=step,
            tokens=self.progress.tokens + sum(batch.tokens for batch in batches),
            seconds=self.progress.seconds + time.perf_counter() - started,
        )
        return {
            "step": step,
            "epoch": round(step / self._order.steps_per_epoch, 4),
            "loss": losses.mean(),
            "loss_by_skill": losses.mean_by_skill(),
            "lr": rate,
            "grad_norm": norm,
            "targets": losses.targets,
            "tokens": self.progress.tokens,
            "seconds": round(self.progress.seconds, 3),
        }

    def _update(self, batches: list[Batch], step: int, rate: float) -> tuple[SkillTotals, float]:
        """One optimizer step on the mean loss over all targets of `batches`."""
        losses = SkillTotals()
        targets = sum(len(batch.targets) for batch in batches)
        for batch in batches:
            batch_losses = self._losses(batch)
            losses.add(batch_losses, batch)
            total = batch_losses.sum()
            _require_finite("loss", total.item(), step, [batch])
            (total / targets).backward()
        limit = self._config.max_grad_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self._trained, limit).item()
        _require_finite("gradient", norm, step, batches)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses, norm

    def _losses(self, batch: Batch) -> Tensor:
        with self._loaded.computing():
            return target_losses(self._loaded.model, batch.to(self._loaded.model.device))

    def _validate(self) -> dict[str, Any]:
        size = self._config.per_device_eval_batch_size
        losses = SkillTotals()
        self._loaded.model.eval()
        with torch.no_grad():
            for start in range(0, len(self._validation), size):
                batch = padded_batch(self._validation[start : start + size])
                losses.add(self._losses(batch), batch)
        self._loaded.model.train()
        return {"eval_loss": losses.mean(), "eval_loss_by_skill": losses.mean_by_skill()}

    def _due_for_validation(self) -> bool:
        step = self.progress.step
        match self._config.eval_strategy:
            case "no":
                return False
            case "steps":
                return step == self.total or _divides(self._config.eval_steps, step)
            case "epoch":
                return step == self.total or _divides(self._order.steps_per_epoch, step)

    def _save(self) -> None:
        with self._folder.new(checkpoint_name(self.progress.step)) as folder:
            save_checkpoint(folder, self._loaded.model, self._optimizer, self.progress)
        self._folder.keep_last(_KEPT)


def _adamw(parameters: Iterable[nn.Parameter], config: TrainConfig) -> AdamW:
    """AdamW that leaves biases and norms, the tensors of one dimension, undecayed."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in parameters:
        groups[parameter.ndim > 1].append(parameter)
    decay = config.training.weight_decay
    return AdamW(
        [{"params": groups[True], "weight_decay": decay}, {"params": groups[False]}],
        lr=config.training.learning_rate,
        weight_decay=0.0,
        fused=config.training.optimizer == "adamw_torch_fused",
    )


def _require_finite(what: str, value: float, step: int, batches: Sequence[Batch]) -> None:
    if math.isfinite(value):
        return
    ids = [sample.labels.id for batch in batches for sample in batch.samples]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    raise TrainError(
        f"step {step}: the {what} is {value} with the samples {', '.join(ids[:_NAMED])}{more}; "
        "look at them, or lower training.learning_rate"
    )


def _divides(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _either(first: int | None, second: int) -> int:
    return second if first is None else first
