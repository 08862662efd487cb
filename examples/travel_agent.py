"""A travel agent in the mini world: it looks for a train and buys tickets, over two turns.

python examples/travel_agent.py             a scripted model, to see the moves
python examples/travel_agent.py MODEL_DIR   a model, for example one that coalm trained
"""

from __future__ import annotations

import sys

from coalm import AgentSession, Engine, InferConfig, load_engine
from coalm.engines.scripted import ScriptedEngine
from coalm.world.tools import world_toolbox

TURNS = [
    "Hello! Which trains go from Fernhill to Westhaven on 2019-03-02 in the morning?",
    "I take the first one. Two tickets, please.",
]
SCRIPT = [
    "Thought: I know both towns and the day, so I call SearchTrains.\n"
    'Action: SearchTrains(origin="Fernhill", destination="Westhaven", travel_date="2019-03-02", '
    'time_of_day="morning")',
    "Thought: The result lists them.\nSystem: Here they are. Shall I buy tickets for one of them?",
    "Thought: I know the train and the number of passengers.\n"
    'Action: BuyTrainTickets(origin="Fernhill", destination="Westhaven", travel_date="2019-03-02", '
    'departure_time="07:15", passengers=2)',
    "Thought: The result has a reference number.\nSystem: Done. Have a good trip!",
]


def load(model: str | None) -> Engine:
    """The model of a folder; without one, a script that says what a good model says."""
    if model:
        return load_engine(InferConfig.model_validate({"model": {"model_name": model}}))
    return ScriptedEngine(SCRIPT)


def main(model: str | None = None) -> None:
    """Hold the conversation and print it."""
    session = AgentSession(load(model), world_toolbox(seed=0))
    for turn in TURNS:
        print(f"User: {turn}")
        for message in session.send(turn).messages:
            for call in message.tool_calls:
                print(f"  calls {call.name}({call.arguments})")
            if message.role == "tool":
                print(f"  gets {message.content[:200]}")
            elif message.content:
                print(f"Agent: {message.content}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
