"""Compare decoded calls with the accepted ones, without running anything.

Rules: `bfcl-eval` 2025.6.8, `eval_checker/ast_eval/ast_checker.py`, the same at the paper's time.
The order of the checks decides which error type is reported, so it is upstream's.

Two ideas of upstream explain most of what looks odd:

- A *variable* is a value whose type is that of the accepted values rather than that of the function
  doc. It must equal an accepted value to the letter; other values are compared leniently.
- `""` among the accepted values of a parameter means that it may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from coalm.evals.bfcl.categories import Category, Language
from coalm.evals.bfcl.data import Function
from coalm.evals.bfcl.decode import Call
from coalm.evals.bfcl.java_values import JAVA_TYPES, guess_value, read_java_value
from coalm.evals.bfcl.javascript_values import JAVASCRIPT_TYPES, read_javascript_value
from coalm.evals.bfcl.quirks import COMPAT, Quirks
from coalm.evals.bfcl.verdict import CRASH, RIGHT, Value, Verdict

Answer = Mapping[str, Mapping[str, Sequence[Value]]]
"""One accepted call: function name to parameter to accepted values."""

_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_IGNORED = re.compile(r"[ ,./\-_*^]")


class _Language(NamedTuple):
    """How values of one language are read and typed."""

    types: Mapping[str, type]
    collections: tuple[str, ...]
    """Type words whose elements are typed as well."""
    error_type: str = ""
    """Reported when a value is no source text."""
    read: Callable[[str, str, str | None], Value] | None = None
    """Value of source text; None for Python, whose values are decoded already."""


_LANGUAGES: dict[Language, _Language] = {
    "Python": _Language(_PYTHON_TYPES, ("array", "tuple")),
    "Java": _Language(JAVA_TYPES, ("Array", "ArrayList"), "type_error:java", read_java_value),
    "JavaScript": _Language(JAVASCRIPT_TYPES, ("array",), "type_error:js", read_javascript_value),
}


class _Rules(NamedTuple):
    """How the calls of one entry are compared."""

    language: Language
    underscores: bool
    """Whether dots in function names are underscores."""
    quirks: Quirks


class _Parameter(NamedTuple):
    """One parameter of a call and everything it is checked against."""

    name: str
    kind: str
    accepted: Sequence[Value]
    expected: type
    item: type | None
    """Type of the elements of a collection; None for other types."""
    quirks: Quirks

    @property
    def is_variable(self) -> bool:
        """Whether the accepted values have another type than the function doc says."""
        return self.answer_type not in (None, self.expected)

    @property
    def answer_type(self) -> type | None:
        return _answer_type(self.accepted)


def check_calls(
    calls: Sequence[Call],
    functions: Sequence[Function],
    answers: Sequence[Answer],
    category: Category,
    *,
    underscores: bool = False,
    quirks: Quirks = COMPAT,
) -> Verdict:
    """Verdict on the decoded calls of one entry; `answers` holds one dict per expected call.

    `underscores` is for engines that cannot have dots in function names.
    """
    rules = _Rules(category.language, underscores, quirks)
    try:
        if "parallel" in category.name:
            return _check_in_any_order(calls, functions, answers, rules)
        family = "multiple" if "multiple" in category.name else "simple"
        if len(calls) != 1:
            return Verdict(
                f"{family}_function_checker:wrong_count", f"{len(calls)} calls instead of 1"
            )
        function = functions[0] if family == "simple" else _doc(functions, answers[0])
        return _check_call(calls[0], function, answers[0], rules)
    except RecursionError:
        return Verdict(CRASH, "values are nested too deeply to be compared")


def _check_in_any_order(
    calls: Sequence[Call], functions: Sequence[Function], answers: Sequence[Answer], rules: _Rules
) -> Verdict:
    """Whether every expected call has a call of its own that fits."""
    family = "parallel_function_checker_no_order"
    if len(calls) != len(answers):
        return Verdict(f"{family}:wrong_count", f"{len(calls)} calls instead of {len(answers)}")
    choose = _first_fit if rules.quirks.greedy else _any_fit
    fault = choose(calls, functions, answers, rules)
    if isinstance(fault, Verdict):
        return fault
    if fault is None:
        return RIGHT
    return Verdict(f"{family}:cannot_find_match", f"no call fits {next(iter(answers[fault]))!r}")


def _first_fit(
    calls: Sequence[Call], functions: Sequence[Function], answers: Sequence[Answer], rules: _Rules
) -> int | Verdict | None:
    """Greedy: each expected call takes the first unused call that fits, and keeps it.

    The place of the first answer that is left without; None when there is none.
    """
    unused = list(calls)
    for number, answer in enumerate(answers):
        function = _doc(functions, answer)
        for at, call in enumerate(unused):
            verdict = _check_call(call, function, answer, rules)
            if verdict.valid:
                del unused[at]
                break
            if verdict.error_type == CRASH:
                return verdict
        else:
            return number
    return None


def _any_fit(
    calls: Sequence[Call], functions: Sequence[Function], answers: Sequence[Answer], rules: _Rules
) -> int | None:
    """Any assignment: an answer may take a call from another that finds a second one."""
    fitting = [
        [
            at
            for at, call in enumerate(calls)
            if _check_call(call, _doc(functions, answer), answer, rules).valid
        ]
        for answer in answers
    ]
    owner: dict[int, int] = {}

    def find(number: int, tried: set[int]) -> bool:
        for at in fitting[number]:
            if at not in tried:
                tried.add(at)
                if at not in owner or find(owner[at], tried):
                    owner[at] = number
                    return True
        return False

    return next((n for n in range(len(answers)) if not find(n, set())), None)


def _doc(functions: Sequence[Function], answer: Answer) -> Function:
    return next(f for f in functions if f["name"] in answer)


def _check_call(call: Call, function: Function, answer: Answer, rules: _Rules) -> Verdict:
    accepted = next(iter(answer.values()))
    name: str = function["name"].replace(".", "_") if rules.underscores else function["name"]
    parameters: Mapping[str, Mapping[str, Any]] = function["parameters"]["properties"]
    if name not in call:
        return _wrong_call("wrong_func_name", f"{next(iter(call), '')!r} instead of {name!r}")
    given = call[name]
    for required in function["parameters"]["required"]:
        if required not in given:
            return _wrong_call("missing_required", f"{required!r} is not given")
    for key, value in given.items():
        wanted = accepted.get(key)
        if wanted is None and key in parameters and not rules.quirks.defaults:
            wanted = _default(parameters[key])
        if key not in parameters or wanted is None:
            return _wrong_call("unexpected_param", f"{key!r} is not expected")
        verdict = _check_argument(key, value, parameters[key], wanted, rules)
        if not verdict.valid:
            return verdict
    for key, values in accepted.items():
        if key not in given and "" not in values:
            return _wrong_call("missing_optional", f"{key!r} is not given")
    return RIGHT


def _default(doc: Mapping[str, Any]) -> Sequence[Value] | None:
    """The default of a parameter as the one accepted value; None when it has no default."""
    if "default" not in doc:
        return None
    value = doc["default"]
    if isinstance(value, dict):
        return [{key: [inner] for key, inner in cast("dict[str, Value]", value).items()}]
    return [value]


def _wrong_call(fault: str, explanation: str) -> Verdict:
    return Verdict(f"simple_function_checker:{fault}", explanation)


def _check_argument(
    name: str,
    value: Value,
    doc: Mapping[str, Any],
    accepted: Sequence[Value],
    rules: _Rules,
) -> Verdict:
    language = _LANGUAGES[rules.language]
    kind: str = doc["type"]
    item: str | None = doc["items"]["type"] if kind in language.collections else None
    if language.read is not None:
        if not isinstance(value, str):
            return Verdict(language.error_type, f"{name!r} is {_show(value)}, not source text")
        value = language.read(value, kind, item)
        if kind == "any" and not rules.quirks.java_any:
            value = _read_any(value, accepted)
    elif kind == "tuple" and isinstance(value, tuple):
        value = list(cast("Sequence[Value]", value))
    elif kind == "float" and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return Verdict(CRASH, f"{name!r} is an integer too large for a float")
    item_type = language.types[item] if item is not None else None
    parameter = _Parameter(name, kind, accepted, language.types[kind], item_type, rules.quirks)
    verdict = _check_type(value, parameter)
    return verdict if not verdict.valid else _check_value(value, parameter)


def _read_any(text: str, accepted: Sequence[Value]) -> Value:
    """A value of no declared type, read if that gives the type of the accepted ones."""
    if text == "null" and None in accepted:
        return None
    value = guess_value(text)
    return value if type(value) is _answer_type(accepted) else text


def _check_type(value: Value, parameter: _Parameter) -> Verdict:
    fault = "simple"
    if type(value) is parameter.expected:
        if parameter.item is None:
            return RIGHT
        if any(_elements_fit(value, one, parameter) for one in parameter.accepted):
            return RIGHT
        if type(value) is parameter.answer_type:
            fault = "nested"
    elif type(value) is parameter.answer_type:
        return RIGHT
    expected = parameter.kind if fault == "simple" else f"{parameter.kind} of accepted elements"
    return Verdict(f"type_error:{fault}", f"{parameter.name!r} is {_show(value)}, not {expected}")


def _elements_fit(value: Sequence[Value], accepted: Value, parameter: _Parameter) -> bool:
    """Whether every element has the type of the doc or that of the accepted elements."""
    if type(accepted) is not list:
        return True
    types = {parameter.item, _answer_type(cast("Sequence[Value]", accepted))}
    if float in types and not parameter.quirks.item_types:
        types.add(int)
    return all(type(element) in types for element in value)


def _answer_type(accepted: Iterable[Value]) -> type[Any] | None:
    for one in accepted:
        if one != "":
            return one.__class__
    return None


def _check_value(value: Value, parameter: _Parameter) -> Verdict:
    accepted, quirks = parameter.accepted, parameter.quirks
    if type(value) is parameter.expected and not parameter.is_variable:
        if parameter.expected is dict:
            return _check_dict(value, accepted, quirks)
        if parameter.expected is list and parameter.item is dict:
            return _check_dicts(value, accepted, quirks)
        if parameter.expected is str:
            texts = [one for one in accepted if isinstance(one, str)]
            right = _is_among(value, texts, quirks)
            return RIGHT if right else _wrong_value("string", parameter.name, value)
        if parameter.expected is list:
            right = any(_same(_lenient_all(value), _lenient_all(o), quirks) for o in accepted)
            return RIGHT if right else _wrong_value("list/tuple", parameter.name, value)
    right = any(_same(value, one, quirks) for one in accepted)
    return RIGHT if right else _wrong_value("others", parameter.name, value)


def _check_dict(value: Mapping[Any, Value], accepted: Sequence[Value], quirks: Quirks) -> Verdict:
    verdict = Verdict("dict_checker:unclear", "only leaving it out is accepted")
    for one in accepted:
        if one != "":
            verdict = _compare_dicts(value, one, quirks)
            if verdict.valid:
                break
    return verdict


def _compare_dicts(
    value: Mapping[Any, Value], accepted: Mapping[Any, Sequence[Value]], quirks: Quirks
) -> Verdict:
    for key in accepted:
        if key not in value and "" not in accepted[key]:
            return _wrong_value("dict_key", str(key), None)
    for key, inner in value.items():
        if key not in accepted:
            return _wrong_value("dict_key", str(key), inner)
        wanted = accepted[key]
        if isinstance(wanted, str) and not quirks.letters:
            wanted = [wanted]
        if not _is_among(inner, wanted, quirks):
            return _wrong_value("dict_value", str(key), inner)
    return RIGHT


def _check_dicts(value: Sequence[Value], accepted: Sequence[Value], quirks: Quirks) -> Verdict:
    verdict = Verdict("list_dict_checker:unclear", "no value is accepted")
    for one in accepted:
        if len(value) != len(one):
            verdict = Verdict("value_error:list_dict_count", f"{len(value)} dicts, not {len(one)}")
            continue
        verdict = RIGHT
        for inner, right in zip(value, one, strict=True):
            if right != "" and not isinstance(inner, dict):
                return Verdict(CRASH, f"{_show(inner)} in place of a dict")
            verdict = _check_dict(cast("Mapping[Any, Value]", inner), [right], quirks)
            if not verdict.valid:
                break
        if verdict.valid:
            break
    return verdict


def _is_among(value: Value, accepted: Sequence[Value], quirks: Quirks) -> bool:
    """Whether a value, its text taken leniently, is one of the accepted ones."""
    if not quirks.blanks and value != "":
        accepted = [one for one in accepted if one != ""]
    return any(_same(_lenient(value), _lenient(one), quirks) for one in accepted)


def _same(value: Value, other: Value, quirks: Quirks) -> bool:
    """Python's equality; strictly, a boolean equals only itself, at any depth."""
    if quirks.truth or value != other:
        # identity first, as `in` has it: NaN is among the values that hold it
        return value is other or value == other
    if isinstance(value, list | tuple):
        pairs = zip(cast("Sequence[Value]", value), other, strict=True)
        return all(_same(a, b, quirks) for a, b in pairs)
    if isinstance(value, dict):
        items = cast("Mapping[Value, Value]", value).items()
        return all(_same(inner, other[key], quirks) for key, inner in items)
    return isinstance(value, bool) == isinstance(other, bool)


def _lenient(value: Value) -> Value:
    """Text without what the official scorer ignores; anything else as it is."""
    if not isinstance(value, str):
        return value
    return _IGNORED.sub("", value).lower().replace("'", '"')


def _lenient_all(values: Iterable[Value]) -> list[Value]:
    return [_lenient(value) for value in values]


def _wrong_value(fault: str, name: str, value: Value) -> Verdict:
    return Verdict(f"value_error:{fault}", f"{name!r} is {_show(value)}, which is not accepted")


def _show(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
