"""Schema-Guided Dialogue as training samples: ReAct turns, and function calls in JSON.

ReAct (`sgd`, skill CRA): an exchange with a call gives two samples, one that ends in the call and
one that ends in the reply to its result; an exchange without a call gives one. The history keeps
all thoughts, calls and observations, because later replies rest on them::

    [.., user, assistant(thought, call)]
    [.., user, assistant(thought, call), tool, assistant(thought, reply)]

With `samples: two_a_turn` every exchange gives two: thought and act (`call`, `decision`), then the
reply (`reply`) to a prompt that ends in its thought::

    [.., user, assistant(thought, reply)]
    [.., user, assistant(thought), assistant(reply)]

Function calls (`sgd_calls`, skill LA): the dialogue so far as plain words, then the call; some
turns in which plainly nothing can be called end in an empty list.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from coalm.data import thoughts
from coalm.data.base import Ledger, Said, Shard, chance, sample
from coalm.data.config import OfferConfig, SgdCallsConfig, SgdConfig, SgdFilesConfig
from coalm.data.files import Copy
from coalm.data.sgd_exchanges import Exchange, Fault, read_exchanges
from coalm.data.sgd_functions import Catalogue, Offer
from coalm.data.sgd_records import Dialogue, Service, SgdFiles
from coalm.data.sgd_variants import VARIANTS, Renaming
from coalm.types import Conversation, Message, ToolCall, ToolSchema

TODAY = datetime.date(2019, 3, 1)
"""The day on which all SGD dialogues take place; "tomorrow" is 2019-03-02."""


class Dialogues(Protocol):
    """Where dialogues in SGD's layout come from: its files, or the mini world."""

    ledger: Ledger
    services: Mapping[str, Service]
    place: str
    """Opens the name of every dialogue's group: `sgd/train`."""
    schemas: Mapping[str, ToolSchema]
    """Of functions that need not be made out of the services, by name."""
    variant: str
    """Opens, after the dialogue, the names of its samples; empty but for a paraphrase."""

    def shards(self) -> Iterator[Shard]:
        """See `ShardedSource.shards`."""
        ...

    def read_shard(self, shard: Shard) -> Iterator[Dialogue]:
        """The dialogues of one of them."""
        ...


class SgdDialogues:
    """The dialogues of a copy of SGD, with the names that the configuration asks for."""

    def __init__(self, copy: Copy, config: SgdFilesConfig) -> None:
        self.ledger = Ledger()
        self._one_service = config.services == "one"
        self._files = SgdFiles(copy, config.split, self.ledger)
        self.place = f"sgd/{config.split}"
        self.services = self._files.services
        self.schemas: Mapping[str, ToolSchema] = {}
        self.variant, self._renaming = "", None
        if config.schema_variant != "original":
            self.variant = f"/{config.schema_variant}"
            path = f"{VARIANTS}{self.variant}/{config.split}/schema.json"
            self.services = self._files.read_schema(path)
            self._renaming = Renaming(self._files.services, list(self.services.values()), path)

    def shards(self) -> Iterator[Shard]:
        """See `Dialogues.shards`."""
        return self._files.shards()

    def read_shard(self, shard: Shard) -> Iterator[Dialogue]:
        """See `Dialogues.read_shard`."""
        for dialogue in self._files.read_shard(shard):
            if self._one_service and len(dialogue.services) > 1:
                self.ledger.counts["dialogues of several services, passed over"] += 1
                continue
            yield dialogue if self._renaming is None else self._renaming.dialogue(dialogue)


class DialogueSource(ABC):
    """What all sources do: read dialogues, fix their functions, stop at a fault."""

    name: str
    _whole_names = False
    """Functions are named `Service_Intent`, and not only where two would share a name."""

    def __init__(self, dialogues: Dialogues, config: OfferConfig, seed: int) -> None:
        self.ledger = dialogues.ledger
        self._dialogues = dialogues
        self._services = dialogues.services
        self._catalogue = Catalogue(
            self._services,
            config.distractors,
            seed,
            dialogues.schemas,
            whole_names=self._whole_names,
        )

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`."""
        for shard in self.shards():
            yield from self.read_shard(shard)

    def shards(self) -> Iterator[Shard]:
        """See `ShardedSource.shards`."""
        return self._dialogues.shards()

    def read_shard(self, shard: Shard) -> Iterator[Conversation]:
        """See `ShardedSource.read_shard`."""
        for dialogue in self._dialogues.read_shard(shard):
            yield from self._samples(dialogue)

    @abstractmethod
    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]: ...

    def _group(self, dialogue: Dialogue) -> str:
        """One name for all sources and variants: they put a dialogue into the same split."""
        return f"{self._dialogues.place}/{dialogue.dialogue_id}"

    def _place(self, dialogue: Dialogue, turn: int) -> str:
        return f"{self._group(dialogue)}{self._dialogues.variant}/{turn:02d}"

    def _exchanges(
        self, dialogue: Dialogue, offer: Offer, result_rows: int | None
    ) -> Iterator[Exchange]:
        return read_exchanges(dialogue, self._services, offer, result_rows)


class _Notes(NamedTuple):
    """What is known of a dialogue's messages beside their texts."""

    said: list[Said]
    slips: list[int]
    """Numbers of those that are mistakes."""


class ReactSource(DialogueSource):
    """Dialogues as ReAct turns."""

    _result_rows: int | None = None
    _two_a_turn = False
    _plain = False
    """Thoughts have one wording each."""

    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]:
        offer = self._catalogue.offer(dialogue.services, dialogue.dialogue_id)
        history = [today()]
        notes = _Notes([], [])
        for exchange in self._exchanges(dialogue, offer, self._result_rows):
            key = f"{dialogue.dialogue_id}/{exchange.turn}"
            fault = exchange.fault
            history.append(Message(role="user", content=exchange.user))
            if exchange.slip and not fault:
                slip = self._slip(exchange, key)
                notes.slips.extend(range(len(history), len(history) + len(slip)))
                history += slip
                continue
            notes.said.extend(item for item in exchange.said() if item not in notes.said)
            if exchange.call and not (fault and fault.part == "call"):
                self.ledger.counts["calls"] += 1
                call = self._calling(exchange, exchange.call, key)
                yield self._sample(dialogue, exchange.turn, "call", [*history, call], offer, notes)
                history += [call, exchange.observation]
            whole = self._replying(exchange, key)
            if not whole.thought:
                fault = fault or Fault("reply", "turn without a thought", str(exchange.acts()))
            if fault:
                self._reject(dialogue, exchange, fault)
                return
            self.ledger.counts["replies"] += 1
            if self._two_a_turn and not exchange.call:
                self.ledger.counts["decisions"] += 1
                part = [*history, whole]
                yield self._sample(dialogue, exchange.turn, "decision", part, offer, notes)
            history += _halves(whole) if self._two_a_turn else (whole,)
            yield self._sample(dialogue, exchange.turn, "reply", history, offer, notes)

    def _slip(self, exchange: Exchange, key: str) -> list[Message]:
        """What the assistant does by mistake."""
        reply = self._replying(exchange, key)
        if exchange.call is None:
            return [reply]
        return [self._calling(exchange, exchange.call, key), exchange.observation, reply]

    def _calling(self, exchange: Exchange, call: ToolCall, key: str) -> Message:
        thought = thoughts.before_call(exchange, key, plain=self._plain)
        return Message(role="assistant", thought=thought, tool_calls=(call,))

    def _replying(self, exchange: Exchange, key: str) -> Message:
        thought = thoughts.before_reply(exchange, key, plain=self._plain)
        return Message(role="assistant", thought=thought, content=exchange.reply)

    def _sample(
        self,
        dialogue: Dialogue,
        turn: int,
        part: str,
        messages: list[Message],
        offer: Offer,
        notes: _Notes,
    ) -> Conversation:
        return sample(
            self._id(dialogue, turn, part),
            messages,
            offer.tools,
            source=self.name,
            skill="CRA",
            prompt_format="react",
            group=self._group(dialogue),
            said=notes.said,
            slips=notes.slips,
        )

    def _id(self, dialogue: Dialogue, turn: int, part: str) -> str:
        return f"{self._place(dialogue, turn)}/{part}"

    def _parts(self, calls: bool) -> tuple[str, ...]:
        """The samples of one turn."""
        if calls:
            return ("call", "reply")
        return ("decision", "reply") if self._two_a_turn else ("reply",)

    def _reject(self, dialogue: Dialogue, exchange: Exchange, fault: Fault) -> None:
        """Name the false sample and every later one of the dialogue."""
        first = self._parts(exchange.call is not None)
        parts = first[1:] if exchange.call and fault.part == "reply" else first
        ids = [self._id(dialogue, exchange.turn, part) for part in parts]
        for turn in range(exchange.turn + 2, len(dialogue.turns), 2):
            frame = dialogue.turns[turn].frames[0]
            if frame.slip:
                continue
            calls = frame.service_call is not None
            ids += [self._id(dialogue, turn, part) for part in self._parts(calls)]
        self.ledger.reject(ids[0], fault.reason, fault.detail)
        for later in ids[1:]:
            self.ledger.reject(later, "follows a turn that was dropped", ids[0])


class SgdSource(ReactSource):
    """SGD as ReAct turns."""

    name = "sgd"

    def __init__(self, copy: Copy, config: SgdConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses the distractors."""
        super().__init__(SgdDialogues(copy, config), config, seed)
        self._result_rows = config.result_rows
        self._two_a_turn = config.samples == "two_a_turn"
        self._plain = config.thoughts == "plain"


class SgdCallsSource(DialogueSource):
    """SGD's calls as function calls in JSON."""

    name = "sgd_calls"

    def __init__(self, copy: Copy, config: SgdCallsConfig, seed: int) -> None:
        """Read `copy`; `seed` chooses the distractors and the turns without a call."""
        super().__init__(SgdDialogues(copy, config), config, seed)
        self._no_call = config.no_call
        self._seed = seed

    def _samples(self, dialogue: Dialogue) -> Iterator[Conversation]:
        offer = self._catalogue.offer(dialogue.services, dialogue.dialogue_id)
        history = [today()]
        group = self._group(dialogue)
        for exchange in self._exchanges(dialogue, offer, None):
            history.append(Message(role="user", content=exchange.user))
            sample_id = f"{self._place(dialogue, exchange.turn)}/json"
            fault = exchange.fault
            if fault and fault.part == "call":
                self.ledger.reject(sample_id, fault.reason, fault.detail)
            elif exchange.call or self._is_empty_call(exchange, sample_id):
                self.ledger.counts["calls" if exchange.call else "turns without a call"] += 1
                calls = (exchange.call,) if exchange.call else ()
                yield sample(
                    sample_id,
                    [*history, Message(role="assistant", tool_calls=calls)],
                    offer.tools,
                    source=self.name,
                    skill="LA",
                    prompt_format="json_calls",
                    group=group,
                    said=exchange.said(),
                )
            if fault:
                self._reject_later(dialogue, exchange, fault)
            history.append(Message(role="assistant", content=exchange.reply))

    def _is_empty_call(self, exchange: Exchange, sample_id: str) -> bool:
        """Whether nothing can be called and the turn is drawn.

        Only turns where the plain words show it: a required value is missing, or the user is done.
        Confirmations and answers out of earlier results would look like calls that were forgotten.
        """
        plain = {"REQUEST", "REQ_MORE", "GOODBYE"} >= set(exchange.acts())
        return plain and chance(self._seed, "no call", sample_id) < self._no_call

    def _reject_later(self, dialogue: Dialogue, exchange: Exchange, fault: Fault) -> None:
        for turn in range(exchange.turn + 2, len(dialogue.turns), 2):
            if dialogue.turns[turn].frames[0].service_call:
                where = f"{self._place(dialogue, turn)}/json"
                self.ledger.reject(where, "follows a turn that was dropped", fault.reason)


def _halves(message: Message) -> tuple[Message, Message]:
    """A message as its thought and what follows from it."""
    return (
        message.model_copy(update={"content": ""}),
        message.model_copy(update={"thought": None}),
    )


def today() -> Message:
    """The system message that names the day."""
    return Message(role="system", content=f"Today is {TODAY:%A}, {TODAY}.")
