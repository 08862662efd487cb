"""An agent framework of the field works with a served model as it is."""

from __future__ import annotations

from typing import Any

import pytest

# its own imports warn
pytestmark = pytest.mark.filterwarnings("default")


def test_a_tool_calling_agent_books(scripted: Any) -> None:
    smolagents = pytest.importorskip("smolagents", reason="smolagents is not installed")

    @smolagents.tool
    def book_table(place: str, seats: int) -> str:
        """Book a table.

        Args:
            place: Name of the restaurant.
            seats: How many guests.
        """
        booked.append((place, seats))
        return f"booked for {seats}"

    booked: list[tuple[str, int]] = []
    served = scripted(
        [
            'Thought: I book.\nAction: book_table(place="Zoë\'s", seats=2)',
            'Thought: It is done.\nAction: final_answer(answer="A table for 2 is booked.")',
        ]
    )
    # by default smolagents asks for tool_choice "required", which needs an engine that guides
    model = smolagents.OpenAIModel(
        model_id="coalm", api_base=served.url, api_key="sk-test", tool_choice="auto"
    )
    agent = smolagents.ToolCallingAgent(tools=[book_table], model=model, verbosity_level=0)
    assert agent.run("Book a table for two at Zoë's") == "A table for 2 is booked."
    assert booked == [("Zoë's", 2)]
    last = served.desk._engine.prompts[-1][0].content
    assert "booked for 2" in last
