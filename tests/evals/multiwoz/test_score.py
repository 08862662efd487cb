from __future__ import annotations

import pytest

from coalm.evals.multiwoz.data import Corpus, State
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.predictions import Dialogues, PredictedTurn
from coalm.evals.multiwoz.score import (
    Sources,
    default_sources,
    score_states,
    score_success,
    score_texts,
    state_figures,
    success_figures,
)

RIDE: State = {
    "train": {"departure": "cambridge", "destination": "ely", "day": "monday", "arriveby": "10:00"}
}
FOOD: State = {"restaurant": {"food": "chinese"}}
GUESTS: State = {**FOOD, "hotel": {"type": "guest house"}}


def said(response: str, state: State | None = None, *active: str) -> PredictedTurn:
    return PredictedTurn(response, state, frozenset(active) if active else None)


TRAIN: Dialogues = {"sng0002": [said("[train_id]", RIDE, "train"), said("bye", RIDE, "train")]}
TOUR: Dialogues = {
    "mul0001": [
        said("[restaurant_name]", FOOD, "restaurant"),
        said("[restaurant_reference] [restaurant_phone]", FOOD, "restaurant"),
        said("[hotel_name] [hotel_postcode]", GUESTS, "hotel"),
    ]
}


def without(dialogues: Dialogues, *fields: str) -> Dialogues:
    nothing = dict.fromkeys(fields)
    return {name: [turn._replace(**nothing) for turn in turns] for name, turns in dialogues.items()}


def test_what_the_file_has_decides_the_sources() -> None:
    assert default_sources(TRAIN) == Sources("file", "file", "evaluator")
    assert default_sources(without(TRAIN, "active")) == Sources("file", "states")
    assert default_sources(without(TRAIN, "state")) == Sources("gold", "file")


@pytest.mark.parametrize("domains", ["file", "placeholders", "states"])
@pytest.mark.parametrize("states", ["file", "gold"])
def test_a_good_system_succeeds_with_every_source(
    corpus: Corpus, database: Database, states: str, domains: str
) -> None:
    sources = Sources(states, domains)  # type: ignore[arg-type]
    verdicts = score_success({**TRAIN, **TOUR}, corpus, database, sources)
    expected = {"sng0002", "mul0001"} if states == "file" else {"sng0002"}
    assert {name for name, verdict in verdicts.items() if verdict.succeeded} == expected


def test_the_sources_decide_the_verdict(corpus: Corpus, database: Database) -> None:
    dumb = {"sng0002": [said("[value_id]", {}, "hotel"), said("bye", {}, "hotel")]}
    results = {
        sources: score_success(dumb, corpus, database, Sources(*sources))["sng0002"].succeeded
        for sources in (("file", "file"), ("gold", "file"), ("gold", "states"), ("file", "states"))
    }
    assert [sources for sources, succeeded in results.items() if succeeded] == [("gold", "states")]


def test_the_helpers_rules_lose_bed_and_breakfasts(corpus: Corpus, database: Database) -> None:
    tables = {domain: database.rows(domain) for domain in ("restaurant", "attraction", "train")}
    inn = {"id": "9", "name": "elm bed and breakfast", "type": "guesthouse"}
    inns = Database({**tables, "hotel": [inn]})
    state: State = {**FOOD, "hotel": {"name": "elm bed and breakfast"}}
    tour = {"mul0001": [*TOUR["mul0001"][:2], said("[hotel_name]", state, "hotel")]}
    informed = {
        values: score_success(tour, corpus, inns, Sources("file", "file", values))["mul0001"].inform
        for values in ("evaluator", "helper")
    }
    assert informed["evaluator"] == {"restaurant": True, "hotel": True}
    assert informed["helper"] == {"restaurant": True, "hotel": False}


def test_a_short_dialogue_is_judged_on_what_it_has(corpus: Corpus, database: Database) -> None:
    short: Dialogues = {"mul0001": TOUR["mul0001"][:1]}
    verdict = score_success(short, corpus, database, default_sources(short))["mul0001"]
    assert verdict.inform == {"restaurant": True, "hotel": False}


def test_success_figures_are_shares_of_the_file(corpus: Corpus, database: Database) -> None:
    silent: Dialogues = {"mul0001": [said("hello", FOOD, "restaurant")] * 3}
    verdicts = score_success({**TRAIN, **silent}, corpus, database, Sources("file", "file"))
    assert success_figures(verdicts) == {
        "inform": 50.0,
        "success": 50.0,
        "inform hotel": 0.0,
        "success hotel": 0.0,
        "inform restaurant": 0.0,
        "success restaurant": 0.0,
        "inform train": 100.0,
        "success train": 100.0,
    }


def test_missing_states_are_wrong(corpus: Corpus) -> None:
    short: Dialogues = {"sng0002": TRAIN["sng0002"][:1]}
    scores = score_states(short, corpus)
    assert {name: [turn.fuzzy for turn in turns] for name, turns in scores.items()} == {
        "mul0001": [False, False, False],
        "sng0002": [True, False],
    }
    figures = state_figures(scores)
    assert figures["jga fuzzy"] == figures["jga fair"] == 20.0
    assert figures["jga fuzzy train"] == 50.0
    assert figures["jga fuzzy hotel"] == 0.0
    assert figures["slot f1 fuzzy"] == pytest.approx(100 * 8 / (8 + 4 + 12))


def test_texts_are_compared_with_the_human_ones(corpus: Corpus) -> None:
    human: Dialogues = {
        "mul0001": [
            said("golden lantern is nice."),
            said("Done, the reference number is AB12CD34."),
            said("[hotel_name], [hotel_postcode]."),
        ]
    }
    texts = score_texts(human, corpus)
    assert texts.bleu == pytest.approx(100)
    assert texts.diversity.words == 11
    assert score_texts(TRAIN, corpus).bleu < 20
