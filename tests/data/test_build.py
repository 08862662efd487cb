from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coalm.data import DataConfig, Manifest, build, load_sources, read_manifest
from coalm.errors import AssetError, DataError, FormatError
from coalm.formats import get_format
from coalm.types import Conversation

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROWS = ["train.alpaca.jsonl", "train.jsonl", "validation.alpaca.jsonl", "validation.jsonl"]
FILES = ["README.md", "dataset_info.json", "manifest.json", "rejected.jsonl", *ROWS]


def run(output: Path, **settings: Any) -> Manifest:
    settings.setdefault("workers", 1)
    settings.setdefault("sources", ("snips", "sgd", "sgd_calls", "sealtools"))
    config = DataConfig(output_dir=output, **{"root": FIXTURES, **settings})
    return build(config, load_sources(config))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ids(output: Path, split: str = "train") -> list[str]:
    return [row["id"] for row in rows(output / f"{split}.jsonl")]


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.iterdir())}


def test_all_files_are_written_and_nothing_else_stays(tmp_path: Path) -> None:
    run(tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == FILES


def test_every_sample_is_written_once(tmp_path: Path) -> None:
    manifest = run(tmp_path, sgd_calls={"no_call": 1.0}, validation_share=0.0)
    found = ids(tmp_path)
    assert len(found) == len(set(found)) == 4 + 27 + 15 + 2
    assert {(r.split, r.source, r.skill, r.format): r.samples for r in manifest.rows} == {
        ("train", "sealtools", "LA", "json_calls"): 2,
        ("train", "sgd", "CRA", "react"): 27,
        ("train", "sgd_calls", "LA", "json_calls"): 15,
        ("train", "snips", "TOD", "dst"): 4,
        ("validation", "snips", "TOD", "dst"): 2,
    }


def test_both_files_of_a_split_hold_the_same_samples_line_by_line(tmp_path: Path) -> None:
    run(tmp_path)
    pairs = zip(rows(tmp_path / "train.jsonl"), rows(tmp_path / "train.alpaca.jsonl"), strict=True)
    for row, alpaca in pairs:
        sample = Conversation.model_validate(row)
        prompt_format = get_format(str(sample.meta["format"]))
        *context, target = sample.messages
        prompt = prompt_format.render(sample.model_copy(update={"messages": tuple(context)}))
        assert alpaca.keys() == {"instruction", "input", "output"}
        assert prompt[0].content == f"{alpaca['instruction']}\n\n{alpaca['input']}"
        assert prompt_format.parse(alpaca["output"]) == target


def test_rows_leave_out_what_is_empty(tmp_path: Path) -> None:
    run(tmp_path, sources=("snips",))
    row = next(r for r in rows(tmp_path / "train.jsonl") if r["id"] == "snips/OpenDoor/train/00001")
    assert row["messages"] == [
        {"role": "user", "content": "open the red door"},
        {"role": "assistant", "tool_calls": [{"name": "OpenDoor", "arguments": {"colour": "red"}}]},
    ]


def test_sources_are_interleaved(tmp_path: Path) -> None:
    run(tmp_path)
    sources = [name.partition("/")[0] for name in ids(tmp_path)]
    changes = sum(a != b for a, b in pairwise(sources))
    assert changes > 5


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_order(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(tmp_path / name)
    one, two = (contents(tmp_path / name) for name in ("one", "two"))
    for files in (one, two):
        del files["manifest.json"], files["README.md"]  # these name the folder
    assert one == two
    run(tmp_path / "other", seed=8, validation_share=0.0)
    run(tmp_path / "one", validation_share=0.0)
    assert ids(tmp_path / "other") != ids(tmp_path / "one")


def test_samples_of_one_dialogue_fall_into_the_same_split(tmp_path: Path) -> None:
    run(tmp_path, validation_share=0.5, sources=("sgd", "sgd_calls"))
    groups = [
        {row["meta"]["group"] for row in rows(tmp_path / f"{split}.jsonl")}
        for split in ("train", "validation")
    ]
    assert all(groups)
    assert not groups[0] & groups[1]


def test_a_limit_draws_from_the_whole_source(tmp_path: Path) -> None:
    manifest = run(tmp_path, sources=("sgd",), sgd={"limit": 6}, validation_share=0.0)
    assert [row.samples for row in manifest.rows] == [6]
    run(tmp_path / "all", sources=("sgd",), validation_share=0.0)
    everything = ids(tmp_path / "all")
    assert set(ids(tmp_path)) < set(everything)
    # those that stay keep their order, and are not the first ones that were read
    assert ids(tmp_path) == [name for name in everything if name in set(ids(tmp_path))]
    assert set(ids(tmp_path)) != set(sorted(everything)[:6])


def test_a_limit_above_the_number_of_samples_changes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, sources=("snips",), snips={"limit": 99}).rows[0].samples == 4


@pytest.mark.parametrize(("weight", "least", "most"), [(0.4, 3, 22), (2.0, 54, 54), (1.5, 30, 52)])
def test_a_weight_thins_or_repeats(tmp_path: Path, weight: float, least: int, most: int) -> None:
    run(tmp_path, sources=("sgd",), sgd={"weight": weight}, validation_share=0.0)
    found = ids(tmp_path)
    assert least <= len(found) <= most
    assert len(set(found)) == len(found)
    assert len({name.partition("#")[0] for name in found}) <= 27


def test_validation_samples_are_never_repeated(tmp_path: Path) -> None:
    run(tmp_path, sources=("snips",), snips={"weight": 3.0})
    assert len(ids(tmp_path)) == 12
    assert len(ids(tmp_path, "validation")) == 2


def test_long_samples_are_left_out_and_counted(tmp_path: Path) -> None:
    manifest = run(tmp_path, sources=("sgd",), max_characters=2200, validation_share=0.0)
    left_out = manifest.sources["sgd"].counts["longer than max_characters"]
    assert left_out + manifest.rows[0].samples == 27
    assert 0 < left_out < 27
    for row in rows(tmp_path / "train.alpaca.jsonl"):
        assert sum(map(len, row.values())) <= 2200


def test_the_manifest_says_what_went_in_and_came_out(tmp_path: Path) -> None:
    manifest = run(tmp_path)
    assert manifest == read_manifest(tmp_path)
    assert manifest.config["seed"] == 7
    schema = FIXTURES / "sgd" / "train" / "schema.json"
    assert (
        manifest.sources["sgd"].files[str(schema)]
        == hashlib.sha256(schema.read_bytes()).hexdigest()
    )
    assert manifest.sources["sgd"].missing == ["train/dialogues_003.json"]
    assert manifest.sources["sgd"].rejected == {
        "follows a turn that was dropped": 5,
        "offer that no result holds": 1,
        "call that does not fit its schema": 1,
        "success that the result contradicts": 1,
        "value that nobody gave": 1,
    }
    for name, checksum in manifest.files.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == checksum
    assert [*manifest.files] == FILES[3:]
    assert manifest.versions["format react"] == get_format("react").version


def test_every_rejection_is_named_in_its_file(tmp_path: Path) -> None:
    manifest = run(tmp_path)
    found = rows(tmp_path / "rejected.jsonl")
    assert len(found) == sum(sum(s.rejected.values()) for s in manifest.sources.values())
    assert found[0] == {
        "source": "snips",
        "where": "2017-06-custom-intent-engines/PlaySong/train_PlaySong_full.json: row 4",
        "reason": "sentence is in the validation files too",
        "detail": "",
    }


def test_a_sample_that_is_no_unicode_is_left_out_by_name(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "sealtools", tmp_path / "sealtools")
    row = {"id": "odd", "query": "Mix \ud83d.", "calling": []}
    with (tmp_path / "sealtools" / "dev.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    manifest = run(tmp_path / "out", root=tmp_path, sources=("sealtools",), validation_share=0.0)
    assert manifest.rows[0].samples == 2
    assert rows(tmp_path / "out" / "rejected.jsonl")[-1]["where"] == "sealtools/odd"


def test_an_instruction_text_of_the_user_s_is_used_and_versioned(tmp_path: Path) -> None:
    text = tmp_path / "dst.txt"
    text.write_text("Mine. {context}{count} {tools}")
    manifest = run(tmp_path / "out", sources=("snips",), instructions={"dst": text})
    assert rows(tmp_path / "out" / "train.alpaca.jsonl")[0]["instruction"].startswith("Mine. 2 ")
    assert manifest.versions["format dst"] != get_format("dst").version


def test_an_instruction_text_without_its_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dst.txt").write_text("Mine.")
    with pytest.raises(FormatError, match="lacks the place"):
        run(tmp_path / "out", sources=("snips",), instructions={"dst": tmp_path / "dst.txt"})


def test_a_source_that_gives_nothing_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "sgd" / "train"
    folder.mkdir(parents=True)
    shutil.copy(FIXTURES / "sgd" / "train" / "schema.json", folder)
    (folder / "dialogues_001.json").write_text("[")
    with pytest.raises(
        DataError, match=r"source sgd gives no sample: train/dialogues_001\.json: row 1 not"
    ):
        run(tmp_path / "out", root=tmp_path, sources=("sgd",))


def test_settings_that_leave_nothing_are_said(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "sealtools" / "tool.jsonl", tmp_path)
    row = {"id": "a", "query": "Hi", "calling": []}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="sealtools gives no sample: see its weight, and max_char"):
        run(
            tmp_path / "out",
            sources=("sealtools",),
            sealtools={"path": tmp_path},
            max_characters=10,
        )


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*: cannot be read or written: "):
        run(tmp_path / "file" / "out", sources=("snips",))


def test_without_any_data_the_asset_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    monkeypatch.delenv("COALM_DATA", raising=False)
    with pytest.raises(AssetError, match="run `coalm fetch snips`, or set COALM_DATA"):
        run(tmp_path / "out", root=None, sources=("snips",))


def test_data_under_coalm_data_are_held_against_the_known_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "snips" / "2017-06-custom-intent-engines" / "RateBook"
    folder.mkdir(parents=True)
    (folder / "validate_RateBook.json").write_text("{}")
    monkeypatch.setenv("COALM_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"validate_RateBook\.json damaged file sha256 is"):
        run(tmp_path / "out", root=None, sources=("snips",))


def test_a_path_of_its_own_comes_before_the_root(tmp_path: Path) -> None:
    manifest = run(
        tmp_path / "out", root=tmp_path, sources=("sgd",), sgd={"path": FIXTURES / "sgd"}
    )
    assert manifest.sources["sgd"].counts["dialogues"] == 8


def test_no_manifest_is_no_finished_build(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"no manifest\.json, so this is no finished build"):
        read_manifest(tmp_path)
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read: "):
        read_manifest(tmp_path / "train.jsonl")
    (tmp_path / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(DataError, match=r"manifest\.json: not a manifest of coalm: config: Field"):
        read_manifest(tmp_path)


def write_sentences(root: Path, count: int) -> None:
    """SNIPS files that take a second or so to build from."""
    folder = root / "snips" / "Speak"
    folder.mkdir(parents=True)
    data = [
        {"data": [{"text": "say "}, {"text": f"word {n}", "entity": "word"}]} for n in range(count)
    ]
    (folder / "train_Speak_full.json").write_text(json.dumps({"Speak": data}))
    (folder / "validate_Speak.json").write_text(json.dumps({"Speak": data[:3]}))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "moment", [".partial-*/spool/train-*", ".partial-*/train.alpaca.jsonl", "rejected.jsonl"]
)
def test_a_killed_build_is_made_good_by_the_same_command(
    tmp_path: Path, moment: str, workers: int
) -> None:
    write_sentences(tmp_path, 8_000)
    output = tmp_path / "out"
    words = [f"output_dir={output}", f"root={tmp_path}", "sources=[snips]"]
    (tmp_path / "data.yaml").write_text("seed: 7\n")
    command = [sys.executable, "-c", "from coalm.cli.data import app; app()", "build"]
    command += ["-c", str(tmp_path / "data.yaml"), *words, f"workers={workers}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while not list(output.glob(moment)):
        assert time.monotonic() < deadline
    process.kill()
    process.communicate()
    if (output / "manifest.json").exists():  # all was in place already
        for name, checksum in read_manifest(output).files.items():
            assert hashlib.sha256((output / name).read_bytes()).hexdigest() == checksum
    subprocess.run(command, check=True, capture_output=True)
    after_kill = contents(output)
    shutil.rmtree(output)
    run(output, root=tmp_path, sources=("snips",))
    assert after_kill == contents(output)
    assert len(ids(output)) == len(set(ids(output))) == 7_997


def test_the_processes_of_a_killed_build_end_with_it(tmp_path: Path) -> None:
    write_sentences(tmp_path, 30_000)
    code = (
        "import sys; from pathlib import Path; from coalm.data import *\n"
        "if __name__ == '__main__':\n"
        "    config = DataConfig(output_dir=Path(sys.argv[1]) / 'out', root=Path(sys.argv[1]),"
        " sources=('snips',), workers=2)\n"
        "    build(config, load_sources(config))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".partial-*/spool/train-*")):
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    # the spool is named by process: nobody may write there any more
    time.sleep(0.5)
    sizes = [spool_sizes(tmp_path / "out") for _ in (time.sleep(0.5), time.sleep(0.5))]
    assert sizes[0] == sizes[1]


def spool_sizes(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in output.glob(".partial-*/spool/*")}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sgd": {"limit": 6}, "sgd_calls": {"weight": 1.5}, "sealtools": {"limit": 1}},
        {"max_characters": 2200, "sgd": {"limit": 5}, "validation_share": 0.3},
    ],
)
def test_the_number_of_processes_changes_no_byte(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings["outputs"] = ("alpaca", "messages", "parquet")
    found = []
    for workers in (1, 2, 3):
        run(tmp_path / "out", workers=workers, **settings)
        found.append(contents(tmp_path / "out"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2 * 4 + 4


def test_files_of_other_shapes_go_with_the_former_build(tmp_path: Path) -> None:
    run(tmp_path, sources=("snips",), outputs=("alpaca", "messages", "parquet"))
    (tmp_path / "notes.txt").write_text("the user's")
    run(tmp_path, sources=("snips",), outputs=())
    names = ["README.md", "manifest.json", "notes.txt", "rejected.jsonl"]
    assert sorted(contents(tmp_path)) == [*names, "train.jsonl", "validation.jsonl"]


def test_a_build_that_fails_leaves_the_former_one(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "snips", tmp_path / "snips")
    run(tmp_path / "out", root=tmp_path, sources=("snips",))
    before = contents(tmp_path / "out")
    with pytest.raises(DataError):
        run(tmp_path / "out", root=tmp_path, sources=("snips", "sgd"))
    assert contents(tmp_path / "out") == before
    run(tmp_path / "out", root=tmp_path, sources=("snips",))
    assert contents(tmp_path / "out") == before
