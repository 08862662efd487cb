"""A page to read samples of a data set: some of every kind, with what the model learns marked."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coalm import jsonl
from coalm.data.base import draw
from coalm.data.stats import data_files, render_sample, sample_of, split_of
from coalm.formats.text import write_json
from coalm.formats.tool_text import signature_list
from coalm.page import Marked, Part, Record, escape, render_page, section, table
from coalm.types import Conversation, Message, Prompt

Encode = Callable[[Prompt, str], Sequence[tuple[str, bool]]]
"""A prompt and its reply as pieces of text, each with whether it is learned."""


class _Stratum(NamedTuple):
    """Samples of one kind."""

    split: str
    source: str
    format: str
    ends: str
    """What the answer is: a call, a reply, or neither."""


class Choice(NamedTuple):
    """Some samples of a data set, as many of a kind as of any other where there are enough."""

    samples: list[tuple[str, Conversation]]
    """With the split that each is from."""
    counts: dict[_Stratum, tuple[int, int]]
    """For each kind: how many there are, and how many of them were chosen."""


def choose(path: Path, count: int, seed: int = 0) -> Choice:
    """Draw `count` samples from a built data set or a file of conversations.

    Raises:
        DataError: a file cannot be read, or a line of it is no sample.
    """
    lowest: dict[_Stratum, list[tuple[int, str, dict[str, Any]]]] = {}
    totals: dict[_Stratum, int] = {}
    for file in data_files(path):
        for number, row in jsonl.read(file):
            stratum = _stratum(split_of(file), row)
            totals[stratum] = totals.get(stratum, 0) + 1
            kept = lowest.setdefault(stratum, [])
            item = (-draw(seed, "browse", row.get("id")), f"{file}:{number}", row)
            if len(kept) < count:
                heapq.heappush(kept, item)
            elif item[0] > kept[0][0]:
                heapq.heapreplace(kept, item)
    strata = sorted(lowest)
    rounds = itertools.zip_longest(*(sorted(lowest[s], reverse=True) for s in strata))
    turns = ((s, item) for row in rounds for s, item in zip(strata, row, strict=True) if item)
    chosen = list(itertools.islice(turns, count))
    counts = {s: (totals[s], sum(s == other for other, _ in chosen)) for s in strata}
    samples = [(s.split, sample_of(row, where)) for s, (_, where, row) in chosen]
    return Choice(samples, counts)


def _stratum(split: str, row: dict[str, Any]) -> _Stratum:
    """The kind of a row, which need not be a sample yet."""
    meta, messages = row.get("meta"), row.get("messages")
    meta = meta if isinstance(meta, dict) else {}
    last = messages[-1] if isinstance(messages, list) and messages else None
    ends = "call" if isinstance(last, dict) and last.get("tool_calls") else "reply"
    return _Stratum(split, str(meta.get("source", "")), str(meta.get("format", "")), ends)


def browser_page(title: str, choice: Choice, encode: Encode, about: str) -> str:
    """The page.

    Args:
        title: what the samples are from.
        choice: what to show.
        encode: how the model sees a sample.
        about: one sentence on what is marked.

    Raises:
        FormatError: the format of a sample is unknown.
        TemplateError: a chat template cannot be used.
    """
    rows = [("split", "source", "format", "answer", "samples", "shown here")]
    rows += [(*s, f"{all_of:,}", f"{shown:,}") for s, (all_of, shown) in choice.counts.items()]
    body = [
        f"<p>{escape(about)}</p>",
        section("What there is", table(rows, "Samples by kind"), name="kinds"),
    ]
    records = [_record(split, sample, encode) for split, sample in choice.samples]
    return render_page(title, body, records)


def plain_pieces(prompt: Prompt, reply: str) -> list[tuple[str, bool]]:
    """A sample without a chat template: the words alone."""
    return [(f"{turn.content}\n", False) for turn in prompt] + [(reply, True)]


def _record(split: str, sample: Conversation, encode: Encode) -> Record:
    pieces = encode(*render_sample(sample))
    names = {name: [str(sample.meta.get(name, ""))] for name in ("source", "skill", "format")}
    ends = "call" if sample.messages[-1].tool_calls else "reply"
    learned = sum(len(text) for text, marked in pieces if marked)
    whole = sum(len(text) for text, _ in pieces)
    return Record(
        sample.id,
        {**names, "split": [split], "answer": [ends]},
        [
            Part("what the model reads and learns", Marked(pieces)),
            Part("messages", [line for message in sample.messages for line in said(message)]),
            Part("functions", signature_list(sample), open=False),
        ],
        f"{whole:,} characters, {learned:,} learned",
    )


def said(message: Message) -> Iterator[tuple[str, str]]:
    """Label and text of each thing that a message says."""
    if message.thought is not None:
        yield "thought", message.thought
    for call in message.tool_calls:
        yield "call", f"{call.name} {write_json(call.arguments)}"
    if message.role == "tool":
        yield f"result of {message.name}", message.content
    elif message.content or not (message.tool_calls or message.thought):
        yield message.role, message.content or "(no call)"
