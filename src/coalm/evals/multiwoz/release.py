"""The files of a MultiWOZ release, wherever they lie: a folder, a zip, or a folder that holds zips.

What a user downloads is a zip (`MULTIWOZ2.4.zip` of smartyfh/MultiWOZ2.4) whose folder holds
`data.json`, `testListFile.json` and more; the databases (`hotel_db.json`, ...) are in it or come
from budzianowski/multiwoz, `db/`. Files may also be gzipped, and `data_2.4_test.json` is another
name for the test dialogues of version 2.4.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from coalm import assets
from coalm.errors import DataError

_DEEPEST = 3
_VERSION = re.compile(r"2\.\d")
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


class Release:
    """Files by their names, with a note of the checksum of each one that was read."""

    def __init__(self, place: Path | None = None) -> None:
        """Look what is there.

        Args:
            place: A folder or a zip; None takes the asset `multiwoz`, of which the user's own
                copy may have any of these forms.

        Raises:
            AssetError: the asset is not on this machine.
            DataError: there is no such place, or a zip in it is damaged.
        """
        self.place = place or assets.user_copy("multiwoz") or assets.locate("multiwoz")
        self.checksums: dict[str, str] = {}
        """Path within the release to sha256, for every file read so far."""
        if not self.place.exists():
            raise DataError(f"{self.place}: no such file or folder; expected a MultiWOZ release")
        self._readers = dict(self._files())

    def dialogues(self, version: str) -> bytes:
        """The file with the dialogues of a version.

        Raises:
            DataError: there is none, or it is damaged.
        """
        found = self._dialogue_files(version)
        if not found:
            raise DataError(
                f"{self.place}: no dialogues of MultiWOZ {version}; expected data.json of the "
                f"release (in a folder or a zip) or data_{version}_test.json.gz"
            )
        return self._read(found[0])

    def has_dialogues(self, version: str) -> bool:
        """Whether there are dialogues of a version."""
        return bool(self._dialogue_files(version))

    def file(self, *names: str) -> bytes:
        """The first file that has one of the names.

        Raises:
            DataError: there is none, or it is damaged.
        """
        found = self._find(*names)
        if not found:
            raise DataError(f"{self.place}: no {' or '.join(names)} in this MultiWOZ release")
        return self._read(found[0])

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self._find(name))

    def _dialogue_files(self, version: str) -> list[str]:
        """Files of the version; a data.json without any version in its path is of every one."""
        named = self._find(f"data_{version}.json", f"data_{version}_test.json")
        marks = {path: _VERSION.findall(f"{self.place}/{path}") for path in self._find("data.json")}
        named += [path for path, found in marks.items() if found and found[-1] == version]
        return named + [path for path, found in marks.items() if not found]

    def _find(self, *names: str) -> list[str]:
        wanted = {*names, *(f"{name}.gz" for name in names)}
        return [path for path in self._readers if PurePosixPath(path).name in wanted]

    def _read(self, path: str) -> bytes:
        try:
            data = self._readers[path]()
            data = gzip.decompress(data) if path.endswith(".gz") else data
        except _DAMAGE as e:
            raise DataError(f"{self.place}/{path}: cannot be read ({e}); get it again") from e
        self.checksums[path] = hashlib.sha256(data).hexdigest()
        return data

    def _files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Path and reader of every file, loose ones before members of zips."""
        if self.place.is_file():
            yield from _members(self.place, self.place.name)
            return
        loose = sorted(_walk(self.place, _DEEPEST))
        for path in loose:
            yield path.relative_to(self.place).as_posix(), path.read_bytes
        for path in loose:
            if path.suffix == ".zip":
                yield from _members(path, path.relative_to(self.place).as_posix())


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and depth > 1:
            yield from _walk(path, depth - 1)


def _members(archive: Path, name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.namelist() if not member.startswith("__MACOSX/")]
    except _DAMAGE as e:
        raise DataError(f"{archive}: cannot be read as a zip ({e}); get it again") from e
    for member in members:
        yield f"{name}/{member}", partial(_member, archive, member)


def _member(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as file:
        return file.read(member)
