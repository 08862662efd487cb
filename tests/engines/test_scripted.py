from __future__ import annotations

from pathlib import Path

import pytest

from coalm.engines import SamplingParams, load_engine
from coalm.engines.config import InferConfig
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import DataError, EngineError
from coalm.types import ChatTurn

HI = (ChatTurn("user", "Hi there"),)
BYE = (ChatTurn("user", "Now say goodbye to all of them"),)
PARAMS = SamplingParams(max_new_tokens=3)


def test_replies_come_in_order_and_prompts_are_kept() -> None:
    engine = ScriptedEngine(["one", "two", "three"])
    assert [answer.text for answer in engine.generate([HI, BYE], PARAMS)] == ["one", "two"]
    (last,) = engine.generate([HI], PARAMS)
    assert (last.text, last.finish_reason, last.token_ids) == ("three", "stop", ())
    assert last.usage == (2, 1)
    assert engine.prompts == [HI, BYE, HI]


def test_replies_may_be_a_stream_or_a_function() -> None:
    endless = ScriptedEngine(f"no {number}" for number in range(10**9))
    assert [answer.text for answer in endless.generate([HI, HI], PARAMS)] == ["no 0", "no 1"]
    echo = ScriptedEngine(lambda prompt: prompt[-1].content)
    assert echo.generate([HI], PARAMS)[0].text == "Hi there"


@pytest.mark.parametrize(
    ("reply", "stop", "text", "reason"),
    [
        ("a b c", (), "a b c", "stop"),
        ("a b c ", (), "a b c ", "stop"),
        (" a  b\nc d", (), " a  b\nc", "length"),
        ("a b c d", ("d",), "a b c ", "stop"),
        ("a b c d e", ("e",), "a b c", "length"),
        ("Action: f()\nObservation: x", ("\nSystem", "\nObservation"), "Action: f()", "stop"),
        ("", (), "", "stop"),
    ],
)
def test_words_count_as_tokens_and_stop_texts_cut(
    reply: str, stop: tuple[str, ...], text: str, reason: str
) -> None:
    params = SamplingParams(max_new_tokens=3, stop=stop)
    (answer,) = ScriptedEngine([reply]).generate([HI], params)
    assert (answer.text, answer.finish_reason) == (text, reason)
    assert answer.usage.completion_tokens == len(text.split())


def test_running_out_of_replies_is_one_clear_line() -> None:
    engine = ScriptedEngine(["only one"])
    with pytest.raises(EngineError) as caught:
        engine.generate([HI, BYE], PARAMS)
    assert str(caught.value) == (
        "the scripted engine has no reply left after 1; "
        "the next prompt ends in 'Now say goodbye to all of them'"
    )


def config(path: Path) -> InferConfig:
    return InferConfig.model_validate({"engine": "SCRIPTED", "model": {"model_name": str(path)}})


def test_replies_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two\\nlines"}\n', encoding="utf-8")
    engine = load_engine(config(path))
    assert [answer.text for answer in engine.generate([HI, HI], PARAMS)] == ["one", "two\nlines"]


def test_a_row_without_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text('{"text": "one"}\n{"reply": "two"}\n', encoding="utf-8")
    with pytest.raises(
        EngineError, match=r'replies.jsonl:2: a reply is a row {"text": "..."}, got'
    ):
        load_engine(config(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.jsonl: no such file"):
        load_engine(config(tmp_path / "no.jsonl"))
