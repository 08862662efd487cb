from __future__ import annotations

import gzip
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from coalm.data.base import Ledger
from coalm.data.files import Copy, RawFile, read_json, read_lines, read_rows
from coalm.errors import DataError

WANTED = re.compile(r"part/shard_\d{3}\.json")
EXAMPLE = "part/shard_001.json"
TEXTS = {"part/shard_001.json": b"[1]", "part/shard_002.json": b"[2]", "other/x.json": b"[3]"}


def loose(folder: Path) -> Path:
    for name, data in TEXTS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def gzipped(folder: Path) -> Path:
    for path in [path for path in loose(folder).rglob("*") if path.is_file()]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def zipped(folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w") as file:
        for name, data in TEXTS.items():
            file.writestr(name, data)
    return folder


def tarred(folder: Path) -> Path:
    plain = loose(folder / "plain")
    with tarfile.open(folder / "all.tar.xz", "w:xz") as file:
        for name in TEXTS:
            file.add(plain / name, name)
    for path in sorted(plain.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return folder


def single_archive(folder: Path) -> Path:
    return tarred(folder) / "all.tar.xz"


@pytest.mark.parametrize("layout", [loose, gzipped, zipped, tarred, single_archive])
def test_every_layout_gives_the_same_files(tmp_path: Path, layout: type) -> None:
    ledger = Ledger()
    found = list(Copy(layout(tmp_path / "copy")).walk(WANTED, EXAMPLE, ledger))
    assert found == [
        RawFile("part/shard_001.json", b"[1]"),
        RawFile("part/shard_002.json", b"[2]"),
    ]
    assert not ledger.rejected
    assert not ledger.missing
    assert ledger.files


def test_a_file_in_two_places_is_read_once(tmp_path: Path) -> None:
    tarred(tmp_path)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "shard_002.json").write_bytes(b"[20]")
    found = {raw.path: raw.data for raw in Copy(tmp_path).walk(WANTED, EXAMPLE, Ledger())}
    assert found == {"part/shard_001.json": b"[1]", "part/shard_002.json": b"[20]"}


def test_a_gap_in_the_numbers_is_a_missing_file(tmp_path: Path) -> None:
    ledger = Ledger()
    (loose(tmp_path) / "part" / "shard_005.json").write_bytes(b"[]")
    list(Copy(tmp_path).walk(WANTED, EXAMPLE, ledger))
    assert ledger.missing == ["part/shard_003.json", "part/shard_004.json"]


def test_a_cut_archive_is_named_and_what_it_still_gives_is_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cut.tar", "w") as file:
        for number in range(1, 4):
            path = tmp_path / "member"
            path.write_bytes(b"[" + b" " * 20_000 + b"]")
            file.add(path, f"part/shard_00{number}.json")
    (tmp_path / "member").unlink()
    whole = (tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:50_000])
    ledger = Ledger()
    found = [raw.path for raw in Copy(tmp_path).walk(WANTED, EXAMPLE, ledger)]
    assert found == ["part/shard_001.json", "part/shard_002.json"]
    (rejection,) = ledger.rejected
    assert rejection.where == "cut.tar"
    assert rejection.reason == "damaged archive"
    assert rejection.detail.startswith("cannot be read further after 2 files of it: ")


@pytest.mark.parametrize(
    ("name", "data"), [("all.zip", b"PK\x03\x04no"), ("all.tar.xz", b"\xfd7zX")]
)
def test_an_archive_that_gives_nothing_ends_in_an_error_that_says_so(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"no file such as {EXAMPLE} here; {name} damaged archive"):
        list(Copy(tmp_path).walk(WANTED, EXAMPLE, Ledger()))


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = gzipped(tmp_path) / "part" / "shard_001.json.gz"
    path.write_bytes(path.read_bytes()[:-6])
    ledger = Ledger()
    found = [raw.path for raw in Copy(tmp_path).walk(WANTED, EXAMPLE, ledger)]
    assert found == ["part/shard_002.json"]
    assert ledger.rejected[0][:2] == ("part/shard_001.json", "damaged file")


def test_a_folder_that_is_not_there_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such file or folder; set `path` or `root`"):
        Copy(tmp_path / "none")


def test_a_folder_without_the_files_asks_whether_it_is_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file such as part/shard_001\.json here; is it the"):
        list(Copy(tmp_path).walk(WANTED, EXAMPLE, Ledger()))


def test_files_of_an_asset_are_held_against_its_checksums(tmp_path: Path) -> None:
    folder = tmp_path / "2017-06-custom-intent-engines" / "GetWeather"
    folder.mkdir(parents=True)
    (folder / "validate_GetWeather.json").write_text('{"GetWeather": []}')
    ledger = Ledger()
    wanted = re.compile(r"2017-06-custom-intent-engines/\w+/validate_\w+\.json")
    assert list(Copy(tmp_path, "snips").walk(wanted, "x", ledger)) == []
    (rejection,) = ledger.rejected
    assert rejection.reason == "damaged file"
    assert re.fullmatch(
        r"sha256 is [0-9a-f]{12}\.\.\. instead of [0-9a-f]{12}\.\.\.", rejection.detail
    )
    assert len(ledger.missing) == 6
    assert "2017-06-custom-intent-engines/RateBook/validate_RateBook.json" in ledger.missing


def test_a_clone_of_the_repository_is_not_a_copy_with_missing_files(tmp_path: Path) -> None:
    folder = tmp_path / "Seal-Tools_Dataset"
    folder.mkdir()
    (folder / "dev.jsonl").write_text("")
    ledger = Ledger()
    wanted = re.compile(r"(?:Seal-Tools_Dataset/)?(?:dev|field)\.jsonl")
    list(Copy(tmp_path, "sealtools").walk(wanted, "dev.jsonl", ledger))
    assert ledger.missing == ["field.jsonl"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'[{"a": 1}, {"b"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'["\xff"]', "not UTF-8"),
        (b"", "empty file"),
        (b" \n", "empty file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(data: bytes, reason: str) -> None:
    ledger = Ledger()
    assert read_json(RawFile("a.json", data), ledger) is None
    (rejection,) = ledger.rejected
    assert rejection[:2] == ("a.json", reason)


def test_a_byte_order_mark_and_split_surrogates_are_read() -> None:
    data = b'\xef\xbb\xbf["\xed\xa0\xbc\xed\xbd\x95 \xc3\xa9"]'
    assert read_json(RawFile("a.json", data), Ledger()) == ["\U0001f355 é"]


def test_an_empty_file_of_lines_is_one_rejection() -> None:
    ledger = Ledger()
    assert list(read_lines(RawFile("a.jsonl", b" \n"), ledger)) == []
    assert [rejection[:2] for rejection in ledger.rejected] == [("a.jsonl", "empty file")]


def test_lines_are_read_one_by_one_and_bad_ones_are_named() -> None:
    ledger = Ledger()
    raw = RawFile("a.jsonl", b'{"n": 1}\n\n{"n": \n{"n": "\xe2\x80\xa8"}\n"\xff"\n')
    assert list(read_lines(raw, ledger)) == [(1, {"n": 1}), (4, {"n": "\u2028"})]
    assert [rejection[:2] for rejection in ledger.rejected] == [
        ("a.jsonl:3", "not JSON"),
        ("a.jsonl:5", "not UTF-8"),
    ]


ROWS = [{"n": 1}, {"n": [{"m": 2}]}, {"n": "é"}]
COMPACT = json.dumps(ROWS, ensure_ascii=False).encode()
INDENTED = json.dumps(ROWS, ensure_ascii=False, indent=1).encode()


@pytest.mark.parametrize(
    ("data", "numbers", "rejected"),
    [
        (COMPACT, [1, 2, 3], []),
        (b"[]", [], []),
        (COMPACT[:-5], [1, 2], [("a.json: row 3", "not JSON")]),
        (b"\xef\xbb\xbf" + COMPACT[:-1], [1, 2], [("a.json: row 3", "not JSON")]),
        (COMPACT.replace(b'"m": 2', b'"m": \xff'), [1], [("a.json: row 2", "not JSON")]),
        (INDENTED.replace(b'"m": 2', b'"m": \xff'), [1, 3], [("a.json: row 2", "not JSON")]),
        (COMPACT.replace(b"\xc3\xa9", b"\xe9"), [1, 2], [("a.json: row 3", "not UTF-8")]),
        (COMPACT + b"x", [1, 2, 3], [("a.json", "not JSON")]),
        (b" ", [], [("a.json", "empty file")]),
        (b"{}", [], [("a.json", "not a list of rows")]),
        (b'{"rows": [', [], [("a.json", "not a list of rows")]),
        (b"[" * 100_000, [], [("a.json: row 1", "not JSON")]),
    ],
)
def test_the_good_rows_of_a_damaged_list_are_read(
    data: bytes, numbers: list[int], rejected: list[tuple[str, str]]
) -> None:
    ledger = Ledger()
    found = list(read_rows(RawFile("a.json", data), ledger))
    assert found == [(number, ROWS[number - 1]) for number in numbers]
    assert [rejection[:2] for rejection in ledger.rejected] == rejected


def test_rows_under_a_key_are_read_from_a_damaged_file_too() -> None:
    ledger = Ledger()
    assert list(read_rows(RawFile("a.json", b'{"x": [1, 2, 3]}'), ledger, key="x"))[2] == (3, 3)
    assert list(read_rows(RawFile("a.json", b'{"x": [1, 2, '), ledger, key="x")) == [(1, 1), (2, 2)]
    assert [rejection.where for rejection in ledger.rejected] == ["a.json: row 3"]
