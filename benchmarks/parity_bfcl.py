"""Re-score recorded BFCL cases: the checks behind `parity.py bfcl`.

A file's form is told from its contents:

- outputs of a model: `id, category, raw, decoded, valid, error_type, official_valid`, for some rows
  also what that model's own decoder gave (`handler_*`). `models.json`, among the files or beside
  them, says how each model's replies are decoded; for a model that it lacks this is inferred;
- outputs for offline executable entries: the same, with `model`;
- synthetic cases: `decoded` and `corruption`;
- multi-turn cases: `model_calls` or `raw`; `safe_valid` goes before `valid`;
- multi-turn ground truth: `responses`, `final_state_sha256`;
- lists in .json: checker cases (`function`, `ground_truth`), decoding cases (`text`), aggregation
  cases (`columns`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from parity_check import Check

from coalm import jsonl
from coalm.errors import DataError, ParseError
from coalm.evals.bfcl.aggregate import Tally, official_tables
from coalm.evals.bfcl.ast_check import check_calls
from coalm.evals.bfcl.categories import Category
from coalm.evals.bfcl.data import Entry, entries_by_id
from coalm.evals.bfcl.decode import decode, decode_fc, to_call_strings
from coalm.evals.bfcl.exec_check import judge_exec, judge_exec_calls
from coalm.evals.bfcl.simulators import Simulators
from coalm.evals.bfcl.single_turn import judge_decoded, judge_reply, judge_undecoded
from coalm.evals.bfcl.state_check import judge_calls, judge_dialogue
from coalm.evals.bfcl.verdict import Verdict

Row = Mapping[str, Any]

SOURCE_DECODING = "decoding Java and JavaScript"
FLOORS = {SOURCE_DECODING: 0.998}
"""What less than full agreement is enough for."""
FAILED = "decoding fails"


class Model(NamedTuple):
    """How the replies of a model are read."""

    decoder: str
    """`prompt`, `fc_json`, or `handler`: a decoder of its own, of which only results are known."""
    underscores: bool
    """Whether dots in function names are underscores for it."""


def bfcl(files: Sequence[Path]) -> Iterator[Check]:
    """Every recorded result of the files beside ours."""
    models = _read_models(files)
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        if path.name.endswith(".json"):
            rows = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(rows, list):
                yield from _list_checks(path, rows)
            continue
        rows = [row for _, row in jsonl.read(path)]
        if not rows:
            raise DataError(f"{path}: no rows")
        yield from _row_checks(path, rows, models)


def _row_checks(path: Path, rows: Sequence[Row], models: Mapping[str, Model]) -> Iterator[Check]:
    first = rows[0]
    if "model" in first:
        inferred: dict[str, Model] = dict(models)
        for row in rows:
            if row["model"] not in inferred:
                same = [other for other in rows if other["model"] == row["model"]]
                inferred[row["model"]] = _infer_exec_model(same)
            yield from _exec_checks(row, inferred[row["model"]])
        return
    if "official_valid" in first:
        model = model_of(path, rows, models)
        for row in rows:
            yield from _output_checks(row, model)
        return
    forms: dict[str, Callable[[Row], Iterator[Check]]] = {
        "responses": _ground_truth_checks,
        "model_calls": _multi_turn_checks,
        "raw": _multi_turn_checks,
        "decoded": _synthetic_checks,
    }
    for row in rows:
        form = next((key for key in forms if key in row), None)
        if form is None:
            raise DataError(f"{path}: rows with {', '.join(row)} are of no known form")
        yield from forms[form](row)


def _list_checks(path: Path, rows: Sequence[Row]) -> Iterator[Check]:
    forms: dict[str, Callable[[Row, str], Iterator[Check]]] = {
        "columns": _aggregation_checks,
        "text": _decoding_checks,
        "ground_truth": _checker_checks,
    }
    for number, row in enumerate(rows):
        form = next((key for key in forms if key in row), None)
        if form is None:
            raise DataError(f"{path}: rows with {', '.join(row)} are of no known form")
        yield from forms[form](row, f"{path.name}[{number}]")


# single-turn


def _output_checks(row: Row, model: Model) -> Iterator[Check]:
    entry = find_entry(row)
    if model.decoder == "handler":
        verdict = _judge_recorded(entry, row, "decoded", model)
    else:
        calling = model.decoder == "fc_json"
        verdict = judge_reply(
            entry, row["raw"], function_calling=calling, underscores=model.underscores
        )
        found = _decoded(row["raw"], entry, calling)
        expected = FAILED if "decode_error" in row else restore(row["decoded"]) or None
        python = entry.category.language == "Python" or calling
        measure = "decoding Python and JSON" if python else SOURCE_DECODING
        # repr tells 1 from 1.0 and True, and NaN from itself not
        yield _check(measure, row["id"], expected, found, repr(expected) == repr(found or None))
    yield from _verdict_checks("outputs", row["id"], row, verdict)
    if "handler_valid" in row:
        verdict = _judge_recorded(entry, row, "handler_decoded", model)
        yield from _verdict_checks("outputs by own decoder", row["id"], row, verdict, "handler_")


def _judge_recorded(entry: Entry, row: Row, key: str, model: Model) -> Verdict:
    if row[key] is None:
        return judge_undecoded(entry, "recorded as a failure")
    return judge_decoded(entry, restore(row[key]), underscores=model.underscores)


def _decoded(raw: object, entry: Entry, calling: bool) -> object:
    try:
        return decode_fc(raw) if calling else decode(str(raw), entry.category.language)
    except ParseError:
        return FAILED


def _synthetic_checks(row: Row) -> Iterator[Check]:
    verdict = judge_decoded(find_entry(row), restore(row["decoded"]))
    yield from _verdict_checks("synthetic", f"{row['id']} {row['corruption']}", row, verdict)


def _checker_checks(row: Row, case: str) -> Iterator[Check]:
    category = Category(row["category"], 0, "ast", row["language"])
    calls, answers = restore(row["decoded"]), restore(row["ground_truth"])
    verdict = check_calls(
        calls, row["function"], answers, category, underscores=row.get("underscore_to_dot", False)
    )
    yield from _verdict_checks("checker cases", case, row, verdict)


def _decoding_checks(row: Row, case: str) -> Iterator[Check]:
    calls: Any = FAILED
    with suppress(ParseError):
        calls = decode(row["text"], row["language"])
    if "security" in row:
        safe = calls == FAILED or _is_arithmetic(calls)
        yield _check("decoding of unsafe text", case, FAILED, calls, safe)
        return
    expected = FAILED if "ast_error" in row else restore(row["ast"]) or None
    measure = "decoding cases" if row["language"] == "Python" else SOURCE_DECODING
    yield _check(measure, case, expected, calls, repr(expected) == repr(calls or None))
    if "exec" in row or "exec_error" in row:
        try:
            found: object = to_call_strings(calls) if calls != FAILED else FAILED
        except ParseError:
            found = FAILED
        expected = FAILED if "exec_error" in row else row["exec"]
        yield _check("decoding cases to call strings", case, expected, found, expected == found)


def _is_arithmetic(calls: Sequence[Mapping[str, Mapping[str, object]]]) -> bool:
    return all(
        isinstance(value, int | float)
        for call in calls
        for given in call.values()
        for value in given.values()
    )


# executable and multi-turn


def _exec_checks(row: Row, model: Model) -> Iterator[Check]:
    entry = find_entry(row)
    if model.decoder == "handler":
        verdict = _judge_recorded_exec(entry, row, "decoded")
    else:
        calling = model.decoder == "fc_json"
        verdict = judge_exec(entry, row["raw"], function_calling=calling)
    case = f"{row['model']} {row['id']}"
    yield from _verdict_checks("executable", case, row, verdict)
    if "handler_valid" in row:
        verdict = _judge_recorded_exec(entry, row, "handler_decoded")
        yield from _verdict_checks("executable by own decoder", case, row, verdict, "handler_")


def _judge_recorded_exec(entry: Entry, row: Row, key: str) -> Verdict:
    if row[key] is None:
        return Verdict("executable_decoder:decoder_failed", "recorded as a failure")
    return judge_exec_calls(entry, row[key])


def _multi_turn_checks(row: Row) -> Iterator[Check]:
    entry = find_entry(row)
    if isinstance(row.get("model_calls"), list):
        verdict = judge_calls(entry, row["model_calls"])
    else:
        verdict = judge_dialogue(entry, row.get("raw", row.get("model_calls")))
    prefix = "safe_" if "safe_valid" in row else ""
    case = f"{row['id']} {row['corruption']}"
    yield from _verdict_checks("multi-turn", case, row, verdict, prefix)


def _ground_truth_checks(row: Row) -> Iterator[Check]:
    entry = find_entry(row)
    simulators = Simulators(entry)
    for number, (calls, texts) in enumerate(zip(entry.answer, row["responses"], strict=True)):
        for call, expected in zip(calls, texts, strict=True):
            found: object = simulators.run(call)
            if isinstance(expected, dict):
                expected, found = expected["sha256"], _sha256(str(found))
            case = f"{row['id']} turn {number}"
            yield _check("multi-turn results", case, expected, found, expected == found)
    found = _sha256(json.dumps(_state(simulators), sort_keys=True))
    expected = row["final_state_sha256"]
    yield _check("multi-turn states", row["id"], expected, found, expected == found)


def _state(simulators: Simulators) -> dict[str, Any]:
    return {
        name: {key: _plain(v) for key, v in vars(instance).items() if not key.startswith("_")}
        for name, instance in simulators.instances.items()
    }


def _plain(value: Any) -> Any:
    """A piece of state as the recording writes it."""
    match type(value).__name__:
        case "File":
            return {"type": "file", "name": value.name, "content": value.content}
        case "Directory":
            contents = {key: _plain(inner) for key, inner in value.contents.items()}
            return {"type": "directory", "name": value.name, "contents": contents}
        case "dict":
            return {str(key): _plain(inner) for key, inner in value.items()}
        case "list" | "tuple":
            return [_plain(inner) for inner in value]
        case "set":
            return str(value)
        case _:
            return value


def _aggregation_checks(row: Row, case: str) -> Iterator[Check]:
    tallies = {name: Tally(n, row["total"][name]) for name, n in row["correct"].items()}
    tables = official_tables(tallies, executable="with_exec" in row["version"])
    for table, columns in row["columns"].items():
        ours = getattr(tables, table.removeprefix("data_"))
        for title, expected in columns.items():
            value = ours.get(title)
            found = "N/A" if value is None else f"{100 * value:.2f}%"
            yield _check("columns", f"{case} {table} {title}", expected, found, expected == found)


# common


def _verdict_checks(
    form: str, case: str, row: Row, verdict: Verdict, prefix: str = ""
) -> Iterator[Check]:
    valid, error_type = row[f"{prefix}valid"], row[f"{prefix}error_type"]
    yield _check(f"{form}: valid", case, valid, verdict.valid, valid == verdict.valid)
    same = error_type == verdict.error_type
    yield _check(f"{form}: error_type", case, error_type, verdict.error_type, same)


def _check(measure: str, case: str, expected: object, found: object, agrees: bool) -> Check:
    return Check(measure, case, *((None, None) if agrees else (expected, found)), agrees)


def find_entry(row: Row) -> Entry:
    """The entry that a row is about.

    Raises:
        DataError: there is none.
    """
    entry = entries_by_id().get(row["id"])
    if entry is None:
        raise DataError(f"{row['id']!r} is no BFCL entry")
    return entry


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def restore(value: Any) -> Any:
    """A recorded value with what JSON cannot say: tuples, bytes, keys that are no text, ..."""
    if isinstance(value, list):
        return [restore(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"__tuple__": items}:
            return tuple(restore(item) for item in items)
        case {"__dict__": pairs}:
            return {restore(key): restore(inner) for key, inner in pairs}
        case {"__complex__": parts}:
            return complex(*parts)
        case {"__bytes__": text}:
            return text.encode("latin-1")
        case {"__float__": text}:
            return float(text)
        case _:
            return {key: restore(inner) for key, inner in value.items()}


def _read_models(files: Sequence[Path]) -> dict[str, Model]:
    """Models by name, out of every `models.json` among the files, beside them, or one level up."""
    places = dict.fromkeys(
        place / "models.json" for path in files for place in (path.parent, path.parent.parent)
    )
    models: dict[str, Model] = {}
    for place in [*(path for path in files if path.name == "models.json"), *places]:
        if place.is_file():
            for name, row in json.loads(place.read_text(encoding="utf-8")).items():
                models.setdefault(name, Model(row["decoder"], row["underscore_to_dot"]))
    return models


def model_of(path: Path, rows: Sequence[Row], models: Mapping[str, Model] | None = None) -> Model:
    """How the replies in a file of outputs are read; `models.json` may lie beside it."""
    known = _read_models([path]) if models is None else models
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return known.get(name) or _infer_model(rows)


def _infer_model(rows: Sequence[Row]) -> Model:
    """How the replies of an unlisted model are read, by trying."""
    entries = [(row, find_entry(row)) for row in rows]
    underscores = any(
        name.replace(".", "_") in call
        for row, entry in entries
        if row["valid"] and row["decoded"]
        for name in [function["name"] for function in entry.functions]
        if "." in name
        for call in row["decoded"]
    )
    if any(isinstance(row["raw"], list) for row in rows):
        return Model("fc_json", underscores)
    agree = sum(
        repr(_decoded(row["raw"], entry, calling=False) or None)
        == repr(FAILED if "decode_error" in row else restore(row["decoded"]) or None)
        for row, entry in entries
    )
    return Model("prompt" if agree > 0.9 * len(rows) else "handler", underscores)


def _infer_exec_model(rows: Sequence[Row]) -> Model:
    if any(isinstance(row["raw"], list) for row in rows):
        return Model("fc_json", underscores=False)
    agree = sum(
        judge_exec(find_entry(row), row["raw"]).error_type == row["error_type"] for row in rows
    )
    return Model("prompt" if agree > 0.9 * len(rows) else "handler", underscores=False)
