import gzip
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.errors import DataError


def test_write_then_read_keeps_rows_and_numbers_lines(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "rows.jsonl"
    rows = [{"a": 1}, {"b": "é\u2028🍕"}]
    assert jsonl.write(file, rows) == 2
    assert list(jsonl.read(file)) == [(1, rows[0]), (2, rows[1])]
    assert [p.name for p in file.parent.iterdir()] == ["rows.jsonl"]


def test_reads_gzip_and_skips_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"a": 1}\n\n{"a": 2}'))
    assert list(jsonl.read(file)) == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1}\n{"a": ', r"rows\.jsonl:2: not JSON: "),
        (b'{"a": 1}\n[1]\n', r"rows\.jsonl:2: expected a JSON object, got list"),
        (b'{"a": "\xff"}\n', r"rows\.jsonl: not UTF-8: "),
        (b"[" * 100_000, r"rows\.jsonl:1: not JSON: "),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        list(jsonl.read(file))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        list(jsonl.read(tmp_path / "none.jsonl"))
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match=r"torn\.jsonl\.gz: cannot be read"):
        list(jsonl.read(torn))


def test_values_that_json_cannot_say_are_refused() -> None:
    with pytest.raises(DataError, match="row cannot be written as JSON"):
        jsonl.dumps({"a": float("nan")})


def test_a_lone_surrogate_is_escaped() -> None:
    assert jsonl.dumps({"a": "\ud800é"}) == '{"a": "\\ud800\\u00e9"}'


@pytest.mark.parametrize(
    ("content", "kept", "dropped"),
    [
        (b'{"a": 1}\n{"a": 2', b'{"a": 1}\n', 7),
        (b'{"a": 1}\n', b'{"a": 1}\n', 0),
        (b'{"a"', b"", 4),
        (b"", b"", 0),
        (b'{"a": 1}\n' + b"x" * 200_000, b'{"a": 1}\n', 200_000),
    ],
)
def test_appender_cuts_a_torn_line(
    tmp_path: Path, content: bytes, kept: bytes, dropped: int
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with jsonl.Appender(file) as rows:
        assert rows.dropped == dropped
        rows.append({"b": 1})
    assert file.read_bytes() == kept + b'{"b": 1}\n'


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    jsonl.write(file, [{"a": 1}])
    with pytest.raises(DataError):
        jsonl.write(file, [{"a": 2}, {"a": float("inf")}])
    assert [row for _, row in jsonl.read(file)] == [{"a": 1}]
