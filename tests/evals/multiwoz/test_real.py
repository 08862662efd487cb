"""The published figures, from the real data."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalm.agent.rollout import run_one
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.evals.multiwoz.data import Corpus, load_corpus
from coalm.evals.multiwoz.database import Database
from coalm.evals.multiwoz.oracle import Oracle
from coalm.evals.multiwoz.predictions import read_json, read_predictions
from coalm.evals.multiwoz.release import Release
from coalm.evals.multiwoz.score import (
    Sources,
    default_sources,
    score_states,
    score_success,
    score_texts,
    success_figures,
)
from coalm.evals.multiwoz.task import MultiWoz, MultiWozConfig

PLACE = Path(os.environ.get("COALM_DATA", "nowhere")) / "multiwoz"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PLACE.is_dir(), reason="COALM_DATA has no multiwoz"),
]
SYSTEMS = {
    "augpt": (76.6, 60.5, 16.4),
    "ubar": (83.4, 70.3, 17.4),
    "soloist": (82.3, 72.4, 13.6),
    "damd": (57.9, 47.6, 16.4),
    "hdsa": (87.7, 79.2, 20.8),
}
"""Inform, Success and BLEU."""


@pytest.fixture(scope="module")
def release() -> Release:
    return Release(PLACE)


@pytest.fixture(scope="module")
def corpora(release: Release) -> dict[str, Corpus]:
    return {"2.1": load_corpus(release, "2.1"), "2.4": load_corpus(release, "2.4")}


@pytest.fixture(scope="module")
def database(release: Release) -> Database:
    return Database.load(release)


def test_the_filter_keeps_the_dialogues_that_papers_report(corpora: dict[str, Corpus]) -> None:
    for corpus in corpora.values():
        assert len(corpus.dialogues) == 1000
        assert (len(corpus.kept), corpus.turns) == (999, 7368)
        assert corpus.dialogues.keys() - corpus.kept == {"pmul1455"}


def test_the_tables_have_their_rows(database: Database) -> None:
    counts = {domain: len(database.rows(domain)) for domain in ("restaurant", "hotel")}
    assert counts == {"restaurant": 110, "hotel": 33}
    assert len(database.rows("train")) == 2828
    assert len(database.ids("train", {})) == 2462
    assert len(database.find("restaurant", {"food": "asian"})) == 5
    assert len(database.find("restaurant", {"food": "european"})) == 11


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_published_system_gets_its_recorded_verdicts(
    system: str, corpora: dict[str, Corpus], database: Database
) -> None:
    recorded = read_json(PLACE / "predictions" / f"{system}.verdicts.json.gz")
    assert isinstance(recorded, dict)
    corpus = corpora["2.1"]
    dialogues = read_predictions(PLACE / "predictions" / f"{system}.json.gz", corpus).dialogues
    sources = default_sources(dialogues)
    if system == "soloist":
        sources = Sources(sources.states, "placeholders")
    verdicts = score_success(dialogues, corpus, database, sources)
    ours = {
        name: {
            "inform": {**verdict.inform, "total": verdict.informed},
            "success": {**verdict.success, "total": verdict.succeeded} if verdict.success else {},
        }
        for name, verdict in verdicts.items()
    }
    assert ours == recorded["dialogues"]
    inform, success, bleu = SYSTEMS[system]
    figures = success_figures(verdicts)
    assert round(figures["inform"], 1) == inform
    assert round(figures["success"], 1) == success
    assert score_texts(dialogues, corpus).bleu == pytest.approx(bleu, abs=0.06)
    for version, by_dialogue in recorded.get("jga_per_turn", {}).items():
        states = score_states(dialogues, corpora[version])
        assert by_dialogue == {
            name: [[int(turn.fuzzy), int(turn.exact)] for turn in states[name]]
            for name in by_dialogue
        }


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts of `benchmarks/` can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    yield
    for name in ("parity_multiwoz", "parity_check"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("benchmarks")
def test_trackers_humans_and_autotod_score_as_they_should(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from parity_multiwoz import check_corpus

    assert check_corpus(PLACE) == 0
    out = capsys.readouterr().out
    assert "off" not in out
    assert len(out.splitlines()) == 15


def test_an_oracle_succeeds_with_the_tools(corpora: dict[str, Corpus]) -> None:
    task = MultiWoz(MultiWozConfig(data_dir=PLACE))
    params = SamplingParams(max_new_tokens=1_000_000, stop=task.stop)
    for sample in task.samples()[:200]:
        engine = ScriptedEngine(Oracle(corpora["2.4"].dialogues[sample.id]))
        score = task.score(sample, run_one(task.rollout(sample), engine, params))
        expected = "answer not given" if sample.id == "sng02315" else "success"
        assert (sample.id, score.verdict) == (sample.id, expected)
        assert expected == "success" or "'parkside police station' is not known" in str(
            score.explanation
        )
