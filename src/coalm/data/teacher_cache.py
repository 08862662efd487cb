"""Answers of a teacher model on disk, so that no question is ever paid for twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from coalm import jsonl
from coalm.engines.base import Completion, SamplingParams
from coalm.errors import DataError
from coalm.types import Prompt


class _Line(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    completion: Completion


class Cache:
    """Answers by model, prompt and settings, all in memory; the file may serve several models."""

    def __init__(self, path: Path, model: str, params: SamplingParams) -> None:
        """Read what is there.

        Raises:
            DataError: the file cannot be read, or is no cache.
        """
        self._path = path
        self._name = json.dumps([model, params.model_dump(mode="json")])
        self._known: dict[str, Completion] = {}
        self._out: jsonl.Appender | None = None
        jsonl.recover(path)
        for number, row in jsonl.read(path) if path.exists() else ():
            try:
                line = _Line.model_validate(row)
            except ValidationError as e:
                raise DataError(f"{path}:{number}: no line of a teacher's cache; move it") from e
            self._known[line.key] = line.completion

    def key(self, prompt: Prompt) -> str:
        """Under which name the answer to a prompt is kept."""
        return hashlib.sha256(f"{self._name}{json.dumps(prompt)}".encode()).hexdigest()

    def get(self, key: str) -> Completion | None:
        """The answer of that name, if there is one."""
        return self._known.get(key)

    def add(self, key: str, completion: Completion) -> None:
        """Keep an answer, on disk first."""
        if self._out is None:
            self._out = jsonl.Appender(self._path)
        # ids differ from server to server and serve nothing here
        kept = completion._replace(token_ids=())
        self._out.append({"key": key, "completion": [*kept]})
        self._known[key] = kept

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._out is not None:
            self._out.close()
            self._out = None
