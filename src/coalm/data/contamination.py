"""Does training data hold what a benchmark tests? Shared word sequences, and equal calls.

Every text of the test side becomes its sequences of 13 words (`coalm.data.spoken.plain` says what
a word is); a text of 8 to 12 words is one sequence, and counts when a whole message equals it. The
training side is read once, message by message, and only the sequences of the test side are held in
memory. A call of a sample counts when the test has it: the same function, and for every argument a
value that the test accepts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, JsonValue

from coalm.data.spoken import plain
from coalm.formats.text import write_json
from coalm.types import Conversation, Message, ToolCall

WORDS = 13
"""Length of a sequence, as in the common checks of training data against benchmarks."""
FEWEST = 8
"""Words of the shortest text that is looked for; shorter ones ("thank you") are nobody's."""
Kind = Literal["words", "message", "call"]
"""13 words in a row; a whole message of 8 to 12 words; a call with all its arguments."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_EXAMPLES = 20


class ExpectedCall(NamedTuple):
    """A call that a test expects."""

    id: str
    """Of the test item."""
    name: str
    accepted: Mapping[str, Sequence[JsonValue]]
    """Argument to the values that count as right."""
    optional: frozenset[str] = frozenset()
    """Arguments that may be left out."""


class Benchmark(NamedTuple):
    """The inputs and the expected calls of one benchmark."""

    name: str
    texts: Iterable[tuple[str, str]]
    """(item, text): what a model reads that is the test's own, not tool lists or instructions."""
    calls: Iterable[ExpectedCall]


class Shared(BaseModel):
    """One training sample and the test item that it has something in common with."""

    model_config = ConfigDict(frozen=True)

    sample: str
    item: str
    what: str
    """The words, or the call."""


class Found(BaseModel):
    """What was found of one kind."""

    model_config = ConfigDict(frozen=True)

    samples: int
    """Samples that share something with the test."""
    items: int
    """Test items that share something with a sample."""
    examples: list[Shared]
    """The first such samples."""


class Overlap(BaseModel):
    """What one source shares with one benchmark."""

    model_config = ConfigDict(frozen=True)

    source: str
    test: str
    samples: int
    """Samples of the source that were read."""
    items: int
    """Items of the test with a text of enough words, or a call."""
    found: dict[Kind, Found]
    functions: list[str]
    """Names of functions that samples call and the test expects."""


class _Place(NamedTuple):
    """Where something of the tests comes from."""

    test: int
    item: str


class _Hit(NamedTuple):
    """Something that a text or a call shares with a place."""

    kind: Kind
    place: _Place


@dataclass
class _Tally:
    """What one source shares with one test in one way so far."""

    samples: int = 0
    items: set[str] = field(default_factory=set)
    examples: list[Shared] = field(default_factory=list)


class Index:
    """The word sequences and calls of some benchmarks, to be looked up."""

    def __init__(self, tests: Sequence[Benchmark]) -> None:
        self.names = [test.name for test in tests]
        self.items: list[set[str]] = [set() for _ in tests]
        """Items of each test that have something to be found."""
        self._sequences: dict[str, set[_Place]] = defaultdict(set)
        self._short: dict[str, set[_Place]] = defaultdict(set)
        self._calls: dict[str, list[tuple[int, ExpectedCall]]] = defaultdict(list)
        for number, test in enumerate(tests):
            for item, text in test.texts:
                self._add_text(_Place(number, item), plain(text).split())
            for call in test.calls:
                self.items[number].add(call.id)
                self._calls[call.name].append((number, call))

    def _add_text(self, place: _Place, words: Sequence[str]) -> None:
        if len(words) < FEWEST:
            return
        self.items[place.test].add(place.item)
        if len(words) < WORDS:
            self._short[" ".join(words)].add(place)
        for sequence in _sequences(words):
            self._sequences[sequence].add(place)

    def find_text(self, text: str) -> dict[_Hit, str]:
        """What of the tests a text holds, with the first words that it shares with each place."""
        words = plain(text).split()
        found: dict[_Hit, str] = {}
        if FEWEST <= len(words) < WORDS:
            whole = " ".join(words)
            return {_Hit("message", place): whole for place in self._short.get(whole, ())}
        for sequence in _sequences(words):
            for place in self._sequences.get(sequence, ()):
                found.setdefault(_Hit("words", place), sequence)
        return found

    def find_call(self, call: ToolCall) -> set[_Hit]:
        """The places that expect this very call."""
        return {
            _Hit("call", _Place(number, expected.id))
            for number, expected in self._calls.get(call.name, ())
            if _is_accepted(call, expected)
        }

    def tests_with(self, function: str) -> set[int]:
        """Tests that expect a call of this function."""
        return {number for number, _ in self._calls.get(function, ())}


def _sequences(words: Sequence[str]) -> Iterator[str]:
    for start in range(len(words) - WORDS + 1):
        yield " ".join(words[start : start + WORDS])


def _is_accepted(call: ToolCall, expected: ExpectedCall) -> bool:
    missing = expected.accepted.keys() - call.arguments.keys()
    return missing <= expected.optional and all(
        name in expected.accepted and _normal(value) in map(_normal, expected.accepted[name])
        for name, value in call.arguments.items()
    )


def _normal(value: JsonValue) -> str:
    """Values are compared as text: "2" is 2, "Oslo" is "oslo"."""
    return (value if isinstance(value, str) else write_json(value)).strip().casefold()


def overlaps(samples: Iterable[Conversation], tests: Sequence[Benchmark]) -> list[Overlap]:
    """What training samples share with benchmarks, by source and test.

    Args:
        samples: any order; their `meta` names the source.
        tests: what to look for.
    """
    index = Index(tests)
    seen = _Seen(index)
    counts: Counter[str] = Counter()
    functions: dict[tuple[str, int], set[str]] = defaultdict(set)
    tallies: dict[tuple[str, int, Kind], _Tally] = defaultdict(_Tally)
    for sample in samples:
        source = str(sample.meta.get("source", ""))
        counts[source] += 1
        hits = _text_hits(sample, seen)
        for message in sample.messages:
            for call in message.tool_calls:
                what = f"{call.name} {write_json(call.arguments)}"
                hits.update(dict.fromkeys(index.find_call(call), what))
                for number in index.tests_with(call.name):
                    functions[source, number].add(call.name)
        _count(sample.id, hits, lambda test, kind, source=source: tallies[source, test, kind])
    return [
        Overlap(
            source=source,
            test=name,
            samples=counts[source],
            items=len(index.items[number]),
            found={kind: _found(tallies[source, number, kind]) for kind in KINDS},
            functions=sorted(functions[source, number]),
        )
        for source in sorted(counts)
        for number, name in enumerate(index.names)
    ]


class _Seen:
    """Looks up every message once: the samples of a dialogue share their history."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._clean: set[int] = set()
        self._found: dict[int, dict[_Hit, str]] = {}

    def find(self, message: Message) -> Mapping[_Hit, str]:
        """See `Index.find_text`."""
        key = hash(message.content)
        if key in self._clean:
            return {}
        if key not in self._found:
            found = self._index.find_text(message.content)
            if not found:
                self._clean.add(key)
                return {}
            self._found[key] = found
        return self._found[key]


def _text_hits(sample: Conversation, seen: _Seen) -> dict[_Hit, str]:
    hits: dict[_Hit, str] = {}
    for message in sample.messages:
        if message.role != "system":
            hits = {**seen.find(message), **hits}
    return hits


def _count(sample: str, hits: Mapping[_Hit, str], tally_of: Callable[[int, Kind], _Tally]) -> None:
    """Add one sample to the tallies of the tests and kinds that it shares something with."""
    places: dict[tuple[int, Kind], list[_Hit]] = defaultdict(list)
    for hit in hits:
        places[hit.place.test, hit.kind].append(hit)
    for (test, kind), shared in places.items():
        tally = tally_of(test, kind)
        tally.samples += 1
        tally.items.update(hit.place.item for hit in shared)
        if len(tally.examples) < _EXAMPLES:
            first = min(shared)
            tally.examples.append(Shared(sample=sample, item=first.place.item, what=hits[first]))


def _found(tally: _Tally) -> Found:
    return Found(samples=tally.samples, items=len(tally.items), examples=tally.examples)
