"""An agent with the tools of an MCP server, which it starts and stops.

python examples/mcp_agent.py             a scripted model, to see the moves
python examples/mcp_agent.py MODEL_DIR   a model, for example one that coalm trained
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from coalm import AgentSession, Engine, InferConfig, Toolbox, load_engine
from coalm.agent.mcp_tools import mcp_tools
from coalm.engines.scripted import ScriptedEngine

SERVER = shlex.join([sys.executable, str(Path(__file__).with_name("mcp_server.py"))])
TURNS = ["Note under 'milk' that we need two bottles.", "What did I say about the bread?"]
SCRIPT = [
    "Thought: I know title and text, so I call write_note.\n"
    'Action: write_note(title="milk", text="two bottles")',
    "Thought: It is kept.\nSystem: Noted.",
    'Thought: I look for the note.\nAction: read_note(title="bread")',
    "Thought: There is no such note, only one about milk.\n"
    "System: Nothing yet; there is only a note about milk.",
]


def load(model: str | None) -> Engine:
    """The model of a folder; without one, a script that says what a good model says."""
    if model:
        return load_engine(InferConfig.model_validate({"model": {"model_name": model}}))
    return ScriptedEngine(SCRIPT)


def main(model: str | None = None) -> None:
    """Hold the conversation and print it."""
    with mcp_tools(SERVER) as tools:
        session = AgentSession(load(model), Toolbox(tools))
        for turn in TURNS:
            print(f"User: {turn}")
            answer = session.send(turn)
            for message in answer.messages:
                if message.role == "tool":
                    print(f"  {message.name} gave {message.content}")
            print(f"Agent: {answer.text}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
