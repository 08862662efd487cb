from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from coalm.data import DataConfig, build, load_sources, statistics
from coalm.data.stats import data_files, read_samples, render_sample
from coalm.errors import DataError, FormatError
from coalm.types import Conversation, Message

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("built")
    config = DataConfig(output_dir=output, root=FIXTURES, sources=("snips", "sgd"))
    build(config, load_sources(config))
    return output


def test_figures_of_a_folder_are_those_of_its_manifest(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text())
    assert [(r.split, r.source, r.samples) for r in statistics(built)] == [
        (r["split"], r["source"], r["samples"]) for r in manifest["rows"]
    ]


def test_figures_of_one_file_and_with_tokens(built: Path) -> None:
    found = statistics(built / "validation.jsonl", lambda prompt, reply: len(prompt) + 1)
    (row,) = [row for row in found if row.source == "snips"]
    assert (row.split, row.samples, row.tokens) == ("validation", 2, 4)
    sizes = [len(render_sample(s)[1]) for s in read_samples(built / "validation.jsonl")]
    assert sum(row.reply_characters for row in found) == sum(sizes)


def test_a_gzipped_file_is_read_too(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress((built / "train.jsonl").read_bytes()))
    assert statistics(path)[0].split == "train"


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file, and no folder with train\.jsonl in it"):
        data_files(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": []}, r"x\.jsonl:1: not a conversation: id: Field required"),
        ({"instruction": "a"}, r"x\.jsonl:1: not a conversation: "),
        (
            {"id": "a", "messages": [{"role": "user", "content": "Hi"}]},
            r"x\.jsonl:1: not a sample: it does not end with the assistant",
        ),
    ],
)
def test_a_row_that_is_no_sample_is_named(tmp_path: Path, row: object, message: str) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=message):
        list(read_samples(tmp_path / "x.jsonl"))


def test_a_sample_without_a_format_cannot_be_rendered() -> None:
    sample = Conversation(id="a", messages=(Message(role="assistant", content="Hi"),))
    with pytest.raises(FormatError, match="no prompt format 'None'"):
        render_sample(sample)
