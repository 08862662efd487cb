"""A loop of tools with OpenAI's own client, against any server of its API.

coalm serve -c configs/infer/smollm2_135m.yaml --name coalm generation.guided=true
python examples/openai_client.py "How will the weather be in Fernhill?" http://localhost:8000/v1
"""

from __future__ import annotations

import json
import sys
from typing import Any

from openai import OpenAI

import coalm


def get_forecast(city: str) -> str:
    """Tell tomorrow's weather in a city."""
    return f"{city}: rain until noon, 9 to 14 degrees"


def main(text: str, url: str, model: str = "coalm", key: str = "none") -> str:
    """Ask, run what the model calls, and print the reply word by word as it is written."""
    box = coalm.Toolbox([coalm.tool_from_function(get_forecast)])
    offered: Any = [
        {"type": "function", "function": schema.model_dump(exclude_none=True)}
        for schema in box.schemas
    ]
    messages: list[Any] = [{"role": "user", "content": text}]
    with OpenAI(base_url=url, api_key=key) as client:
        for _ in range(5):
            asked = {"model": model, "messages": messages, "tools": offered}
            with client.chat.completions.stream(**asked) as stream:
                for event in stream:
                    if event.type == "content.delta":
                        print(event.delta, end="", flush=True)
                message = stream.get_final_completion().choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls or ():
                arguments = json.loads(call.function.arguments)
                result = box.execute(coalm.ToolCall(name=call.function.name, arguments=arguments))
                print(f"{call.function.name}{arguments} -> {result.content}")
                messages.append(
                    {"role": "tool", "tool_call_id": call.id, "content": result.content}
                )
            if not message.tool_calls:
                print()
                return message.content or ""
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
