from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from coalm.agent.functions import tool_from_function, tools_from_file
from coalm.errors import ToolError
from coalm.formats import get_format
from coalm.tools import Toolbox
from coalm.types import Conversation, Message, ToolCall


class Price(Enum):
    cheap = "cheap"
    fine = "fine"


@dataclass
class Guest:
    name: str
    friend: Guest | None = None


class Place(BaseModel):
    city: str = Field(description="Town")
    floor: int = Field(default=0, ge=0)


class Wish(TypedDict):
    dish: str


def book(
    place: Place,
    guests: list[Guest],
    kind: Literal["table", "room"] = "table",
    price: Optional[Price] = None,  # noqa: UP045 - the old spelling, too
    wishes: list[Wish] | None = None,
    notes: dict[str, int] | None = None,
    *,
    day: datetime.date | None = None,
    title: Annotated[str, Field(description="from the hint")] = "",
    any_of: int | str = 0,
) -> Any:
    """Book a table
    or a room.

    The rest of the story.

    Args:
        place: Where to go.
        guests (list): Who comes,
            all of them.
        title: not this one
        kind:
        nobody: is no argument

    Returns:
        Nothing of interest.
    """
    return {"place": place, "guests": guests, "price": price, "day": day, "wishes": wishes}


def called(function: Callable[..., Any], **arguments: Any) -> Any:
    tool = tool_from_function(function)
    content = Toolbox([tool]).execute(ToolCall(name=tool.schema.name, arguments=arguments)).content
    return json.loads(content)


def test_hints_and_docstring_make_the_schema() -> None:
    schema = tool_from_function(book).schema
    place = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Town"},
            "floor": {"type": "integer", "default": 0, "minimum": 0},
        },
        "required": ["city"],
        "description": "Where to go.",
    }
    friend = {"type": ["object", "null"], "default": None}
    guest = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "friend": friend},
        "required": ["name"],
    }
    wish = {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]}
    assert schema.name == "book"
    assert schema.description == "Book a table or a room. The rest of the story."
    assert schema.required == ("place", "guests")
    assert schema.properties == {
        "place": place,
        "guests": {"type": "array", "items": guest, "description": "Who comes, all of them."},
        "kind": {"type": "string", "enum": ["table", "room"], "default": "table"},
        "price": {"type": ["string", "null"], "enum": ["cheap", "fine", None], "default": None},
        "wishes": {"type": ["array", "null"], "items": wish, "default": None},
        "notes": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "integer"},
            "default": None,
        },
        "day": {"type": ["string", "null"], "format": "date", "default": None},
        "title": {"type": "string", "default": "", "description": "from the hint"},
        "any_of": {"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 0},
    }


def test_the_schema_reads_well_in_a_prompt() -> None:
    tool = tool_from_function(book)
    asked = Conversation(
        id="c", messages=(Message(role="user", content="?"),), tools=(tool.schema,)
    )
    prompt = get_format("react").render(asked)[0].content
    assert '1. book(place: object, guests: list of object, kind?: "table" | "room", ' in prompt


def test_the_function_gets_objects_and_gives_json() -> None:
    found = called(
        book,
        place={"city": "Oslo", "floor": "3"},
        guests=[{"name": "Ann", "friend": {"name": "Bo"}}],
        price="cheap",
        day="2024-05-01",
        wishes=[{"dish": "soup"}],
    )
    assert found == {
        "place": {"city": "Oslo", "floor": 3},
        "guests": [{"name": "Ann", "friend": {"name": "Bo", "friend": None}}],
        "price": "cheap",
        "day": "2024-05-01",
        "wishes": [{"dish": "soup"}],
    }


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"place": {"city": "Oslo"}}, "book: missing argument 'guests'"),
        (
            {"place": {"city": "Oslo"}, "guests": [], "price": "dear"},
            "book: argument 'price' must be one of ['cheap', 'fine', None], got 'dear' "
            "or must be null, got 'dear'",
        ),
        (
            {"place": {"floor": 1}, "guests": []},
            "book: argument 'place.city': Field required",
        ),
        (
            {"place": {"city": "Oslo", "floor": -1}, "guests": []},
            "book: argument 'place.floor': Input should be greater than or equal to 0",
        ),
        ({"place": "Oslo", "guests": []}, "book: argument 'place' must be an object, got 'Oslo'"),
    ],
)
def test_arguments_are_checked_by_schema_and_by_type(arguments: dict[str, Any], error: str) -> None:
    assert called(book, **arguments) == {"error": error}


def test_coroutines_methods_and_other_names() -> None:
    class Shop:
        def price(self, item: str) -> int:
            """What it costs."""
            return len(item)

    async def slow(item: str) -> str:
        """Takes time."""
        await asyncio.sleep(0)
        return item.upper()

    assert called(Shop().price, item="tea") == 3
    tool = tool_from_function(slow, name="Slow-1", timeout=3)
    assert (tool.schema.name, tool.schema.description, tool.timeout) == ("Slow-1", "Takes time.", 3)
    assert Toolbox([tool]).execute(ToolCall(name="Slow-1", arguments={"item": "a"})).content == "A"


def test_no_hint_takes_every_value() -> None:
    def echo(value):  # type: ignore[no-untyped-def]
        return value

    assert called(echo, value=[1, "a"]) == [1, "a"]
    assert tool_from_function(echo).schema.description == ""


@pytest.mark.parametrize("result", [object(), float("nan"), b"\xff"])
def test_a_result_that_is_not_json_is_an_observation(result: Any) -> None:
    def odd() -> Any:
        return result

    assert "odd returned something that is not JSON: " in called(odd)["error"]


def test_an_error_of_pydantic_inside_the_function_is_the_functions() -> None:
    def odd(city: str) -> Any:
        return Place(city=city, floor=-1)

    assert called(odd, city="Oslo")["error"].startswith("odd failed: ValidationError: 1 validation")


class Socket:
    pass


def takes_all(*values: int) -> None: ...
def takes_any(**values: int) -> None: ...
def takes_first(value: int, /) -> None: ...
def takes_socket(value: Socket) -> None: ...
def takes_nothing_known(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (takes_all, "its parameter '*values: 'int'' cannot be given so"),
        (takes_any, "its parameter '**values: 'int'' cannot be given so"),
        (takes_first, "its parameter 'value: 'int'' cannot be given so"),
        (takes_socket, "Unable to generate pydantic-core schema for"),
        (takes_nothing_known, "name 'Nowhere' is not defined"),
    ],
)
def test_what_cannot_be_a_tool_says_why(function: Callable[..., None], reason: str) -> None:
    with pytest.raises(ToolError, match="cannot be a tool: ") as caught:
        tool_from_function(function)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


class Adder:
    def __call__(self, a: int, b: int = 2) -> int:
        return a + b


@pytest.mark.parametrize("function", [partial(Adder(), b=2), partial(Adder().__call__), Adder()])
def test_whatever_can_be_called_can_be_a_tool(function: Callable[..., int]) -> None:
    tool = tool_from_function(function, name="plus_two")
    assert tool.schema.properties["a"] == {"type": "integer"}
    assert Toolbox([tool]).call("plus_two", {"a": "3"}) == 5


FILE = '''
from __future__ import annotations
from dataclasses import dataclass
from json import dumps

@dataclass
class Item:
    name: str

def price(item: Item) -> int:
    """What it costs."""
    return len(item.name)

def _private() -> None: ...
'''


def test_public_functions_of_a_file_are_tools(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(FILE)
    (tool,) = tools_from_file(tmp_path / "shop.py")
    assert (tool.schema.name, tool.schema.description) == ("price", "What it costs.")
    assert Toolbox([tool]).call("price", {"item": {"name": "tea"}}) == 3
    (tmp_path / "all.py").write_text(f'{FILE}\n__all__ = ["_private", "dumps", "nothing"]\n')
    with pytest.raises(ToolError, match="function dumps cannot be a tool"):
        tools_from_file(tmp_path / "all.py")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "shop.py: no such Python file"),
        ("x = ", "shop.py: cannot be run: SyntaxError: "),
        ("1 / 0", "shop.py: cannot be run: ZeroDivisionError: division by zero"),
        ("from json import dumps", "shop.py: holds no public function that could be a tool"),
    ],
)
def test_a_file_without_tools_says_why(tmp_path: Path, text: str | None, error: str) -> None:
    if text is not None:
        (tmp_path / "shop.py").write_text(text)
    with pytest.raises(ToolError) as caught:
        tools_from_file(tmp_path / "shop.py")
    assert error in str(caught.value)
