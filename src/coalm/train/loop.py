"""The training loop: steps, validation, checkpoints, and the log of all of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor, nn
from torch.optim import AdamW

from coalm.errors import TrainError
from coalm.jsonl import Appender
from coalm.train.attention import prepare_for_trees
from coalm.train.batches import LAYOUTS, Batch
from coalm.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from coalm.train.config import TrainConfig
from coalm.train.dataset import TrainingSample
from coalm.train.folder import RunFolder
from coalm.train.loss import SkillTotals, target_losses
from coalm.train.model import Loaded
from coalm.train.order import longest, training_order, validation_order
from coalm.train.ranks import ALONE, Ranks, whole
from coalm.train.report import report_steps
from coalm.train.schedule import learning_rate
from coalm.train.sharding import is_in_pieces
from coalm.train.stopping import wish_to_stop
from coalm.train.trackers import Tracker

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
        ranks: Ranks = ALONE,
        trackers: Iterable[Tracker] = (),
    ) -> None:
        self.progress = Progress()
        """How far it got."""
        self._config = config.training
        self._folder = folder
        self._loaded = loaded
        self._ranks = ranks
        self._trackers: list[Tracker] = list(trackers)
        self._samples = samples
        self._validation = validation
        self._layout = LAYOUTS[self._config.batching]
        seed = _either(config.data.train.seed, self._config.seed)
        self._order = training_order(self._config, samples, seed=seed, ranks=ranks.count)
        if self._config.batching != "padded":
            prepare_for_trees(
                loaded.model,
                asked=config.model.attn_implementation,
                longest=longest([*samples, *validation]),
                device=loaded.device,
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
        self.progress = load_checkpoint(checkpoint, self._optimizer, self._ranks)

    def run(self, console: Console) -> bool:
        """Train to the last step; False if the user stopped it, with a checkpoint at that place.

        Raises:
            TrainError: loss or gradient is not finite, or the folder cannot be written.
        """
        done, every = self.progress.step, self._config.logging_steps
        with (
            ExitStack() as stack,
            report_steps(console, self.total, done, every) as report,
            wish_to_stop(patient=self._ranks.launched) as wish,
        ):
            if self._ranks.main:
                self._trackers.append(stack.enter_context(Appender(self._folder.log)).append)
            while self.progress.step < self.total:
                row = self._step()
                self._track(row)
                report.step(row)
                improved = False
                if self._due_for_validation():
                    row = {"step": self.progress.step, **self._validate()}
                    improved = self._compare(row["eval_loss"])
                    self._track(row)
                    report.validation(row)
                stopped = self._ranks.any(wish.is_set()) and self.progress.step < self.total
                kept = improved and self._config.load_best_model_at_end
                if stopped or kept or _divides(self._config.save_steps, self.progress.step):
                    self._save()
                if stopped:
                    return False
                if self._out_of_patience():
                    break
        return True

    def _step(self) -> dict[str, Any]:
        started = time.perf_counter()
        passes = self._order.step(self.progress.step)
        step = self.progress.step + 1
        rate = learning_rate(self._config, step, self.total)
        losses, norm = self._update(passes, step, rate)
        self.progress = self.progress._replace(
            step=step,
            tokens=self.progress.tokens + self._tokens(passes),
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

    def _update(
        self, passes: Sequence[list[int]], step: int, rate: float
    ) -> tuple[SkillTotals, float]:
        """One optimizer step on the mean loss over all targets of `passes`."""
        mine = SkillTotals()
        fault: str | None = None
        targets = sum(self._samples[index].targets for indices in passes for index in indices)
        # FSDP takes the mean over the processes where the sum is wanted
        scale = self._ranks.count if is_in_pieces(self._loaded.model) else 1
        for indices, counts in self._ranks.share(passes):
            batch = self._layout([self._samples[index] for index in indices])
            losses = self._losses(batch)
            if counts:
                mine.add(losses, batch)
                fault = fault or _fault("loss", losses.sum().item(), step, batch.samples)
            (losses.sum() * (scale * counts / targets)).backward()
        reports = self._ranks.gather((mine, fault))
        _require_none(fault for _, fault in reports)
        self._ranks.sum_gradients(self._trained)
        limit = self._config.max_grad_norm or math.inf
        norm = whole(nn.utils.clip_grad_norm_(self._trained, limit)).item()
        _require_none([_fault("gradient", norm, step, [self._samples[i] for i in chain(*passes)])])
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return SkillTotals.merged(losses for losses, _ in reports), norm

    def _tokens(self, passes: Sequence[list[int]]) -> int:
        return sum(len(self._samples[index].token_ids) for index in chain(*passes))

    def _losses(self, batch: Batch) -> Tensor:
        with self._loaded.computing():
            return target_losses(self._loaded.model, batch.to(self._loaded.device))

    def _validate(self) -> dict[str, Any]:
        losses = SkillTotals()
        with self._loaded.evaluating():
            passes = validation_order(self._config, self._validation)
            for indices, counts in self._ranks.share(passes):
                batch = self._layout([self._validation[index] for index in indices])
                batch_losses = self._losses(batch)
                if counts:
                    losses.add(batch_losses, batch)
        losses = SkillTotals.merged(self._ranks.gather(losses))
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

    def _compare(self, loss: float) -> bool:
        """Take note of a validation loss; whether it is the lowest so far."""
        best = self.progress.best_loss
        improved = best is None or loss < best
        if improved:
            self.progress = self.progress._replace(
                best_step=self.progress.step, best_loss=loss, worse=0
            )
        else:
            self.progress = self.progress._replace(worse=self.progress.worse + 1)
        return improved

    def _out_of_patience(self) -> bool:
        patience = self._config.early_stopping_patience
        return patience is not None and self.progress.worse >= patience

    def _track(self, row: Mapping[str, Any]) -> None:
        for track in self._trackers:
            track(row)

    def _save(self) -> None:
        save_checkpoint(
            self._folder, self._loaded.model, self._optimizer, self.progress, self._ranks
        )
        kept = {self.progress.best_step} if self._config.load_best_model_at_end else set()
        if self._ranks.main:
            self._folder.keep_last(_KEPT, besides=kept)


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


def _fault(what: str, value: float, step: int, samples: Sequence[TrainingSample]) -> str | None:
    """What is wrong with a value that is not finite."""
    if math.isfinite(value):
        return None
    ids = [sample.labels.id for sample in samples]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return (
        f"step {step}: the {what} is {value} with the samples {', '.join(ids[:_NAMED])}{more}; "
        "look at them, or lower training.learning_rate"
    )


def _require_none(faults: Iterable[str | None]) -> None:
    for fault in faults:
        if fault:
            raise TrainError(fault)


def _divides(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _either(first: int | None, second: int) -> int:
    return second if first is None else first
