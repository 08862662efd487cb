"""Runs side by side as one HTML page: the tables of the report, and every sample to browse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from coalm.evals.bars import Cluster, draw_bars
from coalm.evals.base import Sample, SampleResult
from coalm.evals.compare import Change, Comparison, compare
from coalm.evals.tables import (
    NOTE,
    figure_rows,
    part_rows,
    published_rows,
    run_rows,
    sources,
    verdict_rows,
)
from coalm.page import Part, Record, escape, link, render_page, section, table
from coalm.types import Conversation, Message

_LONG = 3000
"""Characters from which on a prompt is folded away at first."""
_APART = ("decoded",)
"""Keys of a score's metadata that have a place of their own."""

_Changes = Mapping[str, Change | None]


def report_page(of: Comparison, samples: Sequence[Sample]) -> str:
    """The page.

    Args:
        of: Runs of one task; the first one is what the others are compared with.
        samples: All samples of the task; those without a row are left out.
    """
    first, *others = of.runs
    changes = {
        group: {run.name: compare(of.task, first, run, group) for run in others}
        for group in of.groups
    }
    body = [*_opening(of), *(_group(of, group, changes[group]) for group in of.groups)]
    meanings = (f"<dt>{escape(n)}</dt><dd>{escape(m)}</dd>" for n, m in of.task.figures.items())
    about = [f"<p>{escape(text)}</p>" for text in (NOTE, *sources(first.info))]
    body.append(section("Reading the figures", "<dl>", *meanings, "</dl>", *about, name="figures"))
    return render_page(f"coalm report: {of.task.name}", body, [*_records(of, samples)])


def _opening(of: Comparison) -> Iterator[str]:
    places = [*((group, of.task.groups[group]) for group in of.groups)]
    places += [("figures", "Reading the figures"), ("browser", "Samples")]
    items = "".join(f'<li><a href="#{escape(n)}">{escape(t)}</a></li>' for n, t in places)
    yield f'<nav aria-label="Contents"><ul>{items}</ul></nav>'
    yield section("Runs", table(run_rows(of.runs), "What was run"), name="runs")


def _group(of: Comparison, group: str, changes: _Changes) -> str:
    names = [run.name for run in of.runs]
    clusters = [
        Cluster(figure, bars)
        for figure in of.task.main_figures
        if any(bars := [of.figure(run, group, figure) for run in of.runs])
    ]
    title = of.task.groups[group]
    key = "; ".join(f"{number}: {name}" for number, name in enumerate(names, 1))
    body = [
        f"<figure>{draw_bars(title, names, clusters)}"
        f"<figcaption>Percent, with 95 % intervals. {escape(key)}.</figcaption></figure>",
        table(figure_rows(of, group, changes), "All figures"),
    ]
    if published := published_rows(of, group):
        source, rows = published
        body += [table(rows, f"Beside published figures ({source.source})")]
        body += [f"<p>{escape(source.note)}</p>"]
    body.append(table(verdict_rows(of.runs, group), "Verdicts: how often each kind of result"))
    if rows := part_rows(of.runs, group):
        body.append(table(rows, "Parts of the right answer that were missed most often"))
    for name, change in changes.items():
        if change:
            body += _changed(f"{name} against {names[0]}", change)
    return section(title, *body, name=group)


def _changed(title: str, change: Change) -> Iterator[str]:
    for word, ids in (("better", change.better), ("worse", change.worse)):
        yield f"<details><summary>{escape(title)}: {word} in {len(ids)} of {change.samples} samples"
        yield f"</summary><p>{', '.join(map(link, ids)) or 'none'}</p></details>"


# samples


def _records(of: Comparison, samples: Sequence[Sample]) -> Iterator[Record]:
    rows = [{row.id: row for row in run.rows} for run in of.runs]
    for sample in samples:
        found = [by_id.get(sample.id) for by_id in rows]
        if any(found):
            yield _record(of, sample, found)


def _record(of: Comparison, sample: Sample, rows: Sequence[SampleResult | None]) -> Record:
    tags: dict[str, list[str]] = {"part": [*sample.groups]}
    asked = [*_messages(sample.conversation, {})]
    size = sum(len(text) for _, text in asked)
    parts = [Part("asked", asked, open=size < _LONG)]
    verdicts: list[str] = []
    for run, row in zip(of.runs, rows, strict=True):
        title = f"{run.name}: " if len(of.runs) > 1 else ""
        verdict = "not there" if row is None else _verdict(row)
        verdicts.append(verdict)
        tags[f"{title}verdict"] = [verdict]
        if row is not None:
            parts += _row_parts(title, sample, row)
    parts.append(Part("right answer", _as_text(sample.target)))
    if len(of.runs) > 1:
        tags["compared"] = [*_compared(of, rows)]
    return Record(sample.id, tags, parts, note=" / ".join(verdicts))


def _verdict(row: SampleResult) -> str:
    if row.too_long:
        return "too long for the model"
    return row.score.verdict if row.score else "not scored"


def _compared(of: Comparison, rows: Sequence[SampleResult | None]) -> Iterator[str]:
    """Against the first run: better, worse, or the same; the run named."""
    value = of.task.main_value
    first, *others = rows
    for run, row in zip(of.runs[1:], others, strict=True):
        if first and first.score and row and row.score:
            gain = row.score.values[value] - first.score.values[value]
            word = "better" if gain > 0 else "worse" if gain < 0 else "the same"
            yield f"{run.name} is {word}"


def _row_parts(title: str, sample: Sample, row: SampleResult) -> Iterator[Part]:
    metadata = row.score.metadata if row.score else {}
    if row.conversation is not None:
        asked = sample.conversation.messages
        goes_on = row.conversation.messages[: len(asked)] == asked
        said = row.conversation.messages[len(asked) :] if goes_on else row.conversation.messages
        if len(said) > 1:
            whole = row.conversation.model_copy(update={"messages": said})
            yield Part(f"{title}dialogue", [*_messages(whole, metadata)])
    reasons = [*row.finish_reasons, *["on file"] * (len(row.raw) - len(row.finish_reasons))]
    raw = [
        (f"reply {number}, ended by {reason}", text)
        for number, (reason, text) in enumerate(zip(reasons, row.raw, strict=True), 1)
    ]
    yield Part(f"{title}raw text", raw, open=len(raw) == 1)
    for key in _APART:
        if metadata.get(key) is not None:
            yield Part(f"{title}{key}", _as_text(metadata[key]))
    yield Part(f"{title}verdict", [*_judgement(row)])


def _judgement(row: SampleResult) -> Iterator[tuple[str, str]]:
    yield ("verdict", _verdict(row))
    if row.error:
        yield ("error", row.error)
    if row.score:
        if row.score.explanation:
            yield ("because", row.score.explanation)
        if row.score.parts:
            given = (f"{part}: {'given' if r else 'missed'}" for part, r in row.score.parts.items())
            yield ("parts", "\n".join(given))
        rest = {k: v for k, v in row.score.metadata.items() if k not in _APART and v}
        if rest:
            yield ("more", _as_text(rest))
        yield ("values", _as_text({**row.score.values}))
    cost = f"{row.seconds:.1f} s, {row.prompt_tokens} + {row.completion_tokens} tokens"
    yield ("cost", cost)


def _messages(
    conversation: Conversation, metadata: Mapping[str, JsonValue]
) -> Iterator[tuple[str, str]]:
    """Who said what. Lists in the metadata with an item per user turn are told with their turn."""
    turns = sum(message.role == "user" for message in conversation.messages)
    per_turn = {
        key: value
        for key, value in metadata.items()
        if isinstance(value, list) and len(value) == turns > 1 and key not in _APART
    }
    turn = -1
    for message in conversation.messages:
        if message.role == "user":
            if turn >= 0:
                yield from ((key, _as_text(value[turn])) for key, value in per_turn.items())
            turn += 1
        yield from _said(message)
    if turn >= 0:
        yield from ((key, _as_text(value[turn])) for key, value in per_turn.items())


def _said(message: Message) -> Iterator[tuple[str, str]]:
    who = f"tool {message.name}" if message.name else message.role
    if message.thought is not None:
        yield (f"{who}, thought", message.thought)
    for call in message.tool_calls:
        if call.error is None:
            yield (f"{who}, call", f"{call.name}({_as_text(call.arguments)})")
        else:
            yield (f"{who}, call that cannot be read: {call.error}", call.raw or "")
    if message.content or not (message.tool_calls or message.thought):
        yield (who, message.content)


def _as_text(value: JsonValue | Mapping[str, JsonValue] | Mapping[str, float]) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2)
