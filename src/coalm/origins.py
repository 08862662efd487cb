"""Where outside files come from, and how to get one of them: repositories, hubs, PyPI."""

from __future__ import annotations

import gzip
import http.client
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

_GITHUB = "https://raw.githubusercontent.com"
_HUB = "https://huggingface.co"
_TIMEOUT = 30.0  # seconds without a byte


class DownloadError(Exception):
    """Why a download failed, in a few words."""


class Repository(BaseModel):
    """Files at a fixed commit of a GitHub repository."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    commit: str
    folder: str = ""
    """Upstream folder, with its slash, that the asset's paths leave out."""
    files: dict[str, str | None]
    """Path inside the asset to sha256; None where no checksum is known."""
    hint: ClassVar[str] = ""
    """What a user has to do first, in a few words; empty when there is nothing."""

    def address(self, path: str) -> str:
        """Official address of one file."""
        return f"{_GITHUB}/{self.repository}/{self.commit}/{self.folder}{path}"

    def download(self, path: str) -> bytes:
        """The bytes of one file, from its official address."""
        return _download(self.address(path))


class Wheel(BaseModel):
    """A wheel of PyPI, which is the only file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requirement: str
    folder: str = ""
    files: dict[str, str | None]
    hint: ClassVar[str] = ""

    def address(self, path: str) -> str:
        """What to look for on PyPI."""
        return f"PyPI ({self.requirement})"

    def download(self, path: str) -> bytes:
        """The wheel, by pip, so that the user's own indexes, proxies and certificates count."""
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
            command += ["--quiet", "--no-input", "--disable-pip-version-check", "--dest", folder]
            try:
                done = subprocess.run([*command, self.requirement], capture_output=True, text=True)
            except OSError as e:
                raise DownloadError(f"{sys.executable} does not start: {e.strerror}") from e
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                raise DownloadError(f"pip: {lines[-1]}")
            return next(Path(folder).glob("*.whl")).read_bytes()


class Hub(BaseModel):
    """Files of a data set at the Hugging Face hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    revision: str
    """A commit; a branch where only those who were let in can see the commits."""
    gated: bool = False
    """Whether the publisher wants the terms accepted first."""
    folder: str = ""
    files: dict[str, str | None]

    @property
    def hint(self) -> str:
        """What a user has to do first, in a few words; empty when there is nothing."""
        if not self.gated:
            return ""
        return (
            f"accept the terms at {_HUB}/datasets/{self.dataset} first, "
            "and set HF_TOKEN to a token of yours that may read"
        )

    def address(self, path: str) -> str:
        """Official address of one file."""
        return f"{_HUB}/datasets/{self.dataset}/resolve/{self.revision}/{self.folder}{path}"

    def download(self, path: str) -> bytes:
        """The bytes of one file, asked for with HF_TOKEN where it is set."""
        return _download(self.address(path), os.environ.get("HF_TOKEN"))


def _download(url: str, token: str | None = None) -> bytes:
    """The bytes at an address; the token goes to its own host only, not where that points to."""
    # The server packs JSON about tenfold when asked to.
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            data = answer.read()
            packed = answer.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(data) if packed else data
    except (OSError, EOFError, zlib.error, http.client.HTTPException) as e:
        if isinstance(e, urllib.error.HTTPError):
            e.close()
        raise DownloadError(str(e)) from e
