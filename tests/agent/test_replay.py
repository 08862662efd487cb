from __future__ import annotations

from coalm.agent.functions import tool_from_function
from coalm.agent.replay import recorded_session, replay, show_changes
from coalm.agent.session import AgentSession
from coalm.engines.scripted import ScriptedEngine
from coalm.tools import Toolbox
from coalm.types import Conversation, Message

SAID = [
    'Thought: I look.\nAction: weather(city="Oslo")',
    "System: Clear.",
    "Action: weather(city=",
    "System: Sorry.",
]


def box(sky: str) -> Toolbox:
    def weather(city: str) -> str:
        return f"{sky} over {city}"

    return Toolbox([tool_from_function(weather)])


def recorded() -> Conversation:
    system = Conversation(id="trip", messages=(Message(role="system", content="Be brief."),))
    session = AgentSession(ScriptedEngine(SAID), box("clear"), conversation=system)
    session.send("Weather?")
    session.send("And in\nRome?")
    return session.conversation


def test_recorded_words_with_the_same_tools_give_the_same_conversation() -> None:
    before = recorded()
    after = replay(before, recorded_session(before, box("clear")))
    assert after == before
    assert show_changes(before, after) == ""


def test_a_model_that_says_the_same_gives_the_same_conversation() -> None:
    before = recorded()
    session = AgentSession(ScriptedEngine(SAID), box("clear"))
    assert replay(before, session) == before
    assert session.conversation == before


def test_what_changed_is_shown() -> None:
    before = recorded()
    after = replay(before, recorded_session(before, box("rain")))
    assert show_changes(before, after).splitlines() == [
        "--- trip",
        "+++ trip",
        "@@ -3,5 +3,5 @@",
        " thought: I look.",
        ' call: weather {"city": "Oslo"}',
        "-tool: clear over Oslo",
        "+tool: rain over Oslo",
        " assistant: Clear.",
        " user: And in",
    ]


def test_unreadable_calls_and_empty_messages_have_lines_too() -> None:
    changes = show_changes(Conversation(id="a"), recorded())
    assert "+call: unreadable: weather(city=" in changes
    silent = Conversation(id="b", messages=(Message(role="assistant"),))
    assert "+assistant: " in show_changes(Conversation(id="a"), silent)
