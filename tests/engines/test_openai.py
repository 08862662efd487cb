"""The engine for OpenAI-compatible endpoints, against a server in this process that misbehaves."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coalm.config import load_config
from coalm.engines import SamplingParams, load_engine
from coalm.engines.answers import StreamingEngine
from coalm.engines.base import Completion, Usage
from coalm.engines.config import InferConfig
from coalm.engines.scripted_endpoint import Fault, ScriptedEndpoint
from coalm.errors import EngineError
from coalm.types import ChatTurn, Prompt

pytest.importorskip("openai")

from coalm.engines.openai import OpenAIEngine

GREEDY = SamplingParams(max_new_tokens=8)
KEY = "sk-very-secret"
SLOW_DOWN = Fault(429, '{"error": {"message": "slow down"}}', {"Retry-After": "0.05"})
PASSING = [
    SLOW_DOWN,
    Fault(500, "oops"),
    Fault(503, '{"error": {"message": "overloaded"}}'),
    Fault(408, "{}"),
    Fault(drop=True),
    Fault(delay=0.6),
    Fault(200, '{"choices": [{"message"'),
    Fault(200, "<html>a proxy's page</html>"),
    Fault(200, '{"choices": []}'),
    Fault(200, '{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}'),
    Fault(200, '{"choices": [{"message": {"content": "a"}, "finish_reason": "abort"}]}'),
]

Start = Callable[..., tuple[OpenAIEngine, ScriptedEndpoint]]


def ask(text: str) -> Prompt:
    return (ChatTurn("system", "Be brief."), ChatTurn("user", text))


def echo(prompt: Prompt) -> str:
    return f"you said {prompt[-1].content}"


@pytest.fixture
def start() -> Iterator[Start]:
    """Make an engine and the endpoint that it asks; both are closed in the end."""
    made: list[OpenAIEngine | ScriptedEndpoint] = []

    def make(
        *faults: Fault | None, answer: Callable[[Prompt], str] = echo, **settings: object
    ) -> tuple[OpenAIEngine, ScriptedEndpoint]:
        endpoint = ScriptedEndpoint(answer, faults)
        engine = OpenAIEngine(
            "some/model",
            **{"url": endpoint.url, "timeout": 0.3, "backoff": (0.01, 0.05), **settings},
        )
        made.extend((engine, endpoint))
        return engine, endpoint

    yield make
    for one in made:
        one.close()


def test_what_is_asked_and_what_comes_back(start: Start) -> None:
    engine, endpoint = start()
    params = SamplingParams(max_new_tokens=8, temperature=0.5, top_p=0.9, stop=("\nUser:",), seed=3)
    assert engine.generate([ask("Hi")], params) == [
        Completion("you said Hi", (), "stop", Usage(prompt_tokens=3, completion_tokens=3))
    ]
    assert endpoint.requests == [
        {
            "model": "some/model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ],
            "max_tokens": 8,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["\nUser:"],
            "seed": 3,
        }
    ]


def test_greedy_requests_hold_no_settings_that_a_server_may_lack(start: Start) -> None:
    engine, endpoint = start()
    engine.generate([ask("Hi")], GREEDY)
    assert endpoint.requests[0].keys() == {"model", "messages", "max_tokens", "temperature"}


def test_no_more_requests_than_allowed_run_at_once(start: Start) -> None:
    engine, endpoint = start(answer=lambda p: time.sleep(0.05) or echo(p), workers=4)
    texts = [f"number {n}" for n in range(24)]
    answers = engine.generate([ask(text) for text in texts], GREEDY)
    assert [answer.text for answer in answers] == [f"you said {text}" for text in texts]
    assert endpoint.most_at_once == 4


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.status} {fault.body[:24]}")
def test_what_passes_is_tried_again(start: Start, fault: Fault) -> None:
    engine, endpoint = start(fault, fault)
    (answer,) = engine.generate([ask("Hi")], GREEDY)
    assert answer.text == "you said Hi"
    assert len(endpoint.requests) == 3


def test_all_faults_together_lose_no_answer(start: Start) -> None:
    faults = [fault for fault in PASSING for _ in range(3)]
    engine, endpoint = start(*faults, workers=8, max_retries=30)
    texts = [f"number {n}" for n in range(40)]
    answers = engine.generate([ask(text) for text in texts], GREEDY)
    assert [answer.text for answer in answers] == [f"you said {text}" for text in texts]
    assert len(endpoint.requests) == 40 + len(faults)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_endpoint_says_how_long_to_wait(start: Start, form: str) -> None:
    # a date has no fractions of a second, so it lies between one and two seconds ahead
    value = "1.0" if form == "seconds" else email.utils.formatdate(time.time() + 2)
    engine, _ = start(Fault(429, "{}", {"Retry-After": value}))
    started = time.monotonic()
    engine.generate([ask("Hi")], GREEDY)
    assert 0.9 < time.monotonic() - started < 3.0


REFUSED = [
    (
        Fault(401, '{"error": {"message": "wrong key sk-very-secret\\nsee the docs"}}'),
        r"answered 401: wrong key \*\*\* see the docs; set remote_params.api_key_env_varname",
        1,
    ),
    (
        Fault(404, '{"error": {"message": "no model some/model"}}'),
        r"answered 404: no model some/model; GET .*/v1/models lists the models that it serves",
        1,
    ),
    (Fault(400, '{"message": "5000 tokens are too many"}'), "answered 400: 5000 tokens are too", 1),
    (Fault(422, '{"detail": "no such field"}'), "answered 422: no such field$", 1),
    (
        Fault(429, '{"error": {"message": "pay", "code": "insufficient_quota"}}'),
        "answered 429: pay$",
        1,
    ),
    (
        Fault(429, "{}", {"Retry-After": "3600"}),
        "answered 429: Too Many Requests; it asks to come back in 3600 s$",
        1,
    ),
    (Fault(502, "<html>\nbad</html>"), r"answered 502: <html> bad</html> \(3 attempts\)$", 3),
    (Fault(delay=0.6), r"gave no answer within 0.3 s \(connection_timeout\) \(3 attempts\)$", 3),
    (Fault(drop=True), r"cannot be reached: .*; is the server running\? \(3 attempts\)$", 3),
    (
        Fault(200, "{"),
        r"gave no answer of OpenAI's form: Invalid JSON: .*: '\{' \(3 attempts\)$",
        3,
    ),
    (Fault(200, '{"choices": []}'), "form: choices: List should have at least 1 item", 3),
    (
        Fault(200, '{"choices": [{"message": {"content": null}}]}'),
        "form: choices.0: no text in it: '{",
        3,
    ),
    (
        Fault(200, '{"choices": [{"text": "a", "finish_reason": "content_filter"}]}'),
        "form: choices.0: the endpoint ended the answer with 'content_filter': ",
        3,
    ),
]


@pytest.mark.parametrize(("fault", "message", "attempts"), REFUSED, ids=lambda v: str(v)[:30])
def test_a_failure_is_one_line_with_address_and_cause(
    start: Start, fault: Fault, message: str, attempts: int
) -> None:
    engine, endpoint = start(*[fault] * 9, max_retries=2, api_key=KEY)
    with pytest.raises(EngineError, match=message) as caught:
        engine.generate([ask("Hi")], GREEDY)
    assert str(caught.value).startswith(endpoint.url)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(endpoint.requests) == attempts


def test_a_server_that_is_not_there(start: Start) -> None:
    _, endpoint = start()
    endpoint.close()
    engine, _ = start(url=endpoint.url, max_retries=1)
    message = r"/v1 cannot be reached: .*[Cc]onnect.*; is the server running\? \(2 attempts\)"
    with pytest.raises(EngineError, match=message):
        engine.generate([ask("Hi")], GREEDY)


def test_stop_texts_hold_even_where_the_server_ignores_them(start: Start) -> None:
    text = {"message": {"content": "Thought: a\nUser: b"}, "finish_reason": "length"}
    engine, _ = start(Fault(200, json.dumps({"choices": [text]})))
    params = SamplingParams(max_new_tokens=8, stop=("\nUser:",))
    assert engine.generate([ask("Hi")], params) == [
        Completion("Thought: a", (), "stop", Usage(0, 0))
    ]


def test_a_model_cut_off_while_it_reasons_has_said_nothing(start: Start) -> None:
    choice = {"message": {"content": None, "reasoning": "Well"}, "finish_reason": "length"}
    engine, _ = start(Fault(200, json.dumps({"choices": [choice], "usage": None})))
    assert engine.generate([ask("Hi")], GREEDY) == [Completion("", (), "length", Usage(0, 0))]


def test_answers_stream_and_a_fault_stays_with_its_prompt(start: Start) -> None:
    engine, _ = start(None, Fault(400, '{"message": "too long"}'))
    assert isinstance(engine, StreamingEngine)
    found = dict(engine.answers((ask(f"{n}") for n in range(4)), GREEDY))
    assert [found[n].text for n in (0, 2, 3)] == ["you said 0", "you said 2", "you said 3"]
    assert isinstance(found[1], EngineError)


def test_prompts_are_read_as_places_get_free(start: Start) -> None:
    engine, _ = start(workers=2)
    read: list[int] = []

    def prompts() -> Iterator[Prompt]:
        for n in range(100):
            read.append(n)
            yield ask(str(n))

    stream = engine.answers(prompts(), GREEDY)
    next(stream)
    assert len(read) <= 8
    stream.close()


def test_a_prompt_may_wait_for_the_answers_before_it(start: Start) -> None:
    engine, endpoint = start(workers=4)
    said: list[str] = []

    def prompts() -> Iterator[Prompt | None]:
        for n in range(5):
            while len(said) < n:
                yield None
            yield ask(" ".join([*said[-1:], str(n)]))

    for place, outcome in engine.answers(prompts(), GREEDY):
        assert place == len(said)
        said.append(str(outcome[0]).split()[-1])
    assert said == ["0", "1", "2", "3", "4"]
    assert endpoint.most_at_once == 1


def test_callers_with_a_loop_of_their_own(start: Start) -> None:
    engine, endpoint = start(SLOW_DOWN, answer=lambda p: time.sleep(0.03) or echo(p), workers=3)

    async def collect(first: int) -> dict[int, str]:
        prompts = [ask(str(n)) for n in range(first, first + 6)]
        return {place: str(one[0]) async for place, one in engine.agenerate(prompts, GREEDY)}

    async def both() -> list[dict[int, str]]:
        return await asyncio.gather(collect(0), collect(10))

    low, high = asyncio.run(both())
    assert low == {n: f"you said {n}" for n in range(6)}
    assert high == {n: f"you said {n + 10}" for n in range(6)}
    assert endpoint.most_at_once == 3


def test_a_closed_engine_says_so_to_everyone(start: Start) -> None:
    engine, _ = start()
    engine.close()
    with pytest.raises(EngineError, match="engine of some/model is closed; make a new one"):
        list(engine.answers([ask("Hi")], GREEDY))


def test_token_ids_go_to_a_server_that_takes_them(start: Start, tiny_model: Path) -> None:
    from coalm.chat_template import encode_prompt, load_tokenizer

    choice = {"text": "Hello", "token_ids": [5, 6], "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    engine, endpoint = start(
        Fault(200, json.dumps({"choices": [choice], "usage": usage})), tokenizer=tiny_model
    )
    assert engine.generate([ask("Hi")], GREEDY) == [
        Completion("Hello", (5, 6), "stop", Usage(9, 2))
    ]
    (request,) = endpoint.requests
    assert request["prompt"] == encode_prompt(load_tokenizer(tiny_model), ask("Hi"))
    assert request["return_token_ids"] is True
    assert "messages" not in request


def load(*words: str) -> OpenAIEngine:
    config = load_config(InferConfig, None, ["model.model_name=m", "engine=OPENAI", *words]).config
    engine = load_engine(config)
    assert isinstance(engine, OpenAIEngine)
    return engine


def test_an_inference_file_describes_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    with ScriptedEndpoint(lambda p: str(seen.append(p[-1].content))) as endpoint:
        engine = load(
            f"remote_params.api_url={endpoint.url}/chat/completions",
            "remote_params.api_key_env_varname=MY_KEY",
            "remote_params.num_workers=8",
            "remote_params.retry_backoff_base=0.01",
        )
        assert KEY not in repr(vars(engine)["_address"])
        assert engine.generate([ask("Hi")], GREEDY)[0].text == "None"
        engine.close()
    assert seen == ["Hi"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["remote_params.api_key_env_varname=NOT_SET", "remote_params.api_url=http://a/v1"],
            "no key for http://a/v1: the environment variable NOT_SET is not set",
        ),
        ([], "no key for https://api.openai.com/v1: the environment variable OPENAI_API_KEY is"),
        (
            ["remote_params.api_url=localhost:8000"],
            "remote_params.api_url: expected an address such as http://localhost:8000/v1, got "
            "'localhost:8000'",
        ),
        (
            ["model.adapter_model=out/adapter"],
            "an endpoint loads adapters itself: start it with --lora-modules NAME=out/adapter and "
            "set model.model_name to that NAME",
        ),
    ],
)
def test_a_file_that_names_no_usable_endpoint(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EngineError) as caught:
        load(*words)
    assert str(caught.value).startswith(message)


def test_openai_s_key_goes_to_openai_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine = load("remote_params.api_url=http://localhost:1/v1")
    assert KEY not in repr(vars(engine)["_client"].auth_headers)
    engine.close()
    engine = load()
    assert KEY in repr(vars(engine)["_client"].auth_headers)
    engine.close()
