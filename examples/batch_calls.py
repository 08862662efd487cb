"""Tool calling over a file: every request becomes a call, all of them in full batches.

python examples/batch_calls.py requests.jsonl answers.jsonl [MODEL_DIR]

Rows in: {"id": ..., "text": ...}. Rows out: the calls of the model, their results, its reply.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal

import coalm
from coalm import jsonl
from coalm.engines.scripted import ScriptedEngine

RATES = {"dollars": 0.92, "miles": 1.609, "kg": 2.205}


def convert(amount: float, unit: Literal["dollars", "miles", "kg"]) -> float:
    """Convert dollars to euros, miles to kilometres, or kilograms to pounds."""
    return round(amount * RATES[unit], 2)


def script(prompt: coalm.Prompt) -> str:
    """What a good model says, for a run without one."""
    turn = prompt[-1].content.rpartition("User: ")[2]
    if result := re.search(r"Observation: (.*)", turn):
        return f"System: The result is {result[1]}"
    found = re.findall(r"([\d.]+) (\w+)", turn)[0]
    return f"Thought: I convert.\nAction: convert(amount={found[0]}, unit={found[1]!r})"


def main(source: str, target: str, model: str | None = None) -> None:
    """Answer every row of `source`, write one row each to `target`, in the order of the rows."""
    config = {"model": {"model_name": model}}
    engine: coalm.Engine = ScriptedEngine(script)
    if model:
        engine = coalm.load_engine(coalm.InferConfig.model_validate(config))
    react, box = coalm.get_format("react"), coalm.Toolbox([coalm.tool_from_function(convert)])
    rollouts: dict[str, coalm.Rollout] = {}
    for _, row in jsonl.read(Path(source)):
        asked = (coalm.Message(role="user", content=row["text"]),)
        talk = coalm.Conversation(id=row["id"], messages=asked, tools=box.schemas)
        rollouts[talk.id] = coalm.user_turn(talk, react, box, coalm.Limits(max_steps=3))
    params = coalm.SamplingParams(max_new_tokens=128, stop=react.stop)
    finished = coalm.run_many(rollouts.items(), engine, params, batch_size=8)
    talks = {one.id: one.conversation for one in finished}
    rows = [talk.model_dump(mode="json") for name in rollouts if (talk := talks[name])]
    print(f"{jsonl.write(Path(target), rows)} answers written to {target}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
