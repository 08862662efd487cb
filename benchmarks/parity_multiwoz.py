"""MultiWOZ: do our verdicts agree with recorded ones of the standard evaluator, case by case?

`check_system` re-scores the prediction file of a system; `check_corpus` scores what can be made
from the corpus alone: trackers that know the gold states in part, the human responses, and
AutoTOD's dialogues. Both are commands of `parity.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from parity_check import SHOWN

from coalm.errors import DataError
from coalm.evals.multiwoz.autotod import (
    Answers,
    Booking,
    Exchange,
    Transcript,
    check_answers,
    check_transcript,
)
from coalm.evals.multiwoz.data import Corpus, Dialogue, State, load_corpus, read_goal
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.delex import Lexicon, Value, database_values
from coalm.evals.multiwoz.normalize import gold_text
from coalm.evals.multiwoz.predictions import Fault, PredictedTurn, read_json, read_predictions
from coalm.evals.multiwoz.release import Release
from coalm.evals.multiwoz.score import (
    DomainSource,
    Sources,
    StateSource,
    default_sources,
    score_states,
    score_success,
    score_texts,
    state_figures,
    success_figures,
)
from coalm.evals.multiwoz.state import StateScore, compare_states
from coalm.evals.multiwoz.success import Verdict

MOST_DIALOGUES = 1
"""Dialogues that may have another verdict."""
MOST_POINTS = 0.2
"""Points by which a joint goal accuracy may differ."""


_AUTOTOD = "autotod_gpt35_100.jsonl"


class Choice(NamedTuple):
    """What the user chose on the command line; None follows the verdict file."""

    data: Path | None = None
    states: StateSource | None = None
    domains: DomainSource | None = None


def check_system(predictions: Path, verdicts: Path, choice: Choice) -> int:
    """Re-score a prediction file and compare with the verdicts recorded for it.

    Args:
        predictions: Responses, states and domains by dialogue (.json or .json.gz).
        verdicts: `summary`, `dialogues` (inform and success by domain and in total), and
            `jga_per_turn` by version and dialogue ([fuzzy, exact] a turn).
        choice: Where data, states and active domains come from.

    Returns:
        1 when too much differs.
    """
    recorded = read_json(verdicts)
    if not isinstance(recorded, dict) or not isinstance(recorded.get("dialogues"), dict):
        raise DataError(f"{verdicts}: expected an object with summary and dialogues")
    summary: dict[str, Any] = dict(recorded.get("summary") or {})
    release = Release(choice.data)
    gold_version = "2.1" if "2.1" in summary.get("state_source", "") else "2.4"
    corpus = load_corpus(release, gold_version)
    read = read_predictions(predictions, corpus)
    sources = _sources(summary, choice, default_sources(read.dialogues))
    print(f"{summary.get('model', predictions.name)}: {len(read.dialogues)} dialogues; ", end="")
    print(f"states from {sources.states}, active domains from {sources.domains}")
    _print_faults(read.faults)
    ours = score_success(read.dialogues, corpus, Database.load(release), sources)
    figures = success_figures(ours)
    _print_table(summary.get("published", {}), summary.get("computed", {}), figures)
    wrong = _compare_success(recorded["dialogues"], ours)
    corpora = {gold_version: corpus}
    for version, turns in (recorded.get("jga_per_turn") or {}).items():
        if not release.has_dialogues(version):
            print(f"jga {version}: no dialogues of this version in {release.place}; left out")
            continue
        corpora[version] = corpora.get(version) or load_corpus(release, version)
        wrong += _compare_states(version, turns, score_states(read.dialogues, corpora[version]))
    for annotated in [one for one in corpora.values() if _has_spans(one)][:1]:
        _print_texts(read.dialogues, annotated, summary)
    print("parity: " + (f"{wrong} measures differ by too much" if wrong else "within the limits"))
    return 1 if wrong else 0


def _sources(summary: Mapping[str, Any], choice: Choice, default: Sources) -> Sources:
    """The user's choice, else what the summary says, else what the file has."""
    said_states, said_domains = (str(summary.get(f"{k}_source", "")) for k in ("state", "domain"))
    states = "gold" if said_states.startswith("gold") else default.states
    by_words: dict[str, DomainSource] = {
        "slot names": "placeholders",
        "active_domains": "file",
        "estimated": "states",
    }
    found = [source for words, source in by_words.items() if words in said_domains]
    return Sources(choice.states or states, choice.domains or next(iter(found), default.domains))


def _print_faults(faults: Sequence[Fault]) -> None:
    for kind, count in Counter(fault.kind for fault in faults).items():
        print(f"{kind}: {count}")
        for fault in [fault for fault in faults if fault.kind == kind][:SHOWN]:
            print(f"  {fault}")


def _print_table(
    published: Mapping[str, float], computed: Mapping[str, Any], ours: Mapping[str, float]
) -> None:
    print(f"{'':20}{'published':>10}{'recorded':>10}{'ours':>8}")
    for name, value in ours.items():
        measure, _, domain = name.partition(" ")
        known = computed.get(measure, {}).get(domain or "total")
        cells = published.get(name), known
        print(f"{name:20}" + "".join(f"{_cell(cell):>10}" for cell in cells) + f"{value:8.1f}")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _compare_success(recorded: Mapping[str, Any], ours: Mapping[str, Verdict]) -> int:
    found = {
        "inform": {name: {**v.inform, "total": v.informed} for name, v in ours.items()},
        "success": {name: {**v.success, "total": v.succeeded} for name, v in ours.items()},
    }
    return sum(
        _compare(
            measure,
            {name: row[measure] or {"total": False} for name, row in recorded.items()},
            verdicts,
        )
        for measure, verdicts in found.items()
    )


def _compare(measure: str, recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Print how many dialogues agree in everything; whether too many differ."""
    off = [name for name, verdict in recorded.items() if ours.get(name) != verdict]
    print(f"{measure}: {len(recorded) - len(off)}/{len(recorded)} dialogues agree")
    for name in off[:SHOWN]:
        print(f"  {name}: expected {recorded[name]}, found {ours.get(name)}")
    return len(off) > MOST_DIALOGUES


def _compare_states(
    version: str,
    recorded: Mapping[str, Sequence[Sequence[int]]],
    ours: Mapping[str, Sequence[StateScore]],
) -> int:
    """Print how many turns agree, and the totals; how many of the totals differ too much."""
    pairs = [
        (expected, (found.fuzzy, found.exact))
        for name, turns in recorded.items()
        for expected, found in zip(turns, ours.get(name, ()), strict=False)
    ]
    everything = state_figures(ours)
    turns = sum(map(len, recorded.values()))
    wrong = 0
    for at, measure in enumerate(("fuzzy", "exact")):
        expected, found = (100 * sum(pair[side][at] for pair in pairs) / turns for side in (0, 1))
        agree = sum(bool(one[at]) == other[at] for one, other in pairs)
        overall = everything[f"jga {measure}"]
        print(
            f"jga {version} {measure}: {agree}/{turns} turns agree; recorded {expected:.2f}, ours "
            f"{found:.2f}; {overall:.2f} of all turns, missing ones being wrong"
        )
        wrong += abs(expected - found) > MOST_POINTS or len(pairs) < turns
    shown = ("jga fair", "slot f1 fuzzy", "slot f1 fair")
    print(f"  {', '.join(f'{name} {everything[name]:.2f}' for name in shown)}")
    return wrong


def _has_spans(corpus: Corpus) -> bool:
    return any(turn.spans for dialogue in corpus.dialogues.values() for turn in dialogue.turns)


def _print_texts(dialogues: Mapping[str, Any], corpus: Corpus, summary: Mapping[str, Any]) -> None:
    texts, recorded = score_texts(dialogues, corpus), summary.get("computed", {})
    ours = {"bleu_vs_21_spans": texts.bleu, **texts.diversity._asdict()}
    names = {"mean_words": "avg_len", "words": "unigrams", "bigram_entropy": "cbe"}
    for name, value in ours.items():
        known = recorded.get(names.get(name, name))
        print(f"{name}: {value:.2f} (recorded {known if known is not None else '-'})")


def check_corpus(data: Path | None) -> int:
    """Score trackers, human responses and AutoTOD's dialogues; 1 when a figure is off."""
    release = Release(data)
    known, before = load_corpus(release, "2.4"), load_corpus(release, "2.1")
    database = Database.load(release)
    rows = [*_trackers(known, before), *_humans(known, database)]
    rows += _autotod(release, database)
    for row in rows:
        mark = "" if row.is_right else "  <- off"
        print(f"{row.name:44}{row.expected:8.2f}{row.found:8.2f}{mark}")
    return 1 if any(not row.is_right for row in rows) else 0


class Figure(NamedTuple):
    """A figure with the value that it should have."""

    name: str
    expected: float
    found: float
    tolerance: float

    @property
    def is_right(self) -> bool:
        """Whether it has the value."""
        return abs(self.expected - self.found) <= self.tolerance


Tracker = Callable[[Sequence[State], int], State]


def _trackers(known: Corpus, before: Corpus) -> Iterator[Figure]:
    """Joint goal accuracy of trackers that say part of the gold states, in their prepared form."""
    makers: dict[str, tuple[Corpus, Tracker, float, float]] = {
        "gold": (known, lambda states, at: states[at], 100.0, 0.005),
        "always empty": (known, lambda states, at: {}, 1.48, 0.005),
        "gold without dontcare": (known, lambda s, at: _but(s[at], "", "dontcare"), 80.27, 0.005),
        "gold without names": (known, lambda s, at: _but(s[at], "name", ""), 43.08, 0.005),
        "gold of the turn before": (known, lambda s, at: s[at - 1] if at else {}, 32.71, 0.005),
        "changes of the turn": (known, _changes, 15.11, 0.005),
        "gold of MultiWOZ 2.1": (before, lambda states, at: states[at], 60.23, 0.3),
    }
    for name, (source, make, expected, tolerance) in makers.items():
        right = total = 0
        for dialogue in (known.dialogues[one] for one in known.kept):
            states = [_prepared(turn.state) for turn in source.dialogues[dialogue.id].turns]
            scores = [
                compare_states(turn.state, make(states, at))
                for at, turn in enumerate(dialogue.turns)
            ]
            right, total = right + sum(score.fuzzy for score in scores), total + len(scores)
        yield Figure(f"jga fuzzy, {name}", expected, 100 * right / total, tolerance)


def _prepared(state: State) -> State:
    return {
        domain: {slot: v if v == "dontcare" else gold_text(v) for slot, v in slots.items()}
        for domain, slots in state.items()
    }


def _but(state: State, slot: str, value: str) -> State:
    """The state without a slot, or without a value."""
    kept = {
        domain: {name: said for name, said in slots.items() if name != slot and said != value}
        for domain, slots in state.items()
    }
    return {domain: slots for domain, slots in kept.items() if slots}


def _changes(states: Sequence[State], at: int) -> State:
    before = states[at - 1] if at else {}
    return {
        domain: {k: v for k, v in slots.items() if before.get(domain, {}).get(k) != v}
        for domain, slots in states[at].items()
    }


def _humans(known: Corpus, database: Database) -> Iterator[Figure]:
    """The human responses, their values replaced by placeholders, with the gold states.

    The expected figures were made with the helper's value rules.
    """
    venues = Lexicon(database_values(database))
    responses = {name: _replaced(d, venues) for name, d in known.dialogues.items()}
    verdicts = score_success(responses, known, database, Sources("gold", "states", "helper"))
    figures = success_figures(verdicts)
    yield Figure("inform, human responses", 90.6, figures["inform"], 0.5)
    yield Figure("success, human responses", 88.8, figures["success"], 0.5)


def _replaced(dialogue: Dialogue, venues: Lexicon) -> list[PredictedTurn]:
    booked = (
        Value(value, f"{domain}_{slot}")
        for turn in dialogue.turns
        for domain, bookings in turn.bookings.items()
        for booking in bookings
        for slot, value in booking.items()
        if slot in ("reference", "phone")
    )
    lexicon = Lexicon(booked, venues)
    return [PredictedTurn(lexicon.replace(turn.system), None, None) for turn in dialogue.turns]


def _autotod(release: Release, database: Database) -> Iterator[Figure]:
    """Agreement with AutoTOD's verdicts in percent, with its judge's answers and without them.

    Where it is not full, AutoTOD's tables lack `hotel` or `the` in a name, or its judge overlooked
    or invented something.
    """
    if not release.has(_AUTOTOD):
        return
    total, judged, free = Counter[str](), Counter[str](), Counter[str]()
    for line in release.file(_AUTOTOD).decode().splitlines():
        for check in _autotod_checks(json.loads(line), database):
            total[check.kind] += 1
            judged[check.kind] += check.expected == check.judged
            free[check.kind] += check.expected == check.free
    for kind, count in total.items():
        yield Figure(f"AutoTOD {kind}, its judge's answers", 100, 100 * judged[kind] / count, 5)
        yield Figure(f"AutoTOD {kind}, without a judge", 100, 100 * free[kind] / count, 25)


class AutoTodCheck(NamedTuple):
    """One verdict of AutoTOD on one domain, and ours."""

    kind: str
    expected: bool
    judged: bool | None
    free: bool | None


def _autotod_checks(row: Mapping[str, Any], database: Database) -> Iterator[AutoTodCheck]:
    goal = read_goal(row["run_result"]["goals"])
    exchanges = [Exchange(turn["user"], turn["agent"]) for turn in row["run_result"]["dialog_pred"]]
    results = row["eval_results"]
    bookings = [b for d, result in results.items() if (b := _booking(d, result["book"]))]
    outcomes = check_transcript(goal, Transcript(exchanges, bookings), database)
    for domain, result in results.items():
        if domain == "taxi":
            continue  # what the taxi tool was told is not recorded
        answers = Answers(
            result["inform"].get("venue_name") or "none",
            result["book"].get("refer_number") or "none",
            result["success"]["slot_values"] or {},
        )
        judged = check_answers(domain, goal[domain], answers, database, bookings)
        for kind in ("inform", "success", "book"):
            if (expected := result[kind]["complete"]) is not None:
                free = getattr(outcomes[domain], kind)
                yield AutoTodCheck(kind, bool(expected), getattr(judged, kind), free)


def _booking(domain: str, found: Mapping[str, Any]) -> Booking | None:
    record = found.get("book_record")
    if not isinstance(record, dict):
        return None
    if domain == "train":
        details = {"trainid": record["trainID"], "people": record["tickets"]}
    else:
        details = {slot: record[slot] for slot in record if slot not in ("id", "type")}
    return Booking(domain, record["refer_number"], details)
