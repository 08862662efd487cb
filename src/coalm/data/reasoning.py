"""Whether a thought agrees with the act that follows it.

Rules for any wording, ours or a teacher's. Before a call the thought names the function, claims no
other value for an argument than the call has, and does not plan to reply instead. Before a reply it
speaks of replying or of why nothing is called, announces no call, and quotes only what the
conversation holds. What stands in double quotes is a value and never read as reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

from coalm.errors import ParseError
from coalm.formats.text import read_value
from coalm.types import Message, ToolSchema

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_CLAIM = re.compile(
    r"\b(\w+) "
    r'("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?![\w:]|[-/.]\d)|(?:True|False)\b|\[[^\[\]]*\])'
)
"""`party_size 2`, `city "Oslo"`."""
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_CALL = re.compile(
    r"\b(?:call|calls|calling|invoke|run|use|execute|query|go ahead|can give it)\b", re.IGNORECASE
)
_HELD_BACK = re.compile(
    r"\b(?:no|not|cannot|\w+n't|without|before|until|once|unless|after|when|if|never|nothing|"
    r"instead of|rather than|would be|should I|whether|lack|failed|succeeded|suggest|offer|ask)\b",
    re.IGNORECASE,
)
_REPLY = re.compile(
    r"\bI(?:'ll| will| can| should| must| need to| have to| want to| may)?(?: now| also| then)?"
    r" (?:ask|tell|say|add|answer|reply|respond|report|offer|suggest|present|propose|mention|"
    r"apologi[sz]e|confirm (?:it|this|that|to)|check with|repeat|inform|thank|close|wait|greet|"
    r"let (?:the user|them) know|explain|give (?:the user|them)|point out|share)\b|"
    r"\b(?:say goodbye|ask for|ask whether|asking|no call|without a call|need(?:s|ed)? no|"
    r"no (?:new )?call|no function|cannot call|lack|answer|tell the user|confirm that)\b|"
    r"\b(?:reply|respond|goodbye|offer|inform|propose)\b",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"\b(?:no (?:new )?call\b|no function\b|cannot call\b|without a call\b|goodbye\b|"
    r"I (?:still )?lack\b|not call\b|"
    r"I(?:'ll| will| must| should| need to)? (?:ask|apologi[sz]e|tell the user|repeat|check with|"
    r"close|report|present|say|offer|suggest|mention|propose)\b)",
    re.IGNORECASE,
)


def call_faults(message: Message, tools: Mapping[str, ToolSchema]) -> Iterator[str]:
    """What the thought of a message with calls has against them."""
    thought = message.thought or ""
    reasoning = _QUOTED.sub('""', thought)
    for call in message.tool_calls:
        if not _names(reasoning, call.name):
            yield f"the thought does not name {call.name}, which is called"
    if found := _INSTEAD.search(reasoning):
        yield f"the thought says {found.group()!r}, but a call follows"
    arguments = {
        name: [call.arguments[name] for call in message.tool_calls if name in call.arguments]
        for call in message.tool_calls
        for name in (tools[call.name].properties if call.name in tools else call.arguments)
    }
    for name, value in claims(thought):
        if name in arguments and value not in arguments[name]:
            given = arguments[name][0] if arguments[name] else "nothing"
            yield f"the thought has {name} {value!r}, the call {given!r}"


def reply_faults(message: Message, holds: Callable[[str, JsonValue], bool]) -> Iterator[str]:
    """What the thought of a reply has against it.

    Args:
        message: one without calls.
        holds: whether the conversation, the reply included, has a value for a name.
    """
    thought = message.thought or ""
    if not thought.strip():
        yield "the thought is empty"
        return
    reasoning = _QUOTED.sub('""', thought)
    for sentence in _SENTENCE.split(reasoning):
        if _CALL.search(sentence) and not _HELD_BACK.search(sentence):
            yield f"the thought announces a call ({sentence!r:.80}), but a reply follows"
    if not _REPLY.search(reasoning):
        yield f"the thought does not speak of replying: {thought!r:.80}"
    for name, value in claims(thought):
        if not holds(name, value):
            yield f"the thought has {name} {value!r}, which nobody said"


def claims(thought: str) -> Iterator[tuple[str, JsonValue]]:
    """The values that a thought gives for something: name and value of each."""
    for name, text in _CLAIM.findall(thought):
        try:
            yield name, read_value(text)
        except ParseError:
            continue


def _names(reasoning: str, function: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(function)}(?!\w)", reasoning) is not None
