from __future__ import annotations

import ast
import json
import random
from itertools import islice, pairwise
from typing import Any

import pytest

from coalm.errors import ToolError
from coalm.tools import check_arguments
from coalm.types import ToolSchema
from coalm.world.rows import irrelevant_rows, snake_case, xlam_rows
from coalm.world.schema import service_of, services
from coalm.world.toolace import title, toolace_rows
from coalm.world.tools import world_database, world_toolbox

INTENTS = [name for service in services().values() for name in service.intents]
WORLD = world_database(2)
XLAM: list[dict[str, Any]] = list(islice(xlam_rows(WORLD, random.Random(1)), 300))
IRRELEVANT: list[dict[str, Any]] = list(islice(irrelevant_rows(WORLD, random.Random(1)), 100))
TOOLACE: list[dict[str, Any]] = list(islice(toolace_rows(WORLD, random.Random(1)), 200))
PYTHON_TYPES = {"str": str, "int": int, "bool": bool}


@pytest.mark.parametrize("rows", [XLAM, IRRELEVANT])
def test_xlam_rows_have_the_layout(rows: list[dict[str, Any]]) -> None:
    assert [row["id"] for row in rows] == list(range(len(rows)))
    for row in rows:
        assert list(row) == ["id", "query", "answers", "tools"]
        tools = json.loads(row["tools"])
        assert len({tool["name"] for tool in tools}) == len(tools) > 0
        for tool in tools:
            assert set(tool) == {"name", "description", "parameters"}
            for spec in tool["parameters"].values():
                assert {"description", "type"} <= set(spec) <= {"description", "type", "default"}
                kind, _, optional = spec["type"].partition(", ")
                assert optional in ("", "optional")
                assert spec.get("default", "") == "" or type(spec["default"]) is PYTHON_TYPES[kind]


def test_xlam_answers_fit_the_tools_on_offer() -> None:
    counts = set()
    for row in XLAM:
        tools = {tool["name"]: tool["parameters"] for tool in json.loads(row["tools"])}
        answers = json.loads(row["answers"])
        counts.add(len(answers))
        for answer in answers:
            assert list(answer) == ["name", "arguments"]
            parameters = tools[answer["name"]]
            for name, value in answer["arguments"].items():
                assert type(value) is PYTHON_TYPES[parameters[name]["type"].split(",")[0]]
            required = {n for n, spec in parameters.items() if "optional" not in spec["type"]}
            assert required <= set(answer["arguments"])
    assert counts == {1, 2, 3}


def test_what_the_answers_say_is_in_the_query() -> None:
    for row in XLAM:
        for answer in json.loads(row["answers"]):
            for value in answer["arguments"].values():
                assert isinstance(value, bool) or str(value).lower() in row["query"].lower()


def test_irrelevant_rows_offer_no_tool_of_the_service() -> None:
    answered = [json.loads(row["answers"]) for row in IRRELEVANT]
    assert answered == [[]] * len(IRRELEVANT)
    words = {"refund": "Rail_1", "doctor": "Clinic_1", "film": "Cinema_1", "hotel": "Stays_1"}
    for row in IRRELEVANT:
        offered = {
            service_of(i).name
            for i in INTENTS
            for t in json.loads(row["tools"])
            if t["name"] == snake_case(i)
        }
        assert not {words[w] for w in words if w in row["query"].lower()} & offered


def tools_in(system: str) -> dict[str, ToolSchema]:
    found, _ = json.JSONDecoder().raw_decode(system[system.index("[{") :])
    for tool in found:
        assert set(tool) == {"name", "description", "parameters"}
        assert tool["parameters"]["type"] == "dict"
    return {tool["name"]: ToolSchema.model_validate(tool) for tool in found}


def calls_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    names = {f"f{number}": title(intent) for number, intent in enumerate(INTENTS)}
    for stand_in, name in names.items():
        text = text.replace(f"{name}(", f"{stand_in}(")
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.List)
    calls: list[tuple[str, dict[str, Any]]] = []
    for node in tree.elts:
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        values = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        calls.append((names[node.func.id], values))
    return calls


def test_toolace_rows_have_the_layout() -> None:
    for row in TOOLACE:
        assert list(row) == ["system", "conversations"]
        speakers = [turn["from"] for turn in row["conversations"]]
        assert speakers[0] == "user"
        assert speakers[-1] == "assistant"
        assert set(speakers) <= {"user", "assistant", "tool"}
        assert row["system"].rstrip().endswith("plain words.")
        assert tools_in(row["system"])


def test_toolace_calls_fit_their_tools_and_are_answered() -> None:
    several = errors = 0
    for row in TOOLACE:
        tools, turns = tools_in(row["system"]), row["conversations"]
        for turn, answer in pairwise(turns):
            if answer["from"] != "tool":
                continue
            calls, results = calls_in(turn["value"]), json.loads(answer["value"])
            assert [name for name, _ in calls] == [result["name"] for result in results]
            for name, arguments in calls:
                assert check_arguments(tools[name], arguments) == arguments
            assert all(isinstance(result["results"], dict) for result in results)
            several += len(calls) > 1
            errors += any("error" in result["results"] for result in results)
    assert several > 10
    assert errors > 3


def test_toolace_rows_that_only_talk() -> None:
    refused = [row for row in TOOLACE if all(t["from"] != "tool" for t in row["conversations"])]
    asked = [
        row
        for row in TOOLACE
        if [t["from"] for t in row["conversations"]][:3] == ["user", "assistant", "user"]
    ]
    assert len(refused) > 20
    assert len(asked) > 20


def test_names_with_blanks_dots_and_slashes() -> None:
    assert {title("BookTable"), title("GetForecast"), title("SendMoney")} == {
        "Book Table",
        "weather.Get Forecast",
        "bank/Send Money",
    }
    assert snake_case("RefundTrainTickets") == "refund_train_tickets"


def test_rows_do_not_change_the_world() -> None:
    assert WORLD.number("SELECT count(*) FROM cab_orders") == 0
    with pytest.raises(ToolError):
        world_toolbox(database=WORLD).call("CancelTable", {"reference_number": "XXXXXX"})
