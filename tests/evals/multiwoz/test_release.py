from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from coalm.errors import AssetError, DataError
from coalm.evals.multiwoz.data import load_corpus
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.release import Release


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"{folder.name}/{path.name}")
            file.writestr(f"__MACOSX/{folder.name}/{path.name}", "not JSON")
    return target


def packed(folder: Path) -> Path:
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: folder,
        lambda folder: folder.parent,
        packed,
        lambda folder: zipped(folder, folder.parent / "MULTIWOZ2.4.zip"),
        lambda folder: zipped(folder, folder.parent / "renamed.zip"),
        lambda folder: zipped(folder, (folder.parent / "x").with_suffix(".zip")).parent,
    ],
    ids=["folder", "parent folder", "gzipped", "zip", "renamed zip", "folder with a zip"],
)
def test_a_release_is_read_in_every_form(
    write_release: Callable[..., Path], change: Callable[[Path], Path]
) -> None:
    release = Release(change(write_release()))
    assert list(load_corpus(release).dialogues) == ["mul0001", "sng0002", "sng0003"]
    assert len(Database.load(release).rows("train")) == 3
    assert len(release.checksums) == 6


def test_each_version_has_its_own_dialogues(
    write_release: Callable[..., Path], tmp_path: Path
) -> None:
    write_release(tmp_path / "MULTIWOZ2.1", data={"OLD.json": {}})
    write_release(tmp_path / "MULTIWOZ2.4", data={"NEW.json": {}})
    release = Release(tmp_path)
    assert json.loads(release.dialogues("2.1")) == {"OLD.json": {}}
    assert json.loads(release.dialogues("2.4")) == {"NEW.json": {}}
    assert release.has_dialogues("2.1")
    assert not release.has_dialogues("2.2")


def test_the_other_names_of_the_dialogues(tmp_path: Path) -> None:
    (tmp_path / "data_2.1.json.gz").write_bytes(gzip.compress(b'{"a": 1}'))
    (tmp_path / "data_2.4_test.json.gz").write_bytes(gzip.compress(b'{"b": 2}'))
    release = Release(tmp_path)
    assert (release.dialogues("2.1"), release.dialogues("2.4")) == (b'{"a": 1}', b'{"b": 2}')


def test_the_users_folder_comes_first(
    write_release: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COALM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COALM_DATA", raising=False)
    with pytest.raises(AssetError, match="run `coalm fetch multiwoz`"):
        Release()
    monkeypatch.setenv("COALM_DATA", str(tmp_path))
    write_release(tmp_path / "multiwoz")
    assert Release().place == tmp_path / "multiwoz"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder; expected a MultiWOZ"):
        Release(tmp_path / "nowhere")
    release = Release(tmp_path)
    with pytest.raises(DataError, match=r"no dialogues of MultiWOZ 2\.4; expected data\.json"):
        release.dialogues("2.4")
    with pytest.raises(DataError, match=r"no testListFile\.json or testListFile\.txt in"):
        load_corpus(release)


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "data.json.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-12])
    with pytest.raises(DataError, match=r"data\.json\.gz: cannot be read \(.*\); get it again"):
        Release(tmp_path).dialogues("2.4")
    shutil.copy(tmp_path / "data.json.gz", tmp_path / "MULTIWOZ2.4.zip")
    with pytest.raises(DataError, match="cannot be read as a zip"):
        Release(tmp_path)
