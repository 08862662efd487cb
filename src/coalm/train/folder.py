"""The folder of one training run: what it was started with, how far it got, what came out.

::

    run.json          configuration, checksums of the data, versions, state and result
    log.jsonl         one row a step, one a validation
    checkpoint-300/   weights and everything else that the next step depends on
    adapter/          the result; `model/` after full fine-tuning
    loss.png          the loss curve
    tensorboard/      the log for TensorBoard

Whatever is here was written whole: files and folders get their name when they are complete, so a
process that is killed leaves nothing that looks finished and is not.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coalm import jsonl
from coalm.errors import TrainError

RUN_FILE = "run.json"
LOG_FILE = "log.jsonl"
PICTURE_FILE = "loss.png"
ADAPTER = "adapter"
MODEL = "model"
TENSORBOARD = "tensorboard"
RUNNING, STOPPED, FINISHED = "running", "stopped", "finished"
_CHECKPOINT = "checkpoint-"
_UNFINISHED = ".unfinished-"


class RunFolder:
    """Paths and files of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / LOG_FILE
        self.picture = path / PICTURE_FILE

    def read(self) -> dict[str, Any]:
        """What `run.json` says; empty where no run was started.

        Raises:
            TrainError: the file is damaged, or is missing beside weights, which then are not ours.
        """
        file = self.path / RUN_FILE
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if not self.holds_weights():
                return {}
            fault = f"holds weights, but no {RUN_FILE}"
        except OSError as e:
            fault = f"cannot be read ({e.strerror})"
        except ValueError as e:
            fault = f"holds a damaged {RUN_FILE} ({e})"
        else:
            if isinstance(found, dict):
                return found
            fault = f"holds a damaged {RUN_FILE} (no object)"
        raise TrainError(
            f"training.output_dir {self.path} {fault}; choose another folder, or remove this one"
        )

    def begin(self, description: Mapping[str, Any], step: int) -> None:
        """Note that a run goes on after `step`; what a run before it left beyond that goes.

        Raises:
            TrainError: the folder cannot be written.
        """
        self.write({**description, "status": RUNNING})
        self._tidy()
        for name in (ADAPTER, MODEL):
            self._remove(self.path / name)
        if self.log.exists():
            jsonl.recover(self.log)
            rows = [row for _, row in jsonl.read(self.log) if row["step"] <= step]
            jsonl.write(self.log, rows)

    def write(self, description: Mapping[str, Any]) -> None:
        """Replace `run.json`.

        Raises:
            TrainError: the folder cannot be written.
        """
        scratch = self.path / f"{_UNFINISHED}{RUN_FILE}"
        text = json.dumps(description, indent=1, ensure_ascii=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            scratch.write_text(text + "\n", encoding="utf-8")
            _to_disk(scratch)
            scratch.replace(self.path / RUN_FILE)
        except OSError as e:
            raise TrainError(f"training.output_dir {self.path} cannot be written: {e}") from e

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        found = [p for p in self.path.glob(f"{_CHECKPOINT}*") if step_of(p) is not None]
        return sorted(found, key=lambda p: step_of(p) or 0)

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """An empty folder to fill; it takes its `name` (and another's place) on leaving.

        Raises:
            TrainError: it cannot be written.
        """
        from safetensors import SafetensorError

        scratch = self.path / f"{_UNFINISHED}{name}"
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            yield scratch
            for file in scratch.rglob("*"):
                _to_disk(file)
            self._remove(self.path / name)
            scratch.rename(self.path / name)
        except (OSError, SafetensorError) as e:
            raise TrainError(
                f"{self.path / name} cannot be written: {e}; make room, then give the same command "
                "again"
            ) from e

    def result(self) -> Path | None:
        """Folder of the trained adapter or model; None while there is none."""
        found = (self.path / ADAPTER, self.path / MODEL)
        return next((path for path in found if path.is_dir()), None)

    def holds_weights(self) -> bool:
        """Whether there is anything here that training anew would lose."""
        return bool(self.checkpoints()) or self.result() is not None

    def keep_last(self, count: int, besides: Collection[int] = ()) -> None:
        """Remove all checkpoints but the newest `count` and those after the steps `besides`."""
        for path in self.checkpoints()[:-count]:
            if step_of(path) not in besides:
                self._remove(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others out of this folder; the lock goes with the process, however that ends.

        Raises:
            TrainError: another process trains in it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY)
        except OSError as e:
            raise TrainError(f"training.output_dir {self.path} cannot be written: {e}") from e
        try:
            _lock(handle, self.path)
            yield
        finally:
            os.close(handle)
            with suppress(OSError):
                self.path.rmdir()  # only if nothing came of it

    def clear(self) -> None:
        """Remove everything that a run writes, and nothing else."""
        for name in (RUN_FILE, LOG_FILE, PICTURE_FILE):
            (self.path / name).unlink(missing_ok=True)
        for path in (*self.checkpoints(), *(self.path / n for n in (ADAPTER, MODEL, TENSORBOARD))):
            self._remove(path)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what a killed process left half written."""
        for path in self.path.glob(f"{_UNFINISHED}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _remove(self, path: Path) -> None:
        # Renamed first: a folder that is only half removed must not look like a checkpoint.
        if path.exists():
            doomed = self.path / f"{_UNFINISHED}removed-{path.name}"
            shutil.rmtree(doomed, ignore_errors=True)
            path.rename(doomed)
            shutil.rmtree(doomed)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise TrainError(
            f"training.output_dir {path} is in use by another training; wait for it, or choose "
            "another folder"
        ) from e
    except OSError:
        return  # a file system without locks


def checkpoint_name(step: int) -> str:
    """Name of the folder that holds the state after `step`."""
    return f"{_CHECKPOINT}{step}"


def step_of(path: Path) -> int | None:
    """The step that a checkpoint folder was made after; None if it is not one."""
    number = path.name.removeprefix(_CHECKPOINT)
    return int(number) if number.isdecimal() and path.name != number else None


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
