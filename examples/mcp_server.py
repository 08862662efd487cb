"""A tiny MCP server with the official SDK: a notebook in memory. Started by mcp_agent.py."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("notebook", log_level="ERROR")
notes: dict[str, str] = {}


@server.tool()
def write_note(title: str, text: str) -> str:
    """Keep a text under a title, in place of what was there."""
    notes[title] = text
    return f"{len(notes)} notes"


@server.tool()
def read_note(title: str) -> str:
    """The text that is kept under a title."""
    if title not in notes:
        raise ToolError(f"no note {title!r}; there are: {', '.join(notes) or 'none'}")
    return notes[title]


if __name__ == "__main__":
    server.run()
