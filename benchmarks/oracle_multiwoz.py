"""What the live loop of MultiWOZ gives an agent that knows the goal, and one that says nothing.

Usage:
    python benchmarks/oracle_multiwoz.py [--data PLACE]

The first shows what a perfect agent can reach with our tools and the replayed users; each of its
failures is printed with its reason. The second shows the floor: goals that name the venue, taxis
and trains without a request are Informed whatever is said. Exit status 1 below 97 % Success.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from coalm.agent.rollout import run_one
from coalm.engines.base import SamplingParams
from coalm.engines.scripted import ScriptedEngine
from coalm.errors import CoalmError
from coalm.evals.base import Score, add_up
from coalm.evals.multiwoz.data import Dialogue, load_corpus
from coalm.evals.multiwoz.oracle import Oracle
from coalm.evals.multiwoz.release import Release
from coalm.evals.multiwoz.task import MultiWoz, MultiWozConfig
from coalm.types import Prompt

WANTED = 97.0
"""Success that the oracle has to reach, in percent."""
Agent = Callable[[Dialogue], Callable[[Prompt], str]]


def play(task: MultiWoz, dialogues: dict[str, Dialogue], agent: Agent) -> dict[str, Score]:
    """The scores of an agent on all samples."""
    params = SamplingParams(max_new_tokens=1_000_000, stop=task.stop)
    scores: dict[str, Score] = {}
    for sample in task.samples():
        engine = ScriptedEngine(agent(dialogues[sample.id]))
        scores[sample.id] = task.score(sample, run_one(task.rollout(sample), engine, params))
    return scores


def main() -> int:
    """Play both agents and print their figures."""
    parser = argparse.ArgumentParser(description="Play scripted agents in the live loop.")
    parser.add_argument("--data", type=Path, help="release, folder or zip; default: the asset")
    place = parser.parse_args().data
    task = MultiWoz(MultiWozConfig(data_dir=place))
    try:
        dialogues = dict(load_corpus(Release(place)).dialogues)
        oracle = play(task, dialogues, Oracle)
        silent = play(task, dialogues, lambda dialogue: lambda prompt: "System:")
    except CoalmError as e:
        print(f"oracle: {e}", file=sys.stderr)
        return 1
    figures = [task.aggregate(add_up(list(scores.values()))) for scores in (oracle, silent)]
    print(f"{'':20}{'oracle':>8}{'silent':>8}")
    for name in figures[0]:
        print(f"{name:20}" + "".join(f"{found[name]:8.1f}" for found in figures))
    for name, score in oracle.items():
        if score.verdict != "success":
            print(f"{name}: {score.verdict}: {score.explanation}")
    return 0 if figures[0]["success"] >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
