"""Every file that coalm does not write itself: where it comes from, its sha256, where it lies.

An asset is a named set of files of public repositories, data sets of a hub or wheels of PyPI;
`assets.json` lists them with their checksums. An asset is looked for in two places:

1. `$COALM_DATA/<asset>`: the user's own copy, or a part of it. Files may lie there under the
   asset's own paths, as in a clone of the repository, gzipped, or in archives (zip, tar).
2. `$COALM_HOME/assets/<asset>` (`~/.cache/coalm` without COALM_HOME): what `fetch` downloaded.

`walk` and `read` give bytes whatever the form, and check them: a file whose sha256 is not the
known one is never handed out. For a few files none is known (`AssetFile.checked` is False).
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from coalm.errors import AssetError
from coalm.origins import DownloadError, Hub, Repository, Wheel

_ARCHIVES = ("*.zip", "*.tar", "*.tar.gz", "*.tgz", "*.tar.xz")
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile)


class Asset(BaseModel):
    """A named set of outside files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str
    """What it is, in a few words."""
    licence: str
    megabytes: float
    """Rough size unpacked, for the reader's eyes only."""
    origins: tuple[Repository | Wheel | Hub, ...]

    def paths(self, pattern: str = "*") -> list[str]:
        """Paths of all files that match, on this machine or not, sorted; `*` matches slashes."""
        found = [path for origin in self.origins for path in origin.files]
        return sorted(path for path in found if fnmatchcase(path, pattern))

    @property
    def hint(self) -> str:
        """What has to be done before files can be fetched, for the end of an error message."""
        return "".join(f"; {origin.hint}" for origin in self.origins if origin.hint)

    def origin(self, path: str) -> Repository | Wheel | Hub:
        """Where one of the files comes from.

        Raises:
            AssetError: the asset has no such file.
        """
        for origin in self.origins:
            if path in origin.files:
                return origin
        raise AssetError(f"{self.name}: {path!r} is none of its {len(self.paths())} files")


class AssetFile(NamedTuple):
    """One file of an asset, as it is upstream."""

    path: str
    data: bytes
    checked: bool
    """True when its sha256 is the known one, False when none is known."""


class State(NamedTuple):
    """What of an asset is on this machine."""

    place: str
    """`COALM_DATA`, `cache`, or empty when there is nothing."""
    root: Path
    present: tuple[str, ...]


def _table() -> dict[str, Asset]:
    text = resources.files("coalm").joinpath("assets.json").read_bytes()
    return {asset.name: asset for asset in TypeAdapter(list[Asset]).validate_json(text)}


ASSETS = _table()
"""Every asset by name."""


def home() -> Path:
    """Folder of everything that coalm downloads or converts: COALM_HOME or ~/.cache/coalm."""
    return Path(os.environ.get("COALM_HOME") or "~/.cache/coalm").expanduser()


def get(name: str) -> Asset:
    """The asset of that name.

    Raises:
        AssetError: there is none; the message lists the names.
    """
    if name not in ASSETS:
        raise AssetError(f"{name!r} is no asset; there are: {', '.join(ASSETS)}")
    return ASSETS[name]


def state(name: str) -> State:
    """What of an asset is on this machine, and where; the user's own copy comes first."""
    asset = get(name)
    places = [("cache", _cache(asset))]
    if (folder := _user_folder()) is not None:
        places.insert(0, ("COALM_DATA", folder / name))
    for place, root in places:
        with _Copy(asset, root) as copy:
            present = tuple(path for path in asset.paths() if copy.reader(path))
        if present:
            return State(place, root, present)
    return State("", _cache(asset), ())


def user_copy(name: str) -> Path | None:
    """The user's own folder for an asset, whatever it holds; None when there is none."""
    folder = _user_folder()
    return folder / name if folder is not None and (folder / name).is_dir() else None


def locate(name: str) -> Path:
    """Folder that holds the asset: the user's own copy, or the complete download.

    Raises:
        AssetError: it is not on this machine; the message says both ways to get it.
    """
    asset, found = get(name), state(name)
    everything = asset.paths()
    if found.place == "COALM_DATA" or len(found.present) == len(everything):
        return found.root
    have = f"only {len(found.present)} of {len(everything)} files" if found.place else "no file"
    reasons = [f"{have} in {found.root}"]
    if (folder := _user_folder()) is not None:
        reasons.insert(0, f"COALM_DATA={folder} {_lack(folder, name)}")
    raise AssetError(
        f"{name}: {', and '.join(reasons)}; run `coalm fetch {name}`, "
        f"or set COALM_DATA to a folder that holds {name}/{everything[0]}{asset.hint}"
    )


def walk(name: str, pattern: str = "*") -> Iterator[AssetFile]:
    """The files of an asset that match and are present, sorted by path, each one checked.

    What a partial copy lacks is left out: compare with `get(name).paths(pattern)`.

    Raises:
        AssetError: the asset is not on this machine, or a file is damaged.
    """
    asset, root = get(name), locate(name)
    with _Copy(asset, root) as copy:
        for path in asset.paths(pattern):
            if copy.reader(path):
                yield copy.file(path)


def read(name: str, path: str) -> bytes:
    """One file of an asset, checked.

    Raises:
        AssetError: the asset or this file of it is not on this machine, or it is damaged.
    """
    asset = get(name)
    with _Copy(asset, locate(name)) as copy:
        return copy.file(path).data


def fetch(name: str) -> Path:
    """Folder that holds the asset, downloaded first when the user has no copy of it.

    Files that are already good are not fetched again, so an interrupted download goes on.

    Raises:
        AssetError: a file cannot be reached, is not the expected one, or cannot be stored.
    """
    asset, found = get(name), state(name)
    if found.place == "COALM_DATA":
        return found.root
    try:
        with _progress() as progress:
            for path in progress.track(asset.paths(), description=name):
                if not _is_good(asset, path):
                    _store(asset, path)
    except OSError as e:
        raise AssetError(
            f"{e.filename or _cache(asset)}: cannot be written ({e.strerror or e}); "
            "set COALM_HOME to a folder of yours that has room"
        ) from e
    return _cache(asset)


class _Copy:
    """One copy of an asset: loose files, gzipped files, or members of archives in its folder."""

    def __init__(self, asset: Asset, root: Path) -> None:
        self._asset = asset
        self._root = root
        self._members: dict[str, Callable[[], bytes]] | None = None
        self._open = ExitStack()

    def file(self, path: str) -> AssetFile:
        """One file, checked."""
        hint = _by_hand(self._asset, path)
        read_bytes = self.reader(path)
        if read_bytes is None:
            raise AssetError(f"{self._root / path}: no such file; {hint}")
        try:
            data = read_bytes()
        except _DAMAGE as e:
            raise AssetError(f"{self._root / path}: cannot be read ({e}); {hint}") from e
        if wrong := _mismatch(self._asset, path, data):
            raise AssetError(f"{self._root / path}: damaged, {wrong}; {hint}")
        return AssetFile(path, data, self._asset.origin(path).files[path] is not None)

    def reader(self, path: str) -> Callable[[], bytes] | None:
        """How to get the bytes of a file; None when this copy lacks it."""
        for stored in (self._root / path, self._root / self._asset.origin(path).folder / path):
            if stored.is_file():
                return stored.read_bytes
            packed = stored.with_name(stored.name + ".gz")
            if packed.is_file():
                return lambda packed=packed: gzip.decompress(packed.read_bytes())
        if self._members is None:
            self._members = self._index()
        return self._members.get(path)

    def _index(self) -> dict[str, Callable[[], bytes]]:
        members: dict[str, Callable[[], bytes]] = {}
        for archive in sorted(p for pattern in _ARCHIVES for p in self._root.glob(pattern)):
            try:
                found = self._zip(archive) if archive.suffix == ".zip" else self._tar(archive)
            except _DAMAGE as e:
                raise AssetError(f"{archive}: cannot be read as an archive; get it again") from e
            members = {**found, **members}
        return members

    def _zip(self, archive: Path) -> dict[str, Callable[[], bytes]]:
        file = self._open.enter_context(zipfile.ZipFile(archive))
        return {name: partial(file.read, name) for name in file.namelist()}

    def _tar(self, archive: Path) -> dict[str, Callable[[], bytes]]:
        file = self._open.enter_context(tarfile.TarFile.open(archive))
        return {m.name: partial(_member, file, m) for m in file.getmembers() if m.isfile()}

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def _member(file: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = file.extractfile(member)
    return stream.read() if stream else b""


def _mismatch(asset: Asset, path: str, data: bytes) -> str:
    """What is wrong with the bytes of a file; empty when they are right or nothing is known."""
    expected, actual = asset.origin(path).files[path], hashlib.sha256(data).hexdigest()
    if expected is None or expected == actual:
        return ""
    return f"sha256 is {actual[:12]}... instead of {expected[:12]}..."


def _cache(asset: Asset) -> Path:
    return home() / "assets" / asset.name


def _user_folder() -> Path | None:
    given = os.environ.get("COALM_DATA")
    return Path(given).expanduser() if given else None


def _lack(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return "is no folder"
    return f"has no file of it in {name}/" if (folder / name).is_dir() else f"has no {name}/"


def _by_hand(asset: Asset, path: str) -> str:
    """Where a file comes from and the two ways to provide it, for the end of an error message."""
    return (
        f"it comes from {asset.origin(path).address(path)}; set COALM_DATA to a folder that "
        f"holds {asset.name}/{path}, or put the file at {_cache(asset) / path}{asset.hint}"
    )


def _is_good(asset: Asset, path: str) -> bool:
    stored = _cache(asset) / path
    return stored.is_file() and not _mismatch(asset, path, stored.read_bytes())


def _store(asset: Asset, path: str) -> None:
    """Put one file in the cache, whole or not at all."""
    label, hint = f"{asset.name}/{path}", _by_hand(asset, path)
    try:
        data = asset.origin(path).download(path)
    except DownloadError as e:
        raise AssetError(f"{label}: cannot be fetched ({e}); {hint}") from e
    if wrong := _mismatch(asset, path, data):
        raise AssetError(f"{label}: not the expected file, {wrong}; {hint}")
    target = _cache(asset) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    scratch.write_bytes(data)
    scratch.replace(target)


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("fetching {task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
