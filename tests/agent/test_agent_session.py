from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from coalm.agent.functions import tool_from_function
from coalm.agent.react import Limits, is_open, stop_reason
from coalm.agent.session import AgentSession, load_session
from coalm.agent.shared import SharedEngine
from coalm.engines.base import Completion, SamplingParams, Usage
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import DataError, EngineError
from coalm.tools import Toolbox
from coalm.types import Conversation, Message, Prompt

CALL = 'Thought: I look.\nAction: weather(city="Oslo")'


def weather(city: str) -> str:
    """Sky over a city."""
    return f"clear over {city}"


BOX = Toolbox([tool_from_function(weather)])


def test_a_session_answers_and_remembers(tmp_path: Path) -> None:
    engine = ScriptedEngine([CALL, "System: Clear.\nUser: never said", "System: Bye."])
    seen: list[int] = []
    session = AgentSession(
        engine,
        BOX,
        path=tmp_path / "s.jsonl",
        params=SamplingParams(stop=("Bye",)),
        watch=lambda conversation: seen.append(len(conversation.messages)),
    )
    answer = session.send("Weather?")
    assert (answer.text, answer.stop) == ("Clear.", None)
    assert [m.role for m in answer.messages] == ["assistant", "tool", "assistant"]
    assert answer.messages[1].content == "clear over Oslo"
    assert seen == [1, 2, 3, 4]
    assert session.send("Thanks").text == ""
    assert "Clear." in engine.prompts[-1][0].content
    assert load_session(tmp_path / "s.jsonl") == session.conversation
    assert session.conversation.tools == BOX.schemas


def test_limits_are_told() -> None:
    session = AgentSession(ScriptedEngine([CALL] * 3), BOX, limits=Limits(max_steps=2))
    answer = session.send("Weather?")
    assert (answer.text, answer.stop) == ("", "max_steps")


def test_a_cut_reply_is_told_and_kept() -> None:
    engine = ScriptedEngine(["System: one two three four"])
    session = AgentSession(engine, params=SamplingParams(max_new_tokens=3))
    answer = session.send("Count!")
    assert (answer.text, answer.stop) == ("one two", "length")


def test_an_error_ends_the_turn_and_is_recorded(tmp_path: Path) -> None:
    session = AgentSession(ScriptedEngine([CALL]), BOX, path=tmp_path / "s.jsonl")
    with pytest.raises(EngineError, match="no reply left"):
        session.send("Weather?")
    (stop,) = load_session(tmp_path / "s.jsonl").meta["stops"]  # type: ignore[misc]
    assert stop["after"] == 3  # type: ignore[index,call-overload]
    assert "no reply left after 1" in stop["detail"]  # type: ignore[operator,index,call-overload]


def test_a_session_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    session = AgentSession(ScriptedEngine(["Hi"]), path=tmp_path / "file" / "s.jsonl")
    with pytest.raises(DataError, match="cannot be written"):
        session.send("Hi")


def test_a_cut_turn_is_resumed() -> None:
    cut = Conversation(id="c", messages=(Message(role="user", content="Weather?"),))
    session = AgentSession(ScriptedEngine([CALL, "System: Clear."]), BOX, conversation=cut)
    assert session.resume().text == "Clear."


def test_many_sessions_share_one_event_loop() -> None:
    loops: set[int] = set()

    async def slow_weather(city: str) -> str:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0.3)
        return city

    def reply(prompt: Prompt) -> str:
        answered = "Observation:" in prompt[0].content.rpartition("User:")[2]
        return "System: Done." if answered else 'Action: slow_weather(city="Oslo")'

    async def main() -> tuple[list[str], int]:
        box = Toolbox([tool_from_function(slow_weather)])
        engine = SharedEngine(ScriptedEngine(reply))
        sessions = [AgentSession(engine, box) for _ in range(20)]
        answers = await asyncio.gather(*(session.asend("Go!") for session in sessions))
        return [answer.text for answer in answers], id(asyncio.get_running_loop())

    started = time.monotonic()
    texts, loop = asyncio.run(main())
    assert texts == ["Done."] * 20
    assert loops == {loop}
    assert time.monotonic() - started < 3  # one after the other would take six seconds


def test_a_cancelled_turn_is_interrupted() -> None:
    called = threading.Event()

    def nap() -> str:
        called.set()
        time.sleep(0.2)
        return "rested"

    session = AgentSession(
        ScriptedEngine(lambda prompt: "Action: nap()"), Toolbox([tool_from_function(nap)])
    )

    async def main() -> None:
        task = asyncio.create_task(session.asend("Go!"))
        await asyncio.to_thread(called.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    deadline = time.monotonic() + 5
    while is_open(session.conversation) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stop_reason(session.conversation) == "interrupted"
    assert session.conversation.messages[-1].content == "rested"


class SlowEngine:
    """Takes a while per call, whatever the batch; never two calls at a time."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.busy = threading.Lock()

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        assert self.busy.acquire(blocking=False)
        try:
            self.batches.append(len(prompts))
            time.sleep(0.1)
            if any("long" in prompt[-1].content for prompt in prompts):
                raise EngineError("too long")
            said = [prompt[-1].content.rpartition(" ")[2] for prompt in prompts]
            return [Completion(text, (), "stop", Usage(1, 1)) for text in said]
        finally:
            self.busy.release()

    def close(self) -> None:
        self.batches.append(-1)


def test_a_shared_engine_makes_batches_of_what_waits() -> None:
    slow = SlowEngine()
    shared = SharedEngine(slow)
    answers: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            answers[name] = AgentSession(shared).send(name).text
        except EngineError as e:
            answers[name] = str(e)

    threads = [threading.Thread(target=ask, args=(f"q{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {f"q{n}": f"q{n}" for n in range(12)}
    assert len(slow.batches) <= 4
    assert sum(slow.batches) == 12
    threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "long", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: answers[name] for name in ("a", "b", "long", "c")} == {
        **{name: name for name in ("a", "b", "c")},
        "long": "too long",
    }
    shared.close()
    assert slow.batches[-1] == -1
