"""How much faster is our scoring of a MultiWOZ prediction file than the standard evaluator's way?

Usage:
    python benchmarks/speed_multiwoz.py PREDICTIONS.json.gz

The evaluator itself (Tomiinek/MultiWOZ_Evaluation) is not a package, so it is stood in for by a
straightforward port: every response is tokenized and joined, every offer scans its table row by row
and compares names anew, and every turn asks again. Both sides get the same parsed file, must come
to the same Inform and Success, and are timed in the same run, the data being loaded beforehand.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from coalm.errors import CoalmError
from coalm.evals.multiwoz.data import Corpus, load_corpus
from coalm.evals.multiwoz.database import TABLES, Database, Row
from coalm.evals.multiwoz.fuzzy import partial_ratio
from coalm.evals.multiwoz.normalize import DONT_CARE, evaluator_value, minutes
from coalm.evals.multiwoz.placeholders import rewrite
from coalm.evals.multiwoz.predictions import Dialogues, read_predictions
from coalm.evals.multiwoz.release import Release
from coalm.evals.multiwoz.score import Sources, default_sources, score_success, success_figures
from coalm.evals.multiwoz.success import (
    Goal,
    estimate_domains,
    evaluator_goal,
    evaluator_state,
    gold_state,
)

WANTED = 3.0
"""Times faster that we have to be."""
_FUZZY = {"restaurant": {"name", "food"}, "train": {"departure", "destination"}}
_ratio = partial_ratio.__wrapped__


def query(rows: list[Row], domain: str, constraints: Mapping[str, str]) -> list[str]:
    """Ids of the rows that meet the constraints, found row by row."""
    fuzzy = _FUZZY.get(domain, {"name"})
    found: list[str] = []
    for row in rows:
        for slot, value in constraints.items():
            if slot not in rows[0] or value in DONT_CARE or row.get(slot) == "?":
                continue
            wanted, cell = evaluator_value(slot, value), row.get(slot, "")
            if slot == "arrive":
                fits = minutes(cell) <= minutes(wanted)
            elif slot == "leave":
                fits = minutes(cell) >= minutes(wanted)
            else:
                fits = _ratio(cell, wanted) >= 90 if slot in fuzzy else cell == wanted
            if not fits:
                break
        else:
            found.append(row["trainid" if domain == "train" else "id"])
    return found


def straightforward(
    dialogues: Dialogues, corpus: Corpus, database: Database, sources: Sources
) -> tuple[float, float]:
    """Inform and Success in percent, without anything being kept for later."""
    from sacremoses import MosesDetokenizer, MosesTokenizer

    tokenize = MosesTokenizer(lang="en").tokenize
    detokenize = MosesDetokenizer(lang="en").detokenize
    tables = {domain: list(database.rows(domain)) for domain in TABLES}
    informed = succeeded = 0
    for name, turns in dialogues.items():
        gold = corpus.dialogues[name]
        goal = evaluator_goal(gold.goal)
        responses = [detokenize(tokenize(rewrite(turn.response))) for turn in turns]
        states = [
            gold_state(known.state)
            if sources.states == "gold"
            else evaluator_state(turn.state or {})
            for turn, known in zip(turns, gold.turns, strict=False)
        ]
        active = [turn.active for turn in turns]
        if sources.domains == "states":
            active = estimate_domains(states)
        offers: dict[str, list[str]] = {domain: [] for domain in goal}
        said: dict[str, set[str]] = {domain: set() for domain in goal}
        for response, state, domains, known in zip(
            responses, states, active, gold.turns, strict=False
        ):
            for domain in goal:
                if domain not in (domains or ()):
                    continue
                mark = "TRAINID" if domain == "train" else "NAME"
                if domain in tables and mark in response:
                    fitting = (
                        query(tables[domain], domain, state[domain]) if domain in state else []
                    )
                    if not offers[domain] or any(one not in fitting for one in offers[domain]):
                        offers[domain] = fitting
                for answer in ("PHONE", "ADDRESS", "POST", "REFERENCE", "TRAINID"):
                    if answer in response and (answer != "REFERENCE" or domain in known.booked):
                        said[domain].add(answer)
        fine = all(_informed(d, goal[d], offers[d], tables) for d in goal)
        informed += fine
        succeeded += fine and all(goal[domain].wanted <= said[domain] for domain in goal)
    return 100 * informed / len(dialogues), 100 * succeeded / len(dialogues)


def _informed(domain: str, goal: Goal, offer: list[str], tables: Mapping[str, list[Row]]) -> bool:
    if domain not in tables or "name" in goal.constraints:
        return True
    if not offer:
        return domain == "train" and "TRAINID" not in goal.wanted
    return set(offer) <= set(query(tables[domain], domain, goal.constraints))


def timed(run: Callable[[], tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """Seconds and result of a call."""
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def main() -> int:
    """Time both ways on one file."""
    parser = argparse.ArgumentParser(description="Time our scoring against a plain port.")
    parser.add_argument("predictions", type=Path, help="NAME.json.gz")
    parser.add_argument("--data", type=Path, help="release, folder or zip; default: the asset")
    arguments = parser.parse_args()
    try:
        release = Release(arguments.data)
        corpus, database = load_corpus(release), Database.load(release)
        dialogues = read_predictions(arguments.predictions, corpus).dialogues
    except CoalmError as e:
        print(f"speed: {e}", file=sys.stderr)
        return 1
    sources = default_sources(dialogues)

    def ours() -> tuple[float, float]:
        figures = success_figures(score_success(dialogues, corpus, database, sources))
        return figures["inform"], figures["success"]

    # ours goes first, so that what it warms up helps the other side
    our_time, our_figures = timed(ours)
    port_time, port_figures = timed(lambda: straightforward(dialogues, corpus, database, sources))
    print(f"{len(dialogues)} dialogues; Inform {our_figures[0]:.1f}, Success {our_figures[1]:.1f}")
    print(f"ours {our_time:.2f} s, plain port {port_time:.2f} s: {port_time / our_time:.1f} times")
    if our_figures != port_figures:
        print(f"the port comes to other figures: {port_figures}")
    return 0 if our_figures == port_figures and port_time >= WANTED * our_time else 1


if __name__ == "__main__":
    sys.exit(main())
