"""Clients as they are: the lines of the pages, the example, an agent framework of the field."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CALL = 'Thought: I look.\nAction: GetForecast(city="Fernhill")'
CURL_LINES = [
    pytest.param(line, id=page)
    for page in ("README.md", "docs/serve.md")
    for line in re.findall(
        r"^curl .*?^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", CURL_LINES)
def test_the_curl_lines_of_the_pages(scripted: Any, line: str) -> None:
    served = scripted(lambda prompt: CALL)
    typed = line.removesuffix("```").replace("http://localhost:8000", served.root)
    told = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True).stdout
    *parts, end = re.findall(r"^data: (.*)$", told, re.MULTILINE)
    assert end == "[DONE]"
    deltas = [json.loads(part)["choices"][0]["delta"] for part in parts]
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls[0]["name"] == "GetForecast"
    assert "".join(call["arguments"] for call in calls) == '{"city": "Fernhill"}'


def test_both_pages_have_such_a_line() -> None:
    assert {line.id for line in CURL_LINES} == {"README.md", "docs/serve.md"}


def test_the_example_runs_what_the_model_calls(
    scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    served = scripted(
        [
            'Thought: I look.\nAction: get_forecast(city="Fernhill")',
            "Thought: I know.\nSystem: Rain until noon.",
        ]
    )
    main = runpy.run_path(str(ROOT / "examples" / "openai_client.py"))["main"]
    assert main("How will the weather be in Fernhill?", served.url) == "Rain until noon."
    seen = capsys.readouterr().out.splitlines()
    assert seen[0].startswith("get_forecast{'city': 'Fernhill'} -> ")
    assert seen[-1] == "Rain until noon."
    prompts = [turn.content for turn in served.desk._engine.prompts[-1]]
    assert "rain until noon, 9 to 14 degrees" in prompts[-1]


@pytest.mark.filterwarnings("default")  # its own imports warn
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
