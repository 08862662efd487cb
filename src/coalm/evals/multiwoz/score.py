"""All figures of a prediction file: Inform, Success, joint goal accuracy, BLEU, diversity.

Where states and active domains are taken from decides Inform and Success as much as the system
does, so it is named (`Sources`) and belongs to every result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from coalm.evals.multiwoz.data import Corpus, Dialogue
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.normalize import evaluator_value, helper_value
from coalm.evals.multiwoz.placeholders import named_domains, rewrite
from coalm.evals.multiwoz.predictions import Dialogues, PredictedTurn
from coalm.evals.multiwoz.state import SlotCounts, StateScore, compare_states
from coalm.evals.multiwoz.success import (
    JudgedTurn,
    Verdict,
    estimate_domains,
    evaluator_goal,
    evaluator_state,
    gold_state,
    judge,
)
from coalm.evals.multiwoz.text import Diversity, bleu, diversity, plain, reference

StateSource: TypeAlias = Literal["file", "gold"]
"""`file`: the system's own states; `gold`: those of the corpus, for systems without any."""
DomainSource: TypeAlias = Literal["file", "placeholders", "states"]
"""`file`: the system says what it talks about; `placeholders`: read from names such as
`[hotel_name]`; `states`: guessed from changes of the state."""


ValueSource: TypeAlias = Literal["evaluator", "helper"]
"""Whose value rules states go through: `evaluator` is mwzeval; `helper` is the CoALM lab's fork of
it, which spells every `bed and breakfast` in a state so that the database does not find it."""


_VALUE_RULES = {"evaluator": evaluator_value, "helper": helper_value}


class Sources(NamedTuple):
    """Where Inform and Success take states, active domains and values from."""

    states: StateSource
    domains: DomainSource
    values: ValueSource = "evaluator"


class TextScore(NamedTuple):
    """How the responses read."""

    bleu: float
    diversity: Diversity


def default_sources(dialogues: Dialogues) -> Sources:
    """What mwzeval would take: whatever every turn of the file has."""
    turns = [turn for dialogue in dialogues.values() for turn in dialogue]
    return Sources(
        "file" if any(turn.state is not None for turn in turns) else "gold",
        "file" if all(turn.active is not None for turn in turns) else "states",
    )


def score_success(
    dialogues: Dialogues, corpus: Corpus, database: Database, sources: Sources
) -> dict[str, Verdict]:
    """The verdict on every dialogue; bookings are known from the gold annotation."""
    return {
        name: judge(
            evaluator_goal(corpus.dialogues[name].goal),
            _judged(corpus.dialogues[name], turns, sources),
            database,
        )
        for name, turns in dialogues.items()
    }


def _judged(
    dialogue: Dialogue, turns: Sequence[PredictedTurn], sources: Sources
) -> list[JudgedTurn]:
    gold = dialogue.turns[: len(turns)]
    rule = _VALUE_RULES[sources.values]
    if sources.states == "gold":
        states = [gold_state(known.state, rule) for known in gold]
    else:
        states = [evaluator_state(turn.state or {}, rule) for turn in turns]
    if sources.domains == "file":
        active = [turn.active or frozenset[str]() for turn in turns]
    elif sources.domains == "placeholders":
        active = [named_domains(turn.response) for turn in turns]
    else:
        active = estimate_domains(states)
    return [
        JudgedTurn(rewrite(turn.response), state, domains, known.booked)
        for turn, state, domains, known in zip(turns, states, active, gold, strict=True)
    ]


def score_states(dialogues: Dialogues, corpus: Corpus) -> dict[str, list[StateScore]]:
    """Every turn of the kept dialogues of the corpus; what a file lacks is wrong."""
    found: dict[str, list[StateScore]] = {}
    for name, dialogue in corpus.dialogues.items():
        if name in corpus.kept:
            said = [turn.state for turn in dialogues.get(name, ())]
            said += [None] * (len(dialogue.turns) - len(said))
            found[name] = [
                compare_states(turn.state, state)
                for turn, state in zip(dialogue.turns, said, strict=True)
            ]
    return found


def score_texts(dialogues: Dialogues, corpus: Corpus) -> TextScore:
    """BLEU against the human responses, and diversity.

    Raises:
        MissingExtraError: sacrebleu or sacremoses is not installed.
    """
    pairs = [
        (plain(turn.response), plain(reference(known)))
        for name, turns in dialogues.items()
        for turn, known in zip(turns, corpus.dialogues[name].turns, strict=False)
    ]
    said, references = [said for said, _ in pairs], [gold for _, gold in pairs]
    return TextScore(bleu(said, references), diversity(said))


def success_figures(verdicts: Mapping[str, Verdict]) -> dict[str, float]:
    """Inform and Success in percent, of all dialogues and by domain of the goal."""
    rows = list(verdicts.values())
    figures = {
        "inform": _percent(row.informed for row in rows),
        "success": _percent(row.succeeded for row in rows),
    }
    for domain in sorted({domain for row in rows for domain in row.inform}):
        having = [row for row in rows if domain in row.inform]
        figures[f"inform {domain}"] = _percent(row.inform[domain] for row in having)
        figures[f"success {domain}"] = _percent(row.success.get(domain, False) for row in having)
    return figures


def state_figures(scores: Mapping[str, Sequence[StateScore]]) -> dict[str, float]:
    """Joint goal accuracy and slot F1 in percent, of all turns and by domain."""
    turns = [turn for dialogue in scores.values() for turn in dialogue]
    figures = {
        "jga fuzzy": _percent(turn.fuzzy for turn in turns),
        "jga exact": _percent(turn.exact for turn in turns),
        "jga fair": _percent(turn.fair for turn in turns),
        "slot f1 fuzzy": 100 * _sum(turn.fuzzy_slots for turn in turns).f1(),
        "slot f1 fair": 100 * _sum(turn.fair_slots for turn in turns).f1(),
    }
    for domain in sorted({domain for turn in turns for domain in turn.domains}):
        having = [turn.domains[domain] for turn in turns if domain in turn.domains]
        figures[f"jga fuzzy {domain}"] = _percent(iter(having))
    return figures


def _sum(counts: Iterator[SlotCounts]) -> SlotCounts:
    return SlotCounts(*map(sum, zip(*counts, strict=True)))


def _percent(flags: Iterator[bool]) -> float:
    found = list(flags)
    return 100 * sum(found) / max(len(found), 1)
