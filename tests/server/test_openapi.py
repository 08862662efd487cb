"""Requests made from our OpenAPI file by schemathesis: wrong ones are refused, none breaks us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

schemathesis = pytest.importorskip("schemathesis")

# its own imports warn
pytestmark = pytest.mark.filterwarnings("default")

POSTS = [
    ("/v1/chat/completions", 150),
    ("/v1/completions", 60),
    ("/page/sessions/{session}/calls", 60),
]
"""Every path that takes a body, and how many wrong ones it is sent."""
CALLED = settings(
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schema(serving: Any) -> Iterator[Any]:
    from coalm.engines.scripted import ScriptedEngine

    with serving(ScriptedEngine(lambda prompt: "System: Hello!")) as served:
        yield schemathesis.openapi.from_url(f"{served.root}/openapi.json")


def send(strategy: Any, many: int, check: Callable[[Any], None]) -> int:
    """Send `many` requests and check each answer; returns how many there were."""
    checks: Any = schemathesis.checks
    documented = [
        checks.not_a_server_error,
        *checks.CHECKS.get_by_names(
            ["status_code_conformance", "content_type_conformance", "response_schema_conformance"]
        ),
    ]
    sent = 0

    @settings(CALLED, max_examples=many)
    @given(case=strategy)
    def ask(case: Any) -> None:
        nonlocal sent
        sent += 1
        answer = case.call()
        assert "Traceback" not in answer.text
        case.validate_response(answer, checks=documented)
        check(answer)

    ask()
    return sent


@pytest.mark.parametrize(("path", "many"), POSTS)
def test_wrong_requests_are_refused_by_the_field(schema: Any, path: str, many: int) -> None:
    def refused(answer: Any) -> None:
        assert 400 <= answer.status_code < 500, answer.text
        error = answer.json()["error"]
        assert error["param"], error
        assert error["param"] in error["message"], error

    wrong = schema[path]["POST"].as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    assert send(wrong, many, refused) == many


def test_what_the_file_allows_breaks_nothing(schema: Any) -> None:
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {path for path, _ in POSTS} <= {operation.path for operation in operations}
    for operation in operations:
        allowed = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
        assert send(allowed.map(for_our_model), 60, lambda answer: None)


def for_our_model(case: Any) -> Any:
    """Any name is allowed, and only one goes further than to the look at the name."""
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "coalm"
    return case
