"""The manifest of a built data set: what went in, what was left out, what came out.

It is written last, so a folder with a manifest holds a complete build. Nothing in it differs
between two builds of the same input: no times, no host.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coalm import __version__
from coalm.data.base import Ledger
from coalm.data.files import first_fault
from coalm.data.tally import Rows
from coalm.data.validate import CRITERIA, examples
from coalm.errors import DataError

MANIFEST = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceReport(_Part):
    """What one source read."""

    files: dict[str, str]
    """Raw file to its sha256."""
    absent: list[str]
    """Why the source as a whole was left out; empty when it was read."""
    missing: list[str]
    """Files of the data set that this copy of it lacks."""
    counts: dict[str, int]
    rejected: dict[str, int]
    """Reason to count; `rejected.jsonl` names every one."""
    checked: dict[str, int]
    """What the validation looked at."""
    violations: dict[str, int]
    """Every criterion of the validation, with the number of samples that violate it."""
    examples: dict[str, list[str]]
    """The first samples that were rejected for each criterion, and why."""


class Manifest(_Part):
    """One build."""

    config: dict[str, JsonValue]
    sources: dict[str, SourceReport]
    rows: list[Rows]
    files: dict[str, str]
    """Written file to its sha256."""
    versions: dict[str, str]
    """coalm, Python, every prompt format that was used, and pyarrow if it wrote a file."""


def report(ledger: Ledger) -> SourceReport:
    """A source's part of the manifest."""
    return SourceReport(
        files={str(path): sha256(path) for path in sorted(set(ledger.files))},
        absent=ledger.absent,
        missing=ledger.missing,
        counts=dict(sorted(ledger.counts.items())),
        rejected=ledger.reasons(),
        checked=dict(sorted(ledger.checked.items())),
        violations={criterion: ledger.violations[criterion] for criterion in CRITERIA},
        examples=examples(ledger),
    )


def versions(formats: Mapping[str, str], packages: Sequence[str]) -> dict[str, str]:
    """The versions that decide what a build looks like, of formats and of installed packages."""
    used = {f"format {name}": formats[name] for name in sorted(formats)}
    found = {name: metadata.version(name) for name in packages}
    return {"coalm": __version__, "python": platform.python_version(), **found, **used}


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished build.

    Raises:
        DataError: there is none, or it is none of ours.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as e:
        raise DataError(
            f"{folder}: no {MANIFEST}, so this is no finished build; run `coalm data build`"
        ) from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e}") from e
    except ValidationError as e:
        raise DataError(f"{path}: not a manifest of coalm: {first_fault(e)}") from e
