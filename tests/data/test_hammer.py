from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest

from coalm.data import hammer_masks
from coalm.data.config import HammerConfig
from coalm.data.files import Copy
from coalm.data.hammer import HammerSource
from coalm.data.hammer_masks import Row, Script
from coalm.formats import get_format
from coalm.tools import check_arguments
from coalm.types import Conversation
from coalm.world.files import Volume, write_world

FIXTURE = Path(__file__).parents[1] / "fixtures" / "xlam"
XLAM, NONE = "xlam_function_calling_60k.json", "xlam-7.5k-irrelevancek.json"
PLAIN = HammerConfig(passes=1, masked=0)
COMPATIBLE = HammerConfig(mode="compatible")


def read(root: Path, config: HammerConfig = PLAIN) -> tuple[HammerSource, list[Conversation]]:
    source = HammerSource(Copy(root), config, 7)
    return source, list(source.conversations())


def calls(sample: Conversation) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in sample.messages[-1].tool_calls]


def test_rows_are_requests_with_calls_and_irrelevance_rows_have_none() -> None:
    source, samples = read(FIXTURE)
    assert [calls(sample) for sample in samples] == [
        [("rent_kiln", {"hours": 3, "glaze_code": 7})],
        [("mix_paint", {"colour": "red", "litres": 2.5})],
        [("mix_paint", {"colour": "blue"}), ("mix_paint", {"colour": "green"})],
        [("rent_kiln", {"hours": 5, "hot": True})],
        [],
    ]
    assert [tool.name for tool in samples[4].tools] == ["rent_kiln", "order_clay"]
    assert source.ledger.counts == Counter(
        {
            "rows: xLAM": 4,
            "rows: irrelevance": 1,
            "samples with a call": 4,
            "samples without a call": 1,
        }
    )
    assert source.ledger.rejected == []


def test_types_of_python_become_json_schema() -> None:
    _, samples = read(FIXTURE)
    kiln, paint = samples[0].tools
    assert kiln.required == ("hours",)
    assert {name: spec["type"] for name, spec in kiln.properties.items()} == {
        "hours": "integer",
        "glaze_code": "integer",
        "hot": "boolean",
    }
    assert paint.properties["litres"] == {"type": "number", "description": "How much."}
    assert paint.properties["shades"] == {
        "type": "array",
        "items": {"type": "integer"},
        "description": "Shades.",
        "default": [1, 2],
    }
    (clay,) = [tool for tool in samples[4].tools if tool.name == "order_clay"]
    assert clay.properties["weight"]["type"] == "number", "its default has a fraction"
    assert clay.properties["weight"]["default"] == 36.81


def test_an_irrelevance_row_falls_into_the_split_of_its_request() -> None:
    _, samples = read(FIXTURE)
    assert samples[4].meta["group"] == samples[2].meta["group"] != samples[1].meta["group"]
    _, thrice = read(FIXTURE, HammerConfig())
    assert {sample.meta["group"] for sample in thrice} == {s.meta["group"] for s in samples}


def test_three_passes_mask_two_of_three_rows_anew() -> None:
    _, samples = read(FIXTURE, HammerConfig())
    assert len({sample.id for sample in samples}) == len(samples) == 15
    _, all_masked = read(FIXTURE, HammerConfig(masked=1.0))
    names = {tool.name for sample in all_masked for tool in sample.tools}
    assert not names & {"rent_kiln", "mix_paint", "order_clay"}
    assert len(names) == sum(len(sample.tools) for sample in all_masked)


def restored(sample: Conversation, plain: Conversation) -> list[tuple[str, list[object]]]:
    """The calls with the old function names and the values in the old order of the parameters."""
    by_text = {tool.description.split(" ")[0]: tool for tool in plain.tools}
    found = []
    for call in sample.messages[-1].tool_calls:
        (tool,) = [tool for tool in sample.tools if tool.name == call.name]
        old = by_text[tool.description.split(" ")[0]]
        assert [*tool.properties].index(next(iter(call.arguments))) == 0
        found.append((old.name, [*call.arguments.values()]))
    return found


def test_clean_masks_change_names_but_no_answer_and_no_request() -> None:
    _, plain = read(FIXTURE)
    _, masked = read(FIXTURE, HammerConfig(passes=1, masked=1.0))
    for old, new in zip(plain, masked, strict=True):
        assert new.messages[0] == old.messages[0]
        assert restored(new, old) == [(name, [*given.values()]) for name, given in calls(old)]
        assert len(new.tools) == len(old.tools) == len({tool.name for tool in old.tools})


def test_a_clean_mask_changes_a_default_only_where_the_request_says_the_value() -> None:
    _, masked = read(FIXTURE, HammerConfig(passes=1, masked=1.0))
    kiln = next(tool for tool in masked[0].tools if "kiln" in tool.description)
    _, glaze, hot = kiln.properties.values()
    changed = glaze["default"]
    assert changed in (8, 9, 10, 11)
    assert str(glaze["description"]).endswith(f"Defaults to {changed}.")
    assert "glaze_code" not in str(kiln.parameters), "mentions of the old name follow"
    assert calls(masked[0])[0][1][[*kiln.properties][1]] == 7
    assert hot["default"] is True
    (kiln,) = masked[3].tools
    assert [*kiln.properties.values()][2]["default"] is True, "booleans never change"
    paint = next(tool for tool in masked[1].tools if "paint" in tool.description)
    colour = next(iter(paint.properties.values()))
    assert colour["default"] != "red"
    assert masked[1].messages[0].content == "Mix 2.5 litres of red paint, discussed yesterday."


def test_the_published_side_effects_are_those_of_the_script() -> None:
    row = Row(
        "Discuss it in the us, US.",
        [
            {
                "name": "f",
                "description": "See f.",
                "parameters": {
                    "country": {"description": "such as us", "type": "str", "default": "us"},
                    "flag": {"description": "True", "type": "bool", "default": True},
                    "limit": {"description": "10", "type": "int", "default": 10},
                },
            }
        ],
        [{"name": "f", "arguments": {"country": "us", "flag": True, "limit": "10"}}],
    )
    masked = Script().mask(row)
    (tool,), (call,) = masked.tools, masked.answers
    country, flag, limit = tool["parameters"].values()
    new = country["default"]
    assert masked.query == f"Disc{new}s it in the {new}, {new.upper()}."
    assert country["description"] == f"{'such as us'.replace('us', new)}"
    assert 1 < flag["default"] < 2
    assert flag["description"] == str(flag["default"])
    assert limit["default"] in (11, 12, 13, 14)
    assert [*call["arguments"].values()] == [new, flag["default"], "10"], "10 stays in the answer"
    assert tool["description"] == "See f.", "the old name stays in the description"


def test_a_row_that_stops_the_script_is_left_out(tmp_path: Path) -> None:
    tool = {
        "name": "f",
        "description": "d",
        "parameters": {"a": {"description": "", "default": {"x": 1}}},
    }
    row = {
        "id": 1,
        "query": "q",
        "answers": json.dumps([{"name": "f", "arguments": {"a": {"x": 1}}}]),
        "tools": json.dumps([tool]),
    }
    (tmp_path / XLAM).write_text(json.dumps([{**row, "id": n} for n in range(4)]))
    source, samples = read(tmp_path, COMPATIBLE)
    stopped = [r for r in source.ledger.rejected if r.reason == "Hammer's script stops here"]
    assert stopped[0].detail == "default {'x': 1} is an object"
    assert len(stopped) + len(samples) == 12


def test_compatible_has_the_order_of_the_published_seed() -> None:
    _, samples = read(FIXTURE, COMPATIBLE)
    order = random.Random(12)
    expected = []
    for number in (1, 2, 3):
        keys = [f"hammer/calls/{n}" for n in range(4)] + ["hammer/none/2"]
        order.shuffle(keys)
        expected += [f"{key}/{number}" for key in keys]
    assert [sample.id for sample in samples] == expected
    stream = random.Random(12)
    assert (stream.random() > 1 / 3) == (samples[0].tools[0].name not in ("rent_kiln", "mix_paint"))


def test_compatible_shows_xlam_s_own_types() -> None:
    _, samples = read(FIXTURE, COMPATIBLE)
    specs = [s for sample in samples for tool in sample.tools for s in tool.properties.values()]
    assert {"int, optional", "List[int]"} <= {spec["type"] for spec in specs}


def test_compatible_allows_no_settings_of_its_own() -> None:
    with pytest.raises(ValueError, match="mode compatible has Hammer's own passes"):
        HammerConfig(mode="compatible", passes=1)


@pytest.mark.parametrize("mode", ["clean", "compatible"])
def test_reading_twice_gives_the_same(mode: Literal["clean", "compatible"]) -> None:
    config = HammerConfig(mode=mode)
    assert read(FIXTURE, config)[1] == read(FIXTURE, config)[1]


def test_distractors_come_from_other_rows_but_never_to_an_irrelevance_row() -> None:
    _, samples = read(FIXTURE, HammerConfig(passes=1, masked=0, tools="own+1"))
    assert [len(sample.tools) for sample in samples] == [3, 3, 3, 2, 2]
    _, samples = read(FIXTURE, HammerConfig(passes=1, masked=0, tools="all"))
    assert [len(sample.tools) for sample in samples] == [3, 3, 3, 3, 2]


def masked_file(rows: list[Conversation]) -> str:
    """What Hammer's script would write, in its layout."""
    made = []
    for sample in rows:
        tools = [
            {"name": t.name, "description": t.description, "parameters": t.properties}
            for t in sample.tools
        ]
        answers = [
            {"name": c.name, "arguments": c.arguments} for c in sample.messages[-1].tool_calls
        ]
        blocks = [("AVAILABLE TOOLS", json.dumps(tools)), ("QUERY", sample.messages[0].content)]
        text = "".join(f"[BEGIN OF {n}]\n{b}\n[END OF {n}]\n\n" for n, b in blocks)
        output = f"```\n{json.dumps(answers)}\n```"
        made.append({"instruction": text, "input": "", "output": output})
    return json.dumps(made)


def test_rows_that_were_masked_already_are_taken_as_they_are(tmp_path: Path) -> None:
    _, samples = read(FIXTURE, COMPATIBLE)
    (tmp_path / "masking_sft_data.json").write_text(masked_file(samples))
    _, again = read(tmp_path, COMPATIBLE)
    assert [(s.messages, s.tools) for s in again] == [(s.messages, s.tools) for s in samples]


def test_masked_rows_beside_the_raw_ones_are_not_read_twice(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "xlam")
    (tmp_path / "xlam" / "masking_sft_data.json").write_text(masked_file(read(FIXTURE)[1][:1]))
    source, samples = read(tmp_path / "xlam")
    assert len(samples) == 5
    assert source.ledger.rejected[0][:2] == (
        "masking_sft_data.json: row 1",
        "masked copy of rows that are read themselves",
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "w"
    write_world(root, seed=5, volume=Volume(1, 1, 1, 1, 1, xlam=60, irrelevant=10, toolace=1))
    return root / "xlam"


@pytest.mark.parametrize(
    "config", [HammerConfig(), HammerConfig(tools="own+2"), COMPATIBLE], ids=str
)
def test_the_world_s_rows_are_read_without_a_loss(world: Path, config: HammerConfig) -> None:
    source, samples = read(world, config)
    assert source.ledger.rejected == []
    assert len(samples) == 3 * 70
    assert sum(not sample.messages[-1].tool_calls for sample in samples) == 30
    prompt_format = get_format("json_calls")
    for sample in samples:
        schemas = {tool.name: tool for tool in sample.tools}
        for call in sample.messages[-1].tool_calls:
            assert check_arguments(schemas[call.name], call.arguments) == call.arguments
        reply = prompt_format.render_reply(sample.messages[-1])
        assert prompt_format.parse(reply) == sample.messages[-1]


def published() -> list[dict[str, str]]:
    folder = Path(os.environ["COALM_DATA"]) / "hammer"
    return json.loads(gzip.decompress((folder / "masking_sft_data_example.json.gz").read_bytes()))


def taken_apart(row: dict[str, str]) -> Row:
    tools = row["instruction"].split("[BEGIN OF AVAILABLE TOOLS]\n")[1].split("\n[END")[0]
    query = row["instruction"].split("[BEGIN OF QUERY]\n")[1].split("\n[END")[0]
    return Row(query, json.loads(tools), json.loads(row["output"].strip("`\n")))


def unmasked(row: Row, order: tuple[int, ...]) -> Row:
    """A stand-in for the row before its masking: other names, functions in another order."""
    text = json.dumps(row._asdict())
    for fraction in {*re.findall(r": (1\.\d{10,})", text)}:
        text = text.replace(f": {fraction}", ": true").replace(f"to {fraction}", "to True")
    found = Row(**json.loads(text))
    tools = [found.tools[at] for at in order]
    for number, tool in enumerate(tools):
        names = {name: f"#{at}" for at, name in enumerate(tool["parameters"])}
        for call in found.answers:
            if call["name"] == tool["name"]:
                call["name"] = f"#{number}"
                call["arguments"] = {names[name]: v for name, v in call["arguments"].items()}
        tool["name"] = f"#{number}"
        tool["parameters"] = {names[name]: spec for name, spec in tool["parameters"].items()}
    return Row(found.query, tools, found.answers)


@pytest.mark.real
def test_the_published_rows_come_out_to_the_letter() -> None:
    """One stream of random numbers explains all names, orders and values of the ten rows."""
    script = Script()
    kept = []
    for number, published_row in enumerate(published()):
        expected = taken_apart(published_row)
        if script.keeps():
            kept.append(number)
            continue
        state = script._rng.getstate()
        # the order of the functions before the masking is the only thing that is not known
        for order in itertools.permutations(range(len(expected.tools))):
            script._rng.setstate(state)
            if script.mask(unmasked(expected, order)) == expected:
                break
        else:
            pytest.fail(f"row {number} cannot be masked into what was published")
    assert kept == [5, 6, 8]


@pytest.mark.real
def test_published_rows_are_read_and_clean_mode_names_the_false_one() -> None:
    root = Path(os.environ["COALM_DATA"]) / "hammer"
    _, samples = read(root, COMPATIBLE)
    assert len(samples) == 10
    source, samples = read(root)
    assert len(samples) == 9
    (rejection,) = source.ledger.rejected
    assert rejection.where.startswith("masking_sft_data_example.json: row 5")
    assert rejection.detail.endswith("must be true or false, got 1.9235063827453325")


def test_the_seed_and_the_share_are_the_published_ones() -> None:
    assert (hammer_masks.SEED, hammer_masks.KEPT) == (12, 1 / 3)
    script = Script()
    assert 0.30 < sum(script.keeps() for _ in range(10_000)) / 10_000 < 0.36


def test_a_call_of_a_function_that_is_not_offered_is_left_out(tmp_path: Path) -> None:
    row = {"id": 1, "query": "q", "answers": '[{"name": "g", "arguments": {}}]', "tools": "[]"}
    (tmp_path / XLAM).write_text(json.dumps([row]))
    source, samples = read(tmp_path)
    assert samples == []
    assert source.ledger.rejected[0] == (
        f"{XLAM}: row 1 (hammer/calls/1/1)",
        "call that does not fit its schema",
        "function 'g' is not among those on offer",
    )
