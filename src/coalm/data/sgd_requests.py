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
from coalm.data.offers import NOTHING_FITS
from coalm.data.sgd import DialogueSource, SgdDialogues, today
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


class _Request(NamedTuple):
    """A wish with its values, as text, and the words that stand for them, empty without any."""

    place: str
    group: str
    text: str
    key: Key
    values: Mapping[str, str]
    words: Mapping[str, str]

    def said(self, call: ToolCall) -> list[Said]:
        """What the user has said for the values of its call."""
        arguments = call.arguments.items()
        return [Said(slot, str(value), self.words[slot]) for slot, value in arguments]

    @property
    def dated(self) -> bool:
        """Whether it has a date, which may rest on the day on which it is said."""
        return any(map(_DATE.fullmatch, self.values.values()))


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
            yield self._calling(self._offer(request.key.service, request.place), (request, call))

    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]:
        group = self._group(dialogue)
        for number, turn in enumerate(dialogue.turns):
            place = f"{self._place(dialogue, number)}/request"
            acts = {action.act for frame in turn.frames for action in frame.actions}
            if turn.speaker == "SYSTEM":
                continue
            if (request := self._request(turn, place, group)) is not None:
                yield from self._answered(request)
            elif acts and acts <= _FAREWELL and self._is_drawn("farewell", place, _CLOSING):
                offer = self._offer(dialogue.services[0], place)
                yield self._refusing(offer, place, group, turn.utterance.strip())

    def _request(self, turn: Turn, place: str, group: str) -> _Request | None:
        """The wish that a turn comes with; None unless it is one, with all values for it."""
        found = [
            frame
            for frame in turn.frames
            if any(action.act == "INFORM_INTENT" for action in frame.actions)
        ]
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
            slot: next((form for form in said[slot].values if form.lower() in heard), "")
            for slot in values
        }
        key = Key(frame.service, intent.name)
        return _Request(place, group, turn.utterance.strip(), key, values, words)

    def _answered(self, request: _Request) -> Iterator[Conversation]:
        """The request's sample, and that of a waiting one; none where it now waits itself."""
        if self._is_drawn("no call", request.place):
            offer = self._stranger(request)
            yield self._refusing(offer, request.place, request.group, request.text, request.dated)
            return
        offer = self._offer(request.key.service, request.place)
        try:
            call = _call(offer.functions[request.key], request.values)
        except (DataError, ToolError) as e:
            self.ledger.reject(request.place, "call that cannot be written", str(e))
            return
        waiting = self._waiting.pop(offer.name, None)
        if waiting and waiting[1] != call:
            yield self._calling(offer, waiting, (request, call))
        elif chance(self._seed, "pair", request.place) < self._config.paired and not waiting:
            self._waiting[offer.name] = request, call
        else:
            yield from (self._calling(offer, one) for one in (waiting, (request, call)) if one)

    def _calling(self, offer: _Offer, *asked: tuple[_Request, ToolCall]) -> Conversation:
        """One or two requests in one message, then their calls."""
        self.ledger.counts["requests" if len(asked) == 1 else "pairs of requests"] += 1
        first = asked[0][0]
        answer = Message(role="assistant", tool_calls=tuple(call for _, call in asked))
        said = [item for request, call in asked for item in request.said(call)]
        text = " ".join(request.text for request, _ in asked)
        dated = any(request.dated for request, _ in asked)
        return self._sample(offer, first.place, first.group, text, answer, said, dated=dated)

    def _refusing(
        self, offer: _Offer, place: str, group: str, text: str, dated: bool = False
    ) -> Conversation:
        """A message that no function of the offer fits."""
        self.ledger.counts["requests without a call"] += 1
        content = "" if offer.prompt_format == "json_calls" else NOTHING_FITS
        answer = Message(role="assistant", content=content)
        return self._sample(offer, place, group, text, answer, (), dated=dated)

    def _sample(
        self,
        offer: _Offer,
        place: str,
        group: str,
        text: str,
        answer: Message,
        said: Sequence[Said],
        *,
        dated: bool,
    ) -> Conversation:
        return sample(
            place,
            [*([today()] if dated else []), Message(role="user", content=text), answer],
            tuple(told.schema for told in offer.functions.values()),
            source=self.name,
            skill="LA",
            prompt_format=offer.prompt_format,
            group=group,
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
            told = tell if self._config.value_formats else untold
            functions = {key: told(tool, self._seed, name) for key, tool in offered.items()}
            prompt_format = pick(self._config.formats, self._seed, name, "format")
            self._offers[service, number] = _Offer(name, functions, prompt_format)
        return self._offers[service, number]

    def _stranger(self, request: _Request) -> _Offer:
        """An offer of another service that has no function for the request's job."""
        job = family(request.key.service)
        for service in shuffled(self._services, self._seed, "stranger", request.place):
            offer = self._offer(service, request.place)
            if all(family(key.service) != job for key in offer.functions):
                return offer
        raise DataError(
            f"sgd_requests: every offer has a function for {job}, so none is without; set `tools` "
            "to fewer others, or `no_call` to 0"
        )


def _call(function: Told, values: Mapping[str, str]) -> ToolCall:
    arguments = check_arguments(function.schema, dict(values))
    written = {name: function.written(name, value) for name, value in arguments.items()}
    return ToolCall(name=function.schema.name, arguments=written)
