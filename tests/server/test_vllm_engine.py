"""The API in front of the real vLLM in this process: `coalm serve ... engine=VLLM`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
openai = pytest.importorskip("openai")

from coalm.engines.config import VllmConfig  # noqa: E402
from coalm.engines.vllm import VllmEngine  # noqa: E402

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "Book",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Oslo", "Rome"]}, "note": {"type": "string"}},
                "required": ["city", "note"],
            },
        },
    }
]
WAYS: list[dict[str, Any]] = [
    {"max_tokens": 24},
    {"max_tokens": 24, "temperature": 1.2, "seed": 4},
    {"max_tokens": 40, "tools": TOOLS, "tool_choice": "required"},
    {"max_tokens": 12, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
]


@pytest.fixture(scope="module")
def engine(wide_model: Path) -> Iterator[VllmEngine]:
    made = VllmEngine(wide_model, dtype="float32", settings=VllmConfig(enforce_eager=True))
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(serving: Any, engine: VllmEngine) -> Iterator[Any]:
    with serving(engine, can_guide=True, places=8) as started:
        yield started


def ask(served: Any, said: str, **request: Any) -> Any:
    messages = [{"role": "user", "content": said}]
    return served.client.chat.completions.create(model="coalm", messages=messages, **request)


def unfinished(engine: VllmEngine) -> int:
    assert engine._loaded
    return engine._loaded.engine.get_num_unfinished_requests()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_stream_comes_to_the_whole_answer(served: Any, joined: Any, unstreamed: Any) -> None:
    cases = [(said, way) for said in ("Book Oslo", "Wie spät ist es?") for way in WAYS]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    with ThreadPoolExecutor(len(cases) * 2) as pool:
        whole = [pool.submit(ask, served, said, **way) for said, way in cases]
        parts = [pool.submit(ask, served, said, **options, **way) for said, way in cases]
        for case, one, other in zip(cases, whole, parts, strict=True):
            assert joined(other.result()) == unstreamed(one.result()), case


def test_text_comes_token_by_token_and_clients_share_every_step(served: Any) -> None:
    told: list[int] = []

    def read(client: int) -> None:
        for chunk in ask(served, f"Tell me {client}", max_tokens=150, stream=True):
            if chunk.choices[0].delta.content:
                told.append(client)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(read, client) for client in range(6)]:
            done.result()
    firsts = [told.index(client) for client in range(6)]
    lasts = [len(told) - 1 - told[::-1].index(client) for client in range(6)]
    assert max(firsts) < min(lasts), "all run at once"
    assert len(told) > 6 * 50, "characters of several tokens come together, nothing else does"


def test_a_call_is_given_while_it_is_written(served: Any) -> None:
    # a random model rambles: first the thought, then the note go on to the end of the grammar
    request = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 3000, "stream": True}
    chunks = ask(served, "Book Oslo", parallel_tool_calls=False, **request)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    (name, *arguments) = [one.tool_calls[0].function for one in deltas if one.tool_calls]
    assert name.name == "Book"
    assert len(arguments) > 20
    found = json.loads("".join(part.arguments for part in arguments))
    assert found["city"] in ("Oslo", "Rome")


def test_who_leaves_is_taken_out_of_the_batch(served: Any, engine: VllmEngine) -> None:
    request = {"max_tokens": 3000, "stream": True}
    leaving, staying = (ask(served, said, **request) for said in ("Go", "Stay"))
    for stream in (leaving, staying):
        next(iter(stream))
    assert unfinished(engine) == 2
    leaving.close()
    wait_for(lambda: served.desk.running == 1)
    assert unfinished(engine) == 1
    staying.close()
    wait_for(lambda: served.desk.running == 0)
    assert unfinished(engine) == 0


@pytest.mark.parametrize("schema", [{"type": "number", "if": {}}, {"type": "strang"}])
def test_a_schema_that_cannot_be_followed_is_refused(served: Any, schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match="the grammar cannot be used") as refusal:
        ask(served, "Hi", response_format=form)
    assert refusal.value.param == "response_format"
    assert served.desk.is_open


def test_an_engine_that_fails_ends_the_service(
    serving: Any, engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this file: vLLM is gone afterwards."""
    assert engine._loaded

    def fail() -> None:
        raise RuntimeError("no memory\nleft")

    monkeypatch.setattr(engine._loaded.engine, "step", fail)
    with serving(engine) as broken:
        with pytest.raises(openai.InternalServerError, match=r"vLLM failed on .*no memory left"):
            ask(broken, "Hi")
        wait_for(lambda: not broken.desk.is_open)
        with pytest.raises(openai.InternalServerError, match="is shutting down"):
            ask(broken, "Hi")
