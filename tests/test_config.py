"""The loader alone, on a small model of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from coalm.config import ConfigModel, Loaded, Override, Remark, load_config, parse_overrides
from coalm.errors import ConfigError


class Dish(ConfigModel):
    """One dish."""

    name: str
    price: float = Field(default=1.0, gt=0)


class Kitchen(ConfigModel):
    """Everything the loader can meet."""

    foreign: ClassVar[str] = "gas pans"
    renamed: ClassVar[Mapping[str, str]] = {"chefs": "cooks"}
    without_effect: ClassVar[Mapping[str, str]] = {"open": "it never closes"}

    cooks: int = Field(default=1, ge=1)
    heat: float = 0.5
    open: bool = True
    style: Literal["thai", "plain"] = "plain"
    workers: int | Literal["auto"] = 0
    cellar: Path | None = None
    tags: tuple[str, ...] = ()
    trust_remote_code: bool = False

    @field_validator("tags")
    @classmethod
    def _short(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 2:
            raise ValueError(f"at most 2 tags, got {len(value)}")
        return value


class House(ConfigModel):
    """A root section."""

    kitchen: Kitchen = Kitchen()
    guest: Kitchen | None = None
    dishes: tuple[Dish, ...] = ()
    menus: dict[str, Dish] = Field(default_factory=dict)
    rooms: int

    @model_validator(mode="after")
    def _big_enough(self) -> House:
        if self.rooms < len(self.dishes):
            raise ValueError(f"{self.rooms} rooms are too few for {len(self.dishes)} dishes")
        return self

    def remarks(self) -> Iterator[Remark]:
        yield from super().remarks()
        if self.rooms == 13:
            yield Remark("rooms", "unlucky")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("house.yaml")


def load(file: Path, text: str, *overrides: str, trust: bool = False) -> Loaded[House]:
    file.write_text(text, encoding="utf-8")
    return load_config(House, file, overrides, trust_remote_code=trust)


def complaint(file: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_becomes_a_frozen_model(file: Path) -> None:
    config, warnings = load(
        file,
        "rooms: 3\nkitchen: {heat: 1, cellar: a/b, workers: auto, tags: [x]}\n"
        "dishes: [{name: soup}]\nmenus: {noon: {name: stew, price: 2}}\n",
    )
    assert config == House(
        rooms=3,
        kitchen=Kitchen(heat=1.0, cellar=Path("a/b"), workers="auto", tags=("x",)),
        dishes=(Dish(name="soup"),),
        menus={"noon": Dish(name="stew", price=2.0)},
    )
    assert warnings == ()
    with pytest.raises(ValidationError, match="frozen"):
        config.rooms = 4


def test_the_overrides_alone_are_enough() -> None:
    assert load_config(House, None, ["rooms=2", "kitchen.cooks=3"]).config.kitchen.cooks == 3
    with pytest.raises(ConfigError, match=r"^command line: rooms is missing$"):
        load_config(House, None)


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.e-4", "+.1e-3", "1.0e-04", "0.0001"])
def test_every_spelling_of_a_number_is_a_number(file: Path, number: str) -> None:
    assert load(file, f"rooms: 1\nkitchen: {{heat: {number}}}").config.kitchen.heat == 1e-4


def test_a_section_with_nothing_below_it_has_its_defaults(file: Path) -> None:
    config = load(file, "rooms: 1\nkitchen:\nguest:\n").config
    assert config.kitchen == Kitchen()
    assert config.guest is None


def test_anchors_may_be_shared_and_overridden_apart(file: Path) -> None:
    text = "rooms: 9\nkitchen: &k {cooks: 2, heat: 3}\nguest: {<<: *k, cooks: 4}\n"
    config = load(file, text, "guest.heat=7").config
    assert (config.kitchen.cooks, config.kitchen.heat) == (2, 3.0)
    assert config.guest == Kitchen(cooks=4, heat=7.0)
    shared = load(file, "rooms: 1\nkitchen: &k {cooks: 2}\nguest: *k\n", "guest.cooks=5").config
    assert shared.kitchen.cooks == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "house.yaml: the file is empty"),
        ("# nothing\n", "house.yaml: the file is empty"),
        ("- a\n- b\n", "house.yaml: expected a mapping of keys, got ['a', 'b']"),
        (
            "rooms: 1\nrooms: 2\n",
            "house.yaml:2: not readable as YAML: key 'rooms' stands in line 1",
        ),
        ("rooms: 1\na:\n  b: 1\n  c: 1\n  b: 2\n", "house.yaml:5: not readable as YAML: key 'b'"),
        ("rooms: [1,\n", "house.yaml:2: not readable as YAML: expected the node content"),
        ("rooms:\n\t- 1\n", "house.yaml:2: not readable as YAML: found character '\\t'"),
        ("rooms: 1\n---\nrooms: 2\n", "house.yaml:2: not readable as YAML: but found another"),
        ("rooms: !!python/object:os.x {}\n", "house.yaml:1: not readable as YAML: could not"),
        ("rooms: !!binary aGk=\n", "house.yaml: not readable as YAML: Object of type bytes"),
        ("? [a]\n: 1\n", "house.yaml:1: not readable as YAML: found unhashable key"),
        ("a: &a [*a]\n", "house.yaml: not readable as YAML: Circular reference"),
        ("rooms: \x07\n", "house.yaml: not readable as YAML: unacceptable character #x0007"),
        ("a: " + "[" * 5000, "house.yaml: not readable as YAML: nested too deeply"),
    ],
)
def test_what_is_no_mapping_in_yaml(file: Path, text: str, message: str) -> None:
    assert complaint(file, text).startswith(message)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigError, match=f"^{missing}: no such file$"):
        load_config(House, missing)
    with pytest.raises(ConfigError, match=f"^{tmp_path}: cannot be read: .*directory"):
        load_config(House, tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("rooms: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=f"^{latin}: cannot be read: .*utf-8"):
        load_config(House, latin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rooms: 1\nkitchn: {}", "house.yaml:2: unknown key 'kitchn'; did you mean 'kitchen'?"),
        (
            "rooms: 1\nkitchen:\n  haet: 1",
            "house.yaml:3: unknown key 'kitchen.haet'; did you mean 'kitchen.heat'?",
        ),
        (
            "rooms: 1\ndishes:\n- name: a\n- nmae: b",
            "house.yaml:4: unknown key 'dishes.1.nmae'; did you mean 'dishes.1.name'?",
        ),
        (
            "rooms: 1\nmenus:\n  noon: {cost: 2}",
            "house.yaml:3: unknown key 'menus.noon.cost'; known here: name, price",
        ),
        (
            "rooms: 1\nguest: {pens: 1}",
            "house.yaml:2: unknown key 'guest.pens'; did you mean 'guest.pa",
        ),
        # the right name in the wrong place, and a wrong name in the wrong place
        (
            "rooms: 1\ncellar: x",
            "house.yaml:2: unknown key 'cellar'; did you mean 'kitchen.cellar'?",
        ),
        (
            "rooms: 1\nprices: 1",
            "house.yaml:2: unknown key 'prices'; did you mean 'dishes.0.price'?",
        ),
        ("1: 2", "house.yaml:1: unknown key '1'; known here: kitchen, guest, dishes, menus, rooms"),
        ("kitchen: {}", "house.yaml: rooms is missing"),
        ("rooms: 9\ndishes:\n- price: 1\n", "house.yaml:3: dishes.0.name is missing"),
        ("rooms: many", "house.yaml:1: rooms: expected a valid integer, got 'many'"),
        ("rooms: '3'", "house.yaml:1: rooms: expected a valid integer, got '3'"),
        ("rooms: true", "house.yaml:1: rooms: expected a valid integer, got True"),
        ("rooms: 1.5", "house.yaml:1: rooms: expected a valid integer, got 1.5"),
        (
            "rooms: 1\nkitchen: {heat: hot}",
            "house.yaml:2: kitchen.heat: expected a valid number, got 'hot'",
        ),
        (
            "rooms: 1\nkitchen: {heat: .inf}",
            "house.yaml:2: kitchen.heat: expected a finite number, got",
        ),
        (
            "rooms: 1\nkitchen: {open: 'yes'}",
            "house.yaml:2: kitchen.open: expected a valid boolean, got 'yes'",
        ),
        (
            "rooms: 1\nkitchen: {style: tahi}",
            "house.yaml:2: kitchen.style: expected 'thai' or 'plain', got 'tahi'",
        ),
        (
            "rooms: 1\nkitchen: {workers: few}",
            "house.yaml:2: kitchen.workers: expected a valid integer or 'auto', got 'few'",
        ),
        ("rooms: 1\nkitchen: {tags: x}", "house.yaml:2: kitchen.tags: expected a list, got 'x'"),
        ("rooms: 1\nkitchen: {tags: [1]}", "house.yaml:2: kitchen.tags.0: expected text, got 1"),
        (
            "rooms: 1\nkitchen: {tags: [a, b, c]}",
            "house.yaml:2: kitchen.tags: at most 2 tags, got 3",
        ),
        ("rooms: 1\nkitchen: 5", "house.yaml:2: kitchen: expected a mapping, got 5"),
        (
            "rooms: 1\nkitchen: {chefs: 0}",
            "house.yaml:2: kitchen.chefs: expected a number greater than or eq",
        ),
        ("rooms: 0\ndishes: [{name: a}]", "house.yaml: 0 rooms are too few for 1 dishes"),
        ("rooms: 1\ncooks:\n", "house.yaml:2: unknown key 'cooks'; did you mean 'kitchen.cooks'?"),
        (
            "rooms: a\nkitchen: {cooks: b, style: c}",
            "house.yaml:2: kitchen.cooks: expected a valid integer, got 'b' (and 2 more)",
        ),
        (
            "rooms: 1\nkitchen: {cooks: 2, chefs: 3}",
            "house.yaml:2: kitchen.cooks is set twice, as 'kitchen.cooks' and as 'kitchen.chefs'",
        ),
        ("rooms: " + "x" * 200, "house.yaml:1: rooms: expected a valid integer, got 'xxxx"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_line(file: Path, text: str, message: str) -> None:
    found = complaint(file, text)
    assert found.startswith(message)
    assert len(found) < 160


@pytest.mark.parametrize(
    "words",
    [
        ["kitchen.heat=1e-3"],
        ["--kitchen.heat=1e-3"],
        ["--kitchen.heat", "1e-3"],
        ["kitchen={heat: 0.001}"],
        ["kitchen.heat=5", "kitchen.heat=0.001"],
    ],
)
def test_every_form_of_an_override(file: Path, words: list[str]) -> None:
    assert load(file, "rooms: 1\nkitchen: {heat: 9}", *words).config.kitchen.heat == 1e-3


def test_overrides_reach_into_lists_and_make_what_is_not_there(file: Path) -> None:
    text = "rooms: 9\ndishes: [{name: a, price: 2}, {name: b}]\nguest:\n"
    config = load(
        file, text, "dishes.0.name=z", "dishes[1].price=4", "dishes.2.name=c", "guest.tags.0=new"
    ).config
    assert config.dishes == (
        Dish(name="z", price=2),
        Dish(name="b", price=4),
        Dish(name="c"),
    )
    assert config.guest == Kitchen(tags=("new",))
    assert load(file, text, "dishes=null", "dishes=[]").config.dishes == ()


def test_values_of_overrides_are_yaml() -> None:
    words = ["a=true", "b=", "c=[1, x]", "--d", "-1", "e=k: v", "f=a=b", "g='7'", "h=2024-01-01"]
    assert [override.value for override in parse_overrides(words)] == [
        True,
        None,
        [1, "x"],
        -1,
        {"k": "v"},
        "a=b",
        "7",
        "2024-01-01",
    ]
    assert parse_overrides(["--a[0].b", "1"]) == [Override("a.0.b", 1, "--a[0].b 1")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rooms"], "override 'rooms' is not of the form key=value"),
        (["--rooms"], "override '--rooms' has no value; write --rooms=VALUE"),
        (["--rooms", "--x=1"], "override '--rooms' has no value; write --rooms=VALUE"),
        (["=3"], "override '=3': '' is not a dotted key"),
        (["a..b=3"], "override 'a..b=3': 'a..b' is not a dotted key"),
        (["rooms=[1"], "override 'rooms=[1': value not readable as YAML (expected"),
        (["rooms=@x"], "override 'rooms=@x': value not readable as YAML (found character '@' that"),
        (["romos=3"], "override 'romos=3': unknown key 'romos'; did you mean 'rooms'?"),
        (
            ["--kitchen.haet", "3"],
            "override '--kitchen.haet 3': unknown key 'kitchen.haet'; did you mean 'kitchen.heat'?",
        ),
        (["rooms=x"], "override 'rooms=x': rooms: expected a valid integer, got 'x'"),
        (
            ["guest={cooks: x}"],
            "override 'guest={cooks: x}': guest.cooks: expected a valid integer",
        ),
        (["rooms.x=1"], "override 'rooms.x=1': 'rooms' is 1, not a section"),
        (["dishes.5.name=a"], "override 'dishes.5.name=a': '5' is no index into a list of 1"),
        (["dishes.x.name=a"], "override 'dishes.x.name=a': 'x' is no index into a list of 1"),
        # the file ends before the dish that the override begins
        (["dishes.1.price=2"], "house.yaml:2: dishes.1.name is missing"),
        (["dishes.2=a"], "override 'dishes.2=a': '2' is no index into a list of 1"),
    ],
)
def test_a_wrong_override_is_named_as_typed(file: Path, words: list[str], message: str) -> None:
    assert complaint(file, "rooms: 1\ndishes: [{name: a}]\n", *words).startswith(message)


def test_foreign_keys_are_dropped_with_one_warning(file: Path) -> None:
    config, warnings = load(
        file, "rooms: 1\nkitchen: {gas: {any: thing}, pans: 3}\nguest: {gas: 1}"
    )
    assert config == House(rooms=1, guest=Kitchen())
    assert warnings == (
        "house.yaml: Oumi's keys without effect here: kitchen.gas, kitchen.pans, guest.gas",
    )


def test_an_older_name_sets_the_field(file: Path) -> None:
    config, warnings = load(file, "rooms: 1\nkitchen: {chefs: 4}")
    assert config.kitchen.cooks == 4
    assert warnings == ()


def test_what_a_value_will_not_do_is_remarked_where_it_is_set(file: Path) -> None:
    text = "rooms: 13\nguest:\n  open: false\nkitchen: {open: true}\n"
    assert load(file, text).warnings == (
        "house.yaml:1: rooms: unlucky",
        "house.yaml:3: guest.open: it never closes",
    )
    assert load(file, "rooms: 1", "kitchen.open=false").warnings == (
        "override 'kitchen.open=false': kitchen.open: it never closes",
    )


@pytest.mark.parametrize("value", ["true", "True", "yes", "on"])
def test_remote_code_is_off_without_the_flag(file: Path, value: str) -> None:
    text = f"rooms: 1\nkitchen:\n  trust_remote_code: {value}\n"
    config, warnings = load(file, text)
    assert config.kitchen.trust_remote_code is False
    assert warnings == (
        "house.yaml:3: kitchen.trust_remote_code stays off: it runs code out of the model's "
        "repository; pass --trust-remote-code to allow that",
    )
    allowed = load(file, text, trust=True)
    assert allowed.config.kitchen.trust_remote_code is True
    assert allowed.warnings == ()


def test_an_override_is_no_flag(file: Path) -> None:
    config, warnings = load(file, "rooms: 1", "kitchen.trust_remote_code=true")
    assert config.kitchen.trust_remote_code is False
    assert warnings[0].startswith(
        "override 'kitchen.trust_remote_code=true': kitchen.trust_remote_"
    )


@pytest.mark.parametrize("value", ["'true'", "1", "'yes'", "[true]"])
def test_nothing_but_a_boolean_turns_remote_code_on(file: Path, value: str) -> None:
    found = complaint(file, f"rooms: 1\nkitchen: {{trust_remote_code: {value}}}")
    assert found.startswith("house.yaml:2: kitchen.trust_remote_code: expected a valid boolean")


def test_the_flag_alone_turns_nothing_on(file: Path) -> None:
    assert load(file, "rooms: 1", trust=True).config.kitchen.trust_remote_code is False
