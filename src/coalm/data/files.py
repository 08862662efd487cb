"""The files of a raw data set: loose, gzipped, or inside archives; read one at a time.

A copy of a data set comes in many shapes: a download of single files, a clone of its repository,
archives with the same paths inside. `Copy.walk` gives the files of any of them under one name.
What is damaged is rejected by name in the ledger, and everything else is still read.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from coalm import assets
from coalm.data.base import Ledger
from coalm.errors import DataError
from coalm.formats.text import well_formed

_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
_BETWEEN = re.compile(r"\s*(?:,\s*|(?=\]))")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")


class MissingFilesError(DataError):
    """A source has no file where it looks for them."""


class RawFile(NamedTuple):
    """One file of a data set."""

    path: str
    """Inside the data set, as upstream has it, without `.gz`."""
    data: bytes


class Copy:
    """One copy of a data set, in a folder or in a single archive."""

    def __init__(self, root: Path, asset: str | None = None) -> None:
        """Look at `root`, the user's folder; with `asset`, files are held against its checksums.

        Raises:
            MissingFilesError: there is nothing at `root`.
        """
        if not root.exists():
            raise MissingFilesError(
                f"{root}: no such file or folder; set `path` or `root`, or COALM_DATA"
            )
        self.root = root
        self._asset = assets.get(asset) if asset else None

    def walk(self, wanted: re.Pattern[str], example: str, ledger: Ledger) -> Iterator[RawFile]:
        """Every file whose whole path matches: loose files by name, then archives in their order.

        A path that occurs twice is read once. Files that `wanted` names and the data set's
        publisher lists, but this copy lacks, are written down as missing at the end.

        Raises:
            MissingFilesError: no file matches; the message gives the example path.
        """
        seen: set[str] = set()
        for raw in self._all(wanted, seen, ledger):
            if fault := self._mismatch(raw):
                ledger.reject(raw.path, "damaged file", fault)
            else:
                yield raw
        if not seen:
            fault = " ".join(ledger.rejected[-1]) if ledger.rejected else "is it the right folder?"
            raise MissingFilesError(f"{self.root}: no file such as {example} here; {fault}")
        ledger.missing += sorted(set(self._expected(wanted, seen)) - {*map(self._short, seen)})

    def _all(self, wanted: re.Pattern[str], seen: set[str], ledger: Ledger) -> Iterator[RawFile]:
        archives: list[Path] = []
        for path in self._paths():
            name = path.relative_to(self.root).as_posix() if path != self.root else path.name
            inner = name.removesuffix(".gz")
            if path.name.endswith(_ARCHIVES):
                archives.append(path)
            elif wanted.fullmatch(inner) and inner not in seen:
                seen.add(inner)
                yield from _loose(path, inner, ledger)
        for archive in archives:
            yield from _members(archive, wanted, seen, ledger)

    def _paths(self) -> list[Path]:
        if self.root.is_file():
            return [self.root]
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def _mismatch(self, raw: RawFile) -> str:
        path = self._short(raw.path)
        if self._asset is None or path not in self._asset.paths():
            return ""
        expected = self._asset.origin(path).files[path]
        actual = hashlib.sha256(raw.data).hexdigest()
        if expected in (None, actual):
            return ""
        return f"sha256 is {actual[:12]}... instead of {expected[:12]}..."

    def _short(self, path: str) -> str:
        """The asset's own name of a file; a clone of the repository has a folder before it."""
        folders = [origin.folder for origin in self._asset.origins] if self._asset else []
        return path.removeprefix(next((f for f in folders if f and path.startswith(f)), ""))

    def _expected(self, wanted: re.Pattern[str], found: set[str]) -> Iterator[str]:
        """What should be there: the publisher's list, or else every number below the last one."""
        if self._asset is not None:
            yield from (path for path in self._asset.paths() if wanted.fullmatch(path))
            return
        for path in found:
            if numbered := re.fullmatch(r"(.*_)(\d+)(\.json)", path):
                head, number, tail = numbered.groups()
                yield from (f"{head}{n:0{len(number)}}{tail}" for n in range(1, int(number)))


def _loose(path: Path, inner: str, ledger: Ledger) -> Iterator[RawFile]:
    ledger.files.append(path)
    try:
        data = path.read_bytes()
        yield RawFile(inner, gzip.decompress(data) if path.suffix == ".gz" else data)
    except _DAMAGE as e:
        ledger.reject(inner, "damaged file", f"cannot be read: {e}")


def _members(
    archive: Path, wanted: re.Pattern[str], seen: set[str], ledger: Ledger
) -> Iterator[RawFile]:
    """The files of one archive in its own order: an xz archive can only be read forwards."""
    before = len(seen)
    reader = _zip_members if archive.suffix == ".zip" else _tar_members
    try:
        for name, data in reader(archive, wanted, seen):
            seen.add(name)
            yield RawFile(name, data)
    except _DAMAGE as e:
        after = f"after {len(seen) - before} files of it"
        ledger.reject(archive.name, "damaged archive", f"cannot be read further {after}: {e}")
    if len(seen) > before:
        ledger.files.append(archive)


def _zip_members(
    archive: Path, wanted: re.Pattern[str], seen: set[str]
) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            if wanted.fullmatch(name) and name not in seen:
                yield name, file.read(name)


def _tar_members(
    archive: Path, wanted: re.Pattern[str], seen: set[str]
) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive, "r|*") as file:
        for member in file:
            name = PurePosixPath(member.name).as_posix()
            if member.isfile() and wanted.fullmatch(name) and name not in seen:
                stream = file.extractfile(member)
                yield name, stream.read() if stream else b""


def read_json(raw: RawFile, ledger: Ledger) -> Any:
    """The JSON value of a file; None, and a rejection, when there is none."""
    try:
        text = _text(raw.data)
    except UnicodeDecodeError as e:
        ledger.reject(raw.path, "not UTF-8", str(e))
        return None
    if not text.strip():
        ledger.reject(raw.path, "empty file")
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        ledger.reject(raw.path, "not JSON", str(e))
        return None


def read_lines(raw: RawFile, ledger: Ledger) -> Iterator[tuple[int, Any]]:
    """(line number from 1, JSON value) of every good line of a JSON-lines file."""
    if not raw.data.strip():
        ledger.reject(raw.path, "empty file")
    for number, line in enumerate(raw.data.split(b"\n"), start=1):
        if line.strip():
            yield from _row(line, number, f"{raw.path}:{number}", ledger)


def read_rows(raw: RawFile, ledger: Ledger, key: str | None = None) -> Iterator[tuple[int, Any]]:
    """(row number from 1, JSON value) of every good row of a JSON list; with `key`, of an object's.

    A file that is cut off or damaged somewhere still gives the rows before the damage, and where
    only the bytes of some rows are wrong, all others.
    """
    try:
        rows = json.loads(_text(raw.data))
    except (ValueError, RecursionError):
        yield from _salvaged(raw, ledger, key)
        return
    if key is not None:
        rows = rows.get(key) if isinstance(rows, dict) else None
    if isinstance(rows, list):
        yield from enumerate(rows, start=1)
    else:
        within = f" under {key!r}" if key is not None else ""
        ledger.reject(raw.path, "not a list of rows", f"no list{within}")


def _text(data: bytes) -> str:
    """Bytes as text; surrogate pairs written as two code points (SNIPS has one) are joined."""
    return well_formed(data.decode("utf-8-sig", "surrogatepass"))


def _row(data: bytes, number: int, where: str, ledger: Ledger) -> Iterator[tuple[int, Any]]:
    """One row on its own."""
    try:
        yield number, json.loads(_text(data))
    except UnicodeDecodeError as e:
        ledger.reject(where, "not UTF-8", str(e))
    except (ValueError, RecursionError) as e:
        ledger.reject(where, "not JSON", str(e))


def _salvaged(raw: RawFile, ledger: Ledger, key: str | None) -> Iterator[tuple[int, Any]]:
    """The rows of a damaged list, one at a time, as far as they can be told apart."""
    # bytes that are no UTF-8 stay as they are, so that each row can be judged alone
    text = raw.data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    if not text.strip():
        ledger.reject(raw.path, "empty file")
        return
    name = rf"\{{\s*{re.escape(json.dumps(key))}\s*:\s*" if key is not None else ""
    start = re.match(rf"\s*{name}\[(\s*)", text)
    if not start:
        ledger.reject(raw.path, "not a list of rows", "the file does not begin with one")
        return
    decoder, at, number = json.JSONDecoder(), start.end(), 0
    while text[at : at + 1] != "]":
        number += 1
        where = f"{raw.path}: row {number}"
        try:
            end = decoder.raw_decode(text, at)[1]
            next_sign = _BETWEEN.match(text, end)
            if next_sign is None:
                raise ValueError(f"no comma or end of list after it: char {end}")
        except (ValueError, RecursionError) as e:
            # in a list with a line for each row, the next one is known by how far it is indented
            at = text.find(f"{start[1]}{{", at) if "\n" in start[1] else -1
            lost = "" if at > 0 else "; the rows after it are lost"
            ledger.reject(where, "not JSON", f"{e}{lost}")
            if at < 0:
                return
            at += len(start[1])
            continue
        yield from _row(text[at:end].encode("utf-8", "surrogateescape"), number, where, ledger)
        at = next_sign.end()
    if key is None and text[at + 1 :].strip():
        ledger.reject(raw.path, "not JSON", f"text after the list: char {at + 1}")


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a record: where in it, and what was expected."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
