"""The assistant's reasoning, written from SGD's own annotations; no model is asked.

A thought names the function and the slots and values that the step rests on, in a line or two, and
agrees with what follows: a call, or a reply with certain acts. Every situation has several
wordings; which one is taken depends on the dialogue and the turn alone. Plain thoughts have one
wording each, which puts what is known before what follows from it: a small model looks at every
argument, in the function's order and as it was said, before it has to decide, and has fewer words
to learn::

    BookRoom: hotel_name: "Elm Inn", city: missing, check_in_date: "next Monday". I ask for city.
    GetForecast: city: "Oslo", date: "the 9th" = "2019-03-09". Nothing is missing, so I call it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from coalm.data.base import pick
from coalm.data.sgd_exchanges import Exchange, differences
from coalm.formats.text import write_value

_CONFIRMED = (
    "The user confirmed, so I call {function} with {facts}.",
    "I have the user's yes and can call {function} now: {facts}.",
    "The user agreed to {facts}, so {function} can go ahead.",
)
_AGAIN = (
    "The user wants something else, so I call {function} again with {facts}.",
    "I need other results. I call {function} with {facts}.",
)
_KNOWN = (
    "I know {facts}. That is enough for {function}, so I call it.",
    "{function} can be called now, because I have {facts}.",
    "Everything that {function} requires is known: {facts}.",
    "For this I need {function}, and I can give it {facts}.",
)
_BARE = (
    "{function} requires no arguments, so I can call it right away.",
    "The user set no conditions. I call {function} without arguments.",
)
_OTHERWISE = (
    "{function} did not go through as asked, the result has {facts}. I say so and offer that.",
    "What I asked of {function} is not possible, but {facts} is. I apologise and propose it.",
)
_FAILED_OTHERWISE = (
    "{function} failed: the result has {facts} instead. I say so and ask what else I can do.",
    "The result has {facts}, not what was asked for, so {function} failed. I tell the user.",
)
_NOTHING = (
    "The result of {function} is empty, so I say that it did not work and offer other help.",
    "{function} returned nothing. I tell the user and ask whether I can do something else.",
)
_FAILED = (
    "{function} failed. I tell the user and ask whether I can do something else.",
    "This did not work, so I say that {function} failed.",
)
_SUCCESS = (
    "{function} succeeded, so I tell the user that it is done.",
    "The result shows that {function} went through. I report it.",
    "{function} worked. Now I can confirm that to the user.",
)
_FOUND_ONE = (
    "There is one result, {facts}. I present it.",
    "{function} found just one result; I say so and suggest {facts}.",
)
_FOUND_MANY = (
    "There are {count} results. I say how many and offer {facts}.",
    "{function} found {count} results; I mention the number and suggest {facts}.",
    "Of the {count} results I present {facts}.",
)
_FOUND = (
    "The result holds {facts}, which I tell the user.",
    "{function} found {facts}, so I tell the user about it.",
    "From the result I can tell the user {facts}.",
)
_ALSO = (
    "The user also asked about something that I can answer: {facts}.",
    "I add what the user asked for: {facts}.",
)
_ASK = (
    "{function} still needs {slots}, so I ask for that.",
    "I cannot call {function} before I know {slots}.",
    "No call yet, because I lack {slots} for {function}.",
)
_ASK_MORE = (
    "I know {facts}, but {function} also needs {slots}, so I ask.",
    "With {facts} I still lack {slots} for {function}, so I ask.",
)
_CONFIRM = (
    "I have all that {function} needs, but the user must agree first. I ask to confirm {facts}.",
    "{function} changes something, so I repeat the details and wait for a yes: {facts}.",
    "Before I call {function} I check with the user: {facts}.",
)
_ANSWER = (
    "An earlier result answers this: {facts}. I need no call.",
    "I already know {facts} and can tell the user without a call.",
    "The results so far say {facts}, so no function is needed.",
)
_ANSWER_SAID = (
    "The conversation already gives {facts}, so I need no call.",
    "This was said before: {facts}. I can answer at once.",
)
_NEXT = (
    "The user wants another option. The earlier results also hold {facts}, so I offer that.",
    "No new call is needed: among the results there is also {facts}.",
    "I stay with the results I have and offer {facts} instead.",
)
_SUGGEST = (
    "The user likes the option. {function} would be the next step, so I suggest it.",
    "The choice is made. I ask whether to go on with {function}.",
    "Now {function} becomes possible; I offer to do it.",
)
_MORE = (
    "Nothing is left to do here, so I ask whether the user needs anything else.",
    "This part is settled. I offer further help.",
    "No call is needed; I ask what else I can do.",
)
_GOODBYE = (
    "The user needs nothing more, so I say goodbye.",
    "Everything is done. I close the conversation politely.",
    "There is nothing left to do but to say goodbye.",
)

_PLAIN = {
    _CONFIRMED: "{function}: {state}. The user agreed, so I call it.",
    _AGAIN: "{function}: {state}. The user wants something else, so I call it again.",
    _KNOWN: "{function}: {state}. Nothing is missing, so I call it.",
    _BARE: "{function}: nothing is missing, so I call it.",
    _OTHERWISE: "{function} failed. The result has {facts} instead, so I say so and offer that.",
    _FAILED_OTHERWISE: "{function} failed. The result has {facts} instead, so I say so.",
    _NOTHING: "{function} failed. There is no result, so I say so.",
    _FAILED: "{function} failed, so I say so.",
    _SUCCESS: "{function} succeeded, so I tell the user.",
    _FOUND_ONE: "{function} found one result: {facts}. I offer that.",
    _FOUND_MANY: "{function} found {count} results: {facts}. I say how many and offer that.",
    _FOUND: "{function} found {facts}. I tell the user.",
    _ALSO: "Asked for: {facts}. I tell the user.",
    _ASK: "{function}: {state}. I ask for {slots}.",
    _ASK_MORE: "{function}: {state}. I ask for {slots}.",
    _CONFIRM: "{function}: {state}. It changes something, so I ask for a yes.",
    _ANSWER: "Asked {topic}: {facts}. I tell the user.",
    _ANSWER_SAID: "Asked for: {facts}, as said before. I tell the user.",
    _NEXT: "{place}: {facts}. I offer that.",
    _SUGGEST: "The user likes it. {function} comes next, so I suggest it.",
    _MORE: "Nothing is left to do, so I ask what else there is.",
    _GOODBYE: "The user needs nothing more, so I say goodbye.",
}

_ACTS_WITH_CALL = frozenset(
    {"OFFER", "INFORM", "INFORM_COUNT", "NOTIFY_SUCCESS", "NOTIFY_FAILURE", "REQ_MORE"}
)
_ACTS_WITHOUT_CALL = frozenset(
    {"REQUEST", "CONFIRM", "INFORM", "OFFER", "OFFER_INTENT", "REQ_MORE", "GOODBYE"}
)

_Part = tuple[tuple[str, ...], dict[str, str]]
"""Wordings, and the names that they are filled with."""


def before_call(exchange: Exchange, key: str, *, plain: bool = False) -> str:
    """Why the call is made now: which function, and what is known for it.

    Args:
        exchange: one with a call.
        key: names dialogue and turn; decides the wording.
        plain: the one plain wording instead.
    """
    facts = _joined([_argument(exchange, slot) for slot in exchange.parameters])
    if not facts:
        wordings = _BARE
    elif exchange.transactional and "AFFIRM" in exchange.user_acts:
        wordings = _CONFIRMED
    elif "REQUEST_ALTS" in exchange.user_acts:
        wordings = _AGAIN
    else:
        wordings = _KNOWN
    wording = _wording(wordings, plain, key, "before")
    state = _state(exchange, exchange.call.arguments if exchange.call else {})
    return wording.format(function=_function(exchange), facts=facts, state=state)


def before_reply(exchange: Exchange, key: str, *, plain: bool = False) -> str:
    """What the result, or the lack of a need for a call, means for the reply.

    Empty when there is no wording for what the system does. Arguments as of `before_call`.
    """
    if not set(exchange.acts()) <= (_ACTS_WITH_CALL if exchange.call else _ACTS_WITHOUT_CALL):
        return ""
    parts = _after_call(exchange) if exchange.call else _without_call(exchange)
    return " ".join(
        _wording(wordings, plain, key, number).format(**names)
        for number, (wordings, names) in enumerate(parts)
    )


def _wording(wordings: tuple[str, ...], plain: bool, *parts: object) -> str:
    return _PLAIN[wordings] if plain else pick(wordings, *parts)


def _after_call(exchange: Exchange) -> Iterator[_Part]:
    acts = exchange.acts()
    names = {"function": _function(exchange), "facts": _facts(_offered(exchange, "OFFER"))}
    if "NOTIFY_FAILURE" in acts:
        yield _failure(exchange, names)
    elif "NOTIFY_SUCCESS" in acts:
        yield _SUCCESS, names
    if "OFFER" in acts and "NOTIFY_FAILURE" not in acts:
        yield _findings(exchange, names)
    if "INFORM" in acts:
        answer = {"facts": _facts(_offered(exchange, "INFORM")), "function": names["function"]}
        yield (
            (_ALSO if {"OFFER", "NOTIFY_SUCCESS", "NOTIFY_FAILURE"} & set(acts) else _FOUND),
            answer,
        )


def _findings(exchange: Exchange, names: dict[str, str]) -> _Part:
    counts = exchange.values("INFORM_COUNT").get("count")
    if not counts:
        return _FOUND, names
    return (_FOUND_ONE if counts[0] == "1" else _FOUND_MANY), {**names, "count": counts[0]}


def _failure(exchange: Exchange, names: dict[str, str]) -> _Part:
    if not exchange.rows:
        return _NOTHING, names
    others = differences(exchange.parameters, exchange.rows[0])
    facts = {**names, "facts": _facts({slot: [value] for slot, value in others.items()})}
    if not others:
        return _FAILED, names
    return (_OTHERWISE if "OFFER" in exchange.acts() else _FAILED_OTHERWISE), facts


def _without_call(exchange: Exchange) -> Iterator[_Part]:
    acts = exchange.acts()
    function = _function(exchange)
    if "REQUEST" in acts:
        yield _request(exchange)
    if "CONFIRM" in acts:
        details = exchange.details()
        facts = _facts({slot: [value] for slot, value in details.items()})
        yield (
            _CONFIRM,
            {"function": function, "facts": facts, "state": _state(exchange, details)},
        )
    if "INFORM" in acts:
        said = _offered(exchange, "INFORM")
        seen = any(row.get(slot) in said[slot] for slot in said for row in exchange.earlier)
        answer = {"facts": _facts(said), "topic": _topic(exchange, said)}
        yield (_ANSWER if seen else _ANSWER_SAID), answer
    if "OFFER" in acts:
        yield _NEXT, _following(exchange)
    if "OFFER_INTENT" in acts:
        intents = exchange.values("OFFER_INTENT").get("intent", [])
        names = [exchange.functions.get(name, name) for name in intents]
        yield _SUGGEST, {"function": _joined(names)}
    if "GOODBYE" in acts:
        yield _GOODBYE, {}
    elif "REQ_MORE" in acts:
        yield _MORE, {}


def _topic(exchange: Exchange, said: Mapping[str, Sequence[JsonValue]]) -> str:
    """Which of the results is asked about: the one that was offered last."""
    if not exchange.offered:
        return "for"
    slot, values = next(iter(exchange.offered.items()))
    held = (row for row in exchange.earlier if row.get(slot) in values)
    known = any(row.get(name) in said[name] for row in held for name in said)
    return f"about {_facts({slot: list(values)})}" if known else "for"


def _following(exchange: Exchange) -> dict[str, str]:
    """Another result, and where it stands: after which one."""
    offered = exchange.values("OFFER")
    place = "Another result"
    for before, row in pairwise(exchange.earlier):
        if all(row.get(slot) in values for slot, values in offered.items()):
            others = {s: [before[s]] for s in offered if s in before and before[s] != row[s]}
            place = f"After {_facts(others)}" if others else place
    return {"facts": _facts(_offered(exchange, "OFFER")), "place": place}


def _request(exchange: Exchange) -> _Part:
    asked = list(exchange.values("REQUEST"))
    known = exchange.known()
    names = {
        "function": _function(exchange),
        "slots": _joined(asked),
        "state": _state(exchange, known),
    }
    if not known:
        return _ASK, names
    return _ASK_MORE, {**names, "facts": _facts({slot: [value] for slot, value in known.items()})}


def _function(exchange: Exchange) -> str:
    return exchange.function.name if exchange.function else "the function"


def _offered(exchange: Exchange, act: str) -> dict[str, Sequence[JsonValue]]:
    return {slot: list(values) for slot, values in exchange.values(act).items()}


def _argument(exchange: Exchange, slot: str) -> str:
    """`date "2019-03-08" (said as "next Friday")`, the form only where it is another one."""
    value = exchange.call.arguments[slot] if exchange.call else None
    fact = f"{slot} {write_value(value)}"
    words = exchange.words(slot)
    return f"{fact} (said as {write_value(words)})" if words else fact


def _state(exchange: Exchange, values: Mapping[str, JsonValue]) -> str:
    """`city: missing, time: "8 pm" = "20:00"`: the arguments as said, and as the call has them."""
    if exchange.function is None:
        return ""
    facts: list[str] = []
    for slot in exchange.function.properties:
        if slot in values:
            said, value = exchange.said_of(slot, values[slot]), values[slot]
            forms = [said] if said == value else [said, value]
            facts.append(f"{slot}: {' = '.join(map(write_value, forms))}")
        elif slot in exchange.function.required:
            facts.append(f"{slot}: missing")
    return ", ".join(facts)


def _facts(values: Mapping[str, Sequence[JsonValue]]) -> str:
    """`city "San Jose", party_size 2 and date "2019-03-08"`."""
    return _joined([f"{slot} {_joined(list(map(write_value, v)))}" for slot, v in values.items()])


def _joined(items: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
