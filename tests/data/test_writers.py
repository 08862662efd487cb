from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from coalm.data import DataConfig, build, load_sources
from coalm.data.shapes import openai_tool
from coalm.types import Conversation

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ("id", "source", "skill", "format", "group")


def make(output: Path, **settings: Any) -> Path:
    settings = {"outputs": ("alpaca", "messages", "parquet"), "sgd": {"tools": "own+2"}, **settings}
    config = DataConfig(
        output_dir=output,
        root=FIXTURES,
        sources=("snips", "sgd", "sgd_calls"),
        validation_share=0.2,
        workers=1,
        **settings,
    )
    build(config, load_sources(config))
    return output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_messages_are_the_conversations_line_by_line(built: Path, split: str) -> None:
    found = rows(built / f"{split}.messages.jsonl")
    samples = [Conversation.model_validate(row) for row in rows(built / f"{split}.jsonl")]
    for row, sample in zip(found, samples, strict=True):
        assert [row[name] for name in NAMES] == [sample.id, *(sample.meta[n] for n in NAMES[1:])]
        assert row["tools"] == [openai_tool(tool) for tool in sample.tools]
        for message, said in zip(row["messages"], sample.messages, strict=True):
            assert (message["role"], message["content"]) == (said.role, said.content)
            assert message.get("reasoning_content") == said.thought
            calls = [call["function"] for call in message.get("tool_calls", ())]
            assert calls == [{"name": c.name, "arguments": c.arguments} for c in said.tool_calls]


def test_every_result_answers_a_call_before_it(built: Path) -> None:
    answered = 0
    for row in rows(built / "train.messages.jsonl"):
        calls: dict[str, str] = {}
        for message in row["messages"]:
            for call in message.get("tool_calls", ()):
                assert call["id"] not in calls
                calls[call["id"]] = call["function"]["name"]
            if message["role"] == "tool":
                assert calls.pop(message["tool_call_id"]) == message["name"]
                answered += 1
    assert answered > 10


@pytest.mark.parametrize("split", ["train", "validation"])
def test_parquet_holds_the_same_rows_in_both_shapes(built: Path, split: str) -> None:
    found = pq.read_table(built / f"{split}.parquet").to_pylist()
    messages, alpaca = (rows(built / f"{split}.{n}.jsonl") for n in ("messages", "alpaca"))
    for row, told, texts in zip(found, messages, alpaca, strict=True):
        row["messages"] = [json.loads(text) for text in row["messages"]]
        row["tools"] = json.loads(row["tools"])
        assert row == {**told, **texts}


def test_parquet_comes_in_large_pieces_none_of_them_empty(built: Path) -> None:
    file = pq.ParquetFile(built / "train.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [
        len(rows(built / "train.jsonl"))
    ]


def test_texts_of_any_kind_survive_parquet(tmp_path: Path) -> None:
    odd = 'a\\"b\n\t\r\x01\x7f\u2028\u00e9\U0001f355 {"x": [1]} \\u0041'
    (tmp_path / "tool.jsonl").write_text((FIXTURES / "sealtools" / "tool.jsonl").read_text())
    (tmp_path / "dev.jsonl").write_text(json.dumps({"id": odd, "query": odd, "calling": []}))
    config = DataConfig(
        output_dir=tmp_path / "out",
        sources=("sealtools",),
        sealtools={"path": tmp_path},  # type: ignore[arg-type]
        outputs=("parquet", "alpaca"),
        workers=1,
        validation_share=0.0,
    )
    build(config, load_sources(config))
    row = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()[0]
    assert row["id"] == f"sealtools/{odd}"
    assert json.loads(row["messages"][0])["content"] == odd.strip()
    alpaca = rows(tmp_path / "out" / "train.alpaca.jsonl")[0]
    assert {name: row[name] for name in alpaca} == alpaca


def test_datasets_gives_back_what_was_written(built: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    told, texts = (rows(built / f"train.{name}.jsonl") for name in ("messages", "alpaca"))
    cache = str(tmp_path)

    def load(*names: str, **files: str) -> list[dict[str, Any]]:
        return list(datasets.load_dataset(*names, split="train", cache_dir=cache, **files))

    assert load(str(built)) == told
    assert load(str(built), "alpaca") == texts
    assert load("json", data_files=str(built / "train.messages.jsonl")) == told
    both = [{**one, **other} for one, other in zip(told, texts, strict=True)]
    whole = load("parquet", data_files=str(built / "train.parquet"))
    assert whole == both


def test_datasets_reads_the_folder_without_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    output = make(tmp_path / "out", outputs=("messages", "alpaca"))
    for name in ("messages", "alpaca"):
        found = datasets.load_dataset(str(output), name, cache_dir=str(tmp_path / "cache"))
        for split in ("train", "validation"):
            assert list(found[split]) == rows(output / f"{split}.{name}.jsonl")


def test_trl_puts_tools_and_calls_into_the_chat_template(
    built: Path, tmp_path: Path, tiny_model: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    from coalm.chat_template import load_tokenizer

    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = (
        "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
        "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{% if message.reasoning_content %}{{ message.reasoning_content }}\n{% endif %}"
        "{% if 'tool_calls' in message %}{% for call in message.tool_calls %}"
        "{{ call.function.name }}{{ call.function.arguments | tojson }}"
        "{% endfor %}{% endif %}{{ message.content }}<|im_end|>\n{% endfor %}"
    )
    loaded = datasets.load_dataset(str(built), split="train", cache_dir=str(tmp_path))
    for row in loaded:
        example = {"messages": row["messages"]}
        text = data_utils.apply_chat_template(example, tokenizer, tools=row["tools"])["text"]
        assert "None" not in text
        for tool in row["tools"]:
            assert json.dumps(tool, ensure_ascii=False)[:40] in text
        for message in row["messages"]:
            for call in message.get("tool_calls", ()):
                arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
                assert f"{call['function']['name']}{arguments}" in text


def header(output: Path) -> dict[str, Any]:
    return yaml.safe_load((output / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def test_the_card_names_licences_files_and_figures(built: Path) -> None:
    assert header(built)["license"] == ["cc-by-sa-4.0", "cc0-1.0"]
    text = (built / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((built / "manifest.json").read_text())
    for name, checksum in manifest["files"].items():
        assert f"| {name} | `{checksum}` |" in text
    for row in manifest["rows"]:
        kind = " | ".join(row[name] for name in ("split", "source", "skill", "format"))
        assert f"| {kind} | {row['samples']:,} |" in text
    assert "share-alike" in text
    assert "offer that no result holds" in text


def test_a_card_without_validation_rows_names_no_such_file(tmp_path: Path) -> None:
    config = DataConfig(
        output_dir=tmp_path, root=FIXTURES, sources=("sgd",), validation_share=0.0, workers=1
    )
    build(config, load_sources(config))
    files = [{"split": "train", "path": "train.alpaca.jsonl"}]
    configs = header(tmp_path)["configs"]
    assert configs == [{"config_name": "alpaca", "data_files": files, "default": True}]
    assert [*json.loads((tmp_path / "dataset_info.json").read_text())] == ["coalm_it_train"]


def test_llama_factory_finds_the_alpaca_rows(built: Path) -> None:
    for entry in json.loads((built / "dataset_info.json").read_text()).values():
        columns = entry["columns"].values()
        assert all(row.keys() == {*columns} for row in rows(built / entry["file_name"]))
