"""YAML files and command-line overrides become frozen, checked models.

::

    loaded = load_config(TrainConfig, Path("configs/train/8b.yaml"), ["training.max_steps=10"])
    for warning in loaded.warnings: ...
    train(loaded.config)

Values are checked strictly (text is never taken for a number, nor a bool for one), unknown keys are
errors that name the nearest known key, and `1e-4` is a number although YAML 1.1 calls it text.
Files of Oumi load as they are: keys of its own that coalm has no use for are dropped and reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from coalm.errors import ConfigError
from coalm.yaml_text import Document, YamlError, parse

_TRUST = "trust_remote_code"
_OVERRIDE_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")
_SHOULD_BE = "Input should be "
_JSON_WORDS = {"a valid array": "a list", "an object": "a mapping", "a valid string": "text"}


class Remark(NamedTuple):
    """Something in a valid configuration that the user should know before the run."""

    key: str
    """Key within the section that makes the remark."""
    text: str


class ConfigModel(BaseModel):
    """Base of every configuration section: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    foreign: ClassVar[str] = ""
    """Keys, divided by white space, that some release of Oumi knows and coalm does not use: they
    are dropped with a warning."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Other names of fields, as older files spell them."""
    without_effect: ClassVar[Mapping[str, str]] = {}
    """Fields whose default is all that coalm can do; any other value is remarked with this text."""

    def remarks(self) -> Iterator[Remark]:
        """What the user should know about the values of this section (not of those below it)."""
        for key, text in self.without_effect.items():
            if getattr(self, key) != type(self).model_fields[key].default:
                yield Remark(key, text)


ConfigT = TypeVar("ConfigT", bound=ConfigModel)


class Loaded(NamedTuple, Generic[ConfigT]):
    """A configuration and the warnings, one line each, that belong to it."""

    config: ConfigT
    warnings: tuple[str, ...]


class Override(NamedTuple):
    """One `a.b=c` of the command line."""

    key: str
    """Dotted, list indices as parts: `data.train.datasets.0.seed`."""
    value: Any
    text: str
    """As the user typed it, for messages."""


def load_config(
    model: type[ConfigT],
    path: Path | None,
    overrides: Sequence[str] = (),
    *,
    trust_remote_code: bool = False,
) -> Loaded[ConfigT]:
    """Read `path`, apply `overrides`, check the result against `model`.

    Args:
        model: the root section.
        path: a YAML file; None builds the configuration from the overrides alone.
        overrides: command-line words: `a.b=c`, `--a.b=c`, or `--a.b` followed by `c`.
        trust_remote_code: the user's explicit flag; without it, the key of this name stays off
            wherever a file sets it.

    Raises:
        ConfigError: one line that names file and line (or the override), key, value and what is
            expected.
    """
    document = _read(path) if path else Document({}, None)
    data = document.data
    applied = parse_overrides(overrides)
    for override in applied:
        _apply(data, override.key.split("."), override)
    check = _Check(model, _Source(path, document, applied), trust_remote_code)
    config = cast("ConfigT", check.build(data))
    return Loaded(config, tuple(check.warnings(config)))


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Command-line words as overrides; values are YAML (`true`, `3`, `[a, b]`, `null`).

    Raises:
        ConfigError: a word is no override, has no value, or its value is not YAML.
    """
    found: list[Override] = []
    rest = iter(words)
    for word in rest:
        key, has_value, value = word.removeprefix("--").partition("=")
        text = word
        if not has_value:
            if not word.startswith("--"):
                raise ConfigError(f"override '{word}' is not of the form key=value")
            value = next(rest, "--")
            if value.startswith("--"):
                raise ConfigError(f"override '{word}' has no value; write {word}=VALUE")
            text = f"{word} {value}"
        key = re.sub(r"\[(\d+)\]", r".\1", key)
        if not _OVERRIDE_KEY.fullmatch(key):
            raise ConfigError(f"override '{text}': '{key}' is not a dotted key")
        found.append(Override(key, _override_value(value, text), text))
    return found


def _override_value(value: str, text: str) -> Any:
    try:
        return parse(value).data
    except YamlError as e:
        raise ConfigError(f"override '{text}': value not readable as YAML ({e}); quote it") from e


def _apply(place: Any, parts: list[str], override: Override) -> None:
    """Put the value of `override` at `parts` below `place`, making sections on the way."""
    part, *rest = parts
    if not rest:
        _put(place, part, override.value, override)
        return
    below = _child(place, part)
    if below is None:
        below = _put(place, part, [] if rest[0].isdigit() else {}, override)
    if not isinstance(below, dict | list):
        raise ConfigError(f"override '{override.text}': '{part}' is {_short(below)}, not a section")
    _apply(cast("Any", below), rest, override)


def _child(place: Any, part: str) -> Any:
    if isinstance(place, dict):
        return cast("dict[str, Any]", place).get(part)
    items = cast("list[Any]", place)
    return items[int(part)] if part.isdigit() and int(part) < len(items) else None


def _put(place: Any, part: str, value: Any, override: Override) -> Any:
    """Set and return `value`; the index one past the end of a list appends."""
    if isinstance(place, dict):
        place[part] = value
        return value
    items = cast("list[Any]", place)
    if not part.isdigit() or int(part) > len(items):
        raise ConfigError(
            f"override '{override.text}': '{part}' is no index into a list of {len(items)}"
        )
    items[int(part) : int(part) + 1] = [value]
    return value


def _read(path: Path) -> Document:
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: no such file") from e
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except YamlError as e:
        where = f"{path}:{e.line}" if e.line else f"{path}"
        raise ConfigError(f"{where}: not readable as YAML: {e}") from e
    if document.data is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {_short(document.data)}")
    return document


class _Source:
    """Knows where a key was set: by which override, or in which line of the file."""

    def __init__(self, path: Path | None, document: Document, overrides: list[Override]) -> None:
        self.name = str(path) if path else "command line"
        self._document = document
        self._overrides = overrides

    def at(self, key: str) -> str:
        """`override 'a.b=c'`, `file:line`, or the file alone."""
        for override in reversed(self._overrides):
            if f"{key}.".startswith(f"{override.key}."):
                return f"override '{override.text}'"
        line = self._document.line(key.split("."))
        return f"{self.name}:{line}" if line else self.name


class _Check:
    """Turns plain data into a model, collecting what to warn about."""

    def __init__(self, root: type[ConfigModel], source: _Source, trust: bool) -> None:
        self._root = root
        self._source = source
        self._trust = trust
        self._spelled: dict[str, str] = {}
        self._ignored: list[str] = []
        self._distrusted: list[str] = []

    def build(self, data: dict[str, Any]) -> ConfigModel:
        pruned = self._prune(self._root, data, "")
        try:
            # JSON, because its strict mode takes a list for a tuple and text for a path.
            return self._root.model_validate_json(json.dumps(pruned), strict=True)
        except ValidationError as e:
            raise ConfigError(self._complaint(e.errors(include_url=False), pruned)) from e

    def warnings(self, config: ConfigModel) -> Iterator[str]:
        if self._ignored:
            keys = ", ".join(self._ignored)
            yield f"{self._source.name}: Oumi's keys without effect here: {keys}"
        for key in self._distrusted:
            yield (
                f"{self._source.at(key)}: {key} stays off: it runs code out of the model's "
                "repository; pass --trust-remote-code to allow that"
            )
        for key, text in _remarks(config, ""):
            yield f"{self._source.at(key)}: {key}: {text}"

    def _prune(self, model: type[ConfigModel], data: dict[str, Any], path: str) -> dict[str, Any]:
        """`data` with fields of `model` only, under their own names."""
        kept: dict[str, Any] = {}
        for name, value in data.items():
            key = f"{path}{name}"
            field = model.renamed.get(name, name)
            if name in model.foreign.split():
                self._ignored.append(key)
                continue
            if field not in model.model_fields:
                raise ConfigError(self._unknown(model, path, name))
            if field in kept:
                raise ConfigError(
                    f"{self._source.at(key)}: {path}{field} is set twice, as "
                    f"'{self._spelled.get(path + field, path + field)}' and as '{key}'"
                )
            self._spelled[path + field] = key
            annotation = model.model_fields[field].annotation
            if value is None and _section(annotation):
                continue  # a heading with nothing below it
            if name == _TRUST and value is True and not self._trust:
                self._distrusted.append(key)
                value = False
            kept[field] = self._prune_value(annotation, value, key)
        return kept

    def _prune_value(self, annotation: Any, value: Any, key: str) -> Any:
        section = _section(annotation)
        if section is None:
            return value
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return [self._prune_value(section, v, f"{key}.{i}") for i, v in enumerate(items)]
        if not isinstance(value, dict):
            return value
        table = cast("dict[str, Any]", value)
        if _is_table(annotation):
            return {k: self._prune_value(section, v, f"{key}.{k}") for k, v in table.items()}
        return self._prune(section, table, f"{key}.")

    def _unknown(self, model: type[ConfigModel], path: str, name: str) -> str:
        here = [*model.model_fields, *model.renamed, *model.foreign.split()]
        elsewhere = {key.rpartition(".")[2]: key for key in reversed([*_keys(self._root)])}
        if name in elsewhere:
            hint = f"did you mean '{elsewhere[name]}'?"
        elif near := get_close_matches(name, here, n=1):
            hint = f"did you mean '{path}{near[0]}'?"
        elif near := get_close_matches(name, elsewhere, n=1, cutoff=0.8):
            hint = f"did you mean '{elsewhere[near[0]]}'?"
        else:
            hint = f"known here: {', '.join(model.model_fields)}"
        return f"{self._source.at(path + name)}: unknown key '{path}{name}'; {hint}"

    def _complaint(self, errors: list[ErrorDetails], data: dict[str, Any]) -> str:
        """The first key that is wrong, with everything that would have been accepted."""
        by_key: dict[str, list[ErrorDetails]] = {}
        for error in errors:
            by_key.setdefault(_key_of(error, data), []).append(error)
        key, problems = next(iter(by_key.items()))
        key = self._spelled.get(key, key)
        where = f"{self._source.at(key)}: {key}" if key else self._source.name
        more = f" (and {len(by_key) - 1} more)" if len(by_key) > 1 else ""
        if problems[0]["type"] == "missing":
            return f"{where} is missing{more}"
        expected = " or ".join(dict.fromkeys(_expected(error) for error in problems))
        if problems[0]["type"] == "value_error":
            return f"{where}: {expected}{more}"
        lead = "expected " if problems[0]["msg"].startswith(_SHOULD_BE) else ""
        return f"{where}: {lead}{expected}, got {_short(problems[0]['input'])}{more}"


def _section(annotation: Any) -> type[ConfigModel] | None:
    """The section that a field holds: itself, optional, or as the items of a list or table."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, ConfigModel) else None
    return next(filter(None, map(_section, get_args(annotation))), None)


def _is_table(annotation: Any) -> bool:
    return any(get_origin(part) is dict for part in (annotation, *get_args(annotation)))


def _keys(model: type[ConfigModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield path + name
        if section := _section(field.annotation):
            is_list = get_origin(field.annotation) in (tuple, list)
            yield from _keys(section, f"{path}{name}.0." if is_list else f"{path}{name}.")


def _remarks(value: Any, path: str) -> Iterator[Remark]:
    if isinstance(value, ConfigModel):
        for key, text in value.remarks():
            yield Remark(f"{path}{key}", text)
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from _remarks(item, f"{path}{name}.")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from _remarks(item, f"{path}{index}.")


def _key_of(error: ErrorDetails, data: Any) -> str:
    """The key an error is about; pydantic adds the branch of a union, which users never wrote."""
    parts: list[str] = []
    for part in error["loc"]:
        if isinstance(data, dict) and part in data:
            data = cast("dict[Any, Any]", data)[part]
        elif isinstance(data, list) and isinstance(part, int):
            data = cast("list[Any]", data)[part]
        else:
            break
        parts.append(str(part))
    if error["type"] == "missing":
        parts.append(str(error["loc"][-1]))
    return ".".join(parts)


def _expected(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ").removeprefix(_SHOULD_BE)
    if text.startswith(("greater", "less")):
        return f"a number {text}"
    return _JSON_WORDS.get(text, text)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
