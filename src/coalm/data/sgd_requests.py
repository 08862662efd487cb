"""SGD's requests as function calls: one message that says all a function needs, then the call.

Of every dialogue those turns are taken in which the user comes with a new wish and says values, all
that its function requires among them (annotated as INFORM_INTENT and INFORM)::

    [user: "Can you find me some movies showing in San Ramon?"]
    [assistant: FindMovies(location="San Ramon")]

Functions are named `Service_Intent`. A service has a few offers, each with functions of other
services in an order of its own, and its requests share these, so that they begin alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from coalm.data.base import Said, Shard, chance, draw, pick, sample, shuffled
from coalm.data.config import SgdRequestsConfig
from coalm.data.files import Copy
from coalm.data.offers import refusal
from coalm.data.sgd import DialogueSource, SgdDialogues, today
from coalm.data.sgd_exchanges import is_said
from coalm.data.sgd_functions import ANY, Key, family
from coalm.data.sgd_records import Dialogue, Turn
from coalm.data.value_formats import Told, tell, untold
from coalm.errors import DataError, ToolError
from coalm.tools import check_arguments
from coalm.types import Conversation, Message, ToolCall

_CLOSING = 16
"""How much rarer a farewell is drawn than a request, of which there are fewer: in the train split
8,205 to 3,154."""
_FAREWELL = frozenset({"THANK_YOU", "GOODBYE"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class _Spoken(NamedTuple):
    """A message of the user, and which sample it becomes."""

    place: str
    group: str
    text: str
    dated: bool = False
    """Whether it has a date, which may rest on the day on which it is said."""


class _Request(NamedTuple):
    """A wish with its values, as text, and the words that stand for them, empty without any."""

    spoken: _Spoken
    key: Key
    values: Mapping[str, str]
    words: Mapping[str, str]

    def said(self, call: ToolCall) -> list[Said]:
        """What the user has said for the values of its call."""
        arguments = call.arguments.items()
        return [Said(slot, str(value), self.words[slot]) for slot, value in arguments]


class _Offer(NamedTuple):
    """Functions that many requests share, in an order that says nothing about the answer."""

    name: str
    functions: Mapping[Key, Told]
    prompt_format: str


class SgdRequestsSource(DialogueSource):
    """SGD's requests, alone or two together."""

    name = "sgd_requests"
    _whole_names = True

    def __init__(self, copy: Copy, config: SgdRequestsConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses offers, formats, pairs and what needs no call."""
        super().__init__(SgdDialogues(copy, config), config, seed)
        self._config = config
        self._seed = seed
        self._offers: dict[tuple[str, int], _Offer] = {}
        self._waiting: dict[str, tuple[_Request, ToolCall]] = {}
        """By offer: the request that the next one is put together with."""

    def read_shard(self, shard: Shard) -> Iterator[Conversation]:
        """See `ShardedSource.read_shard`; requests of different files are never put together."""
        self._waiting = {}
        yield from super().read_shard(shard)
        for request, call in self._waiting.values():
            offer = self._offer(request.key.service, request.spoken.place)
            yield self._calling(offer, (request, call))

    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]:
        for number, turn in enumerate(dialogue.turns):
            if turn.speaker == "SYSTEM":
                continue
            place = f"{self._place(dialogue, number)}/request"
            spoken = _Spoken(place, self._group(dialogue), turn.utterance.strip())
            if (request := self._request(turn, spoken)) is not None:
                yield from self._answered(request)
            elif _is_farewell(turn) and self._is_drawn("farewell", place, _CLOSING):
                yield self._refusing(self._offer(dialogue.services[0], place), spoken)

    def _request(self, turn: Turn, spoken: _Spoken) -> _Request | None:
        """The wish that a turn comes with; None unless it is one, with all values for it."""
        found = [frame for frame in turn.frames if "INFORM_INTENT" in frame.acts]
        if len(found) != 1 or (state := found[0].state) is None:
            return None
        frame = found[0]
        intent = self._services[frame.service].intent(state.active_intent)
        if intent is None:
            return None
        said = {a.slot: a for a in frame.actions if a.act == "INFORM" and a.canonical_values}
        values = {
            slot: said[slot].canonical_values[0]
            for slot in (*intent.required_slots, *intent.optional_slots)
            if slot in said and said[slot].canonical_values[0] != ANY
        }
        if not values or not set(intent.required_slots) <= values.keys():
            return None
        heard = turn.utterance.lower()
        words = {
            slot: next((form for form in said[slot].values if is_said(form, heard)), "")
            for slot in values
        }
        dated = any(map(_DATE.fullmatch, values.values()))
        key = Key(frame.service, intent.name)
        return _Request(spoken._replace(dated=dated), key, values, words)

    def _answered(self, request: _Request) -> Iterator[Conversation]:
        """The request's sample, and that of a waiting one; none where it now waits itself."""
        place = request.spoken.place
        if self._is_drawn("no call", place):
            yield self._refusing(self._stranger(request), request.spoken)
            return
        offer = self._offer(request.key.service, place)
        try:
            call = _call(offer.functions[request.key], request.values)
        except (DataError, ToolError) as e:
            self.ledger.reject(place, "call that cannot be written", str(e))
            return
        waiting = self._waiting.pop(offer.name, None)
        if waiting and waiting[1] != call:
            yield self._calling(offer, waiting, (request, call))
        elif chance(self._seed, "pair", place) < self._config.paired and not waiting:
            self._waiting[offer.name] = request, call
        else:
            yield from (self._calling(offer, one) for one in (waiting, (request, call)) if one)

    def _calling(self, offer: _Offer, *asked: tuple[_Request, ToolCall]) -> Conversation:
        """One or two requests in one message, then their calls."""
        self.ledger.counts["requests" if len(asked) == 1 else "pairs of requests"] += 1
        parts = [request.spoken for request, _ in asked]
        spoken = parts[0]._replace(
            text=" ".join(part.text for part in parts), dated=any(part.dated for part in parts)
        )
        answer = Message(role="assistant", tool_calls=tuple(call for _, call in asked))
        said = [item for request, call in asked for item in request.said(call)]
        return self._sample(offer, spoken, answer, said)

    def _refusing(self, offer: _Offer, spoken: _Spoken) -> Conversation:
        """A message that no function of the offer fits."""
        self.ledger.counts["requests without a call"] += 1
        return self._sample(offer, spoken, refusal(offer.prompt_format), ())

    def _sample(
        self, offer: _Offer, spoken: _Spoken, answer: Message, said: Sequence[Said]
    ) -> Conversation:
        user = Message(role="user", content=spoken.text)
        return sample(
            spoken.place,
            [today(), user, answer] if spoken.dated else [user, answer],
            tuple(told.schema for told in offer.functions.values()),
            source=self.name,
            skill="LA",
            prompt_format=offer.prompt_format,
            group=spoken.group,
            said=said,
        )

    def _is_drawn(self, what: str, place: str, rarer: int = 1) -> bool:
        return chance(self._seed, what, place) < self._config.no_call / rarer

    def _offer(self, service: str, place: str) -> _Offer:
        """One of the offers of a service."""
        number = draw(self._seed, "which offer", place) % self._config.offers
        if (service, number) not in self._offers:
            name = f"{service}/{number}"
            offered = self._catalogue.offer([service], name).by_key
            functions = {
                key: tell(tool, self._seed, name) if self._config.value_formats else untold(tool)
                for key, tool in offered.items()
            }
            prompt_format = pick(self._config.formats, self._seed, name, "format")
            self._offers[service, number] = _Offer(name, functions, prompt_format)
        return self._offers[service, number]

    def _stranger(self, request: _Request) -> _Offer:
        """An offer of another service that has no function for the request's job."""
        job = family(request.key.service)
        place = request.spoken.place
        for service in shuffled(self._services, self._seed, "stranger", place):
            offer = self._offer(service, place)
            if all(family(key.service) != job for key in offer.functions):
                return offer
        raise DataError(
            f"sgd_requests: every offer has a function for {job}, so none is without; set `tools` "
            "to fewer others, or `no_call` to 0"
        )


def _is_farewell(turn: Turn) -> bool:
    return bool(turn.acts) and turn.acts <= _FAREWELL


def _call(function: Told, values: Mapping[str, str]) -> ToolCall:
    arguments = check_arguments(function.schema, dict(values))
    written = {name: function.written(name, value) for name, value in arguments.items()}
    return ToolCall(name=function.schema.name, arguments=written)
