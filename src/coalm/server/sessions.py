"""What the page of `coalm serve` needs beside the API: its files, and a mini world per visitor.

The page talks with the model over `/v1/chat/completions` like any other client. The tools that the
model calls run here, each visitor's in a world of their own, whose tables come back with every
result::

    POST /page/sessions             -> {"id": "...", "system": "...", "tools": [], "tables": []}
    POST /page/sessions/{id}/calls  {"name": "BookTable", "arguments": "{...}"}
                                    -> {"content": "[{...}]", "tables": [...]}
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, JsonValue

from coalm.server.faults import RefusedError, described
from coalm.tools import Toolbox
from coalm.types import ToolCall, ToolSchema
from coalm.world.database import Database
from coalm.world.rules import TODAY_TEXT
from coalm.world.tools import world_database, world_toolbox

MOST_SESSIONS = 64
"""Visitors who keep a world of their own; a further one takes that of the visitor idle longest."""
SHOWN_ROWS = 8
"""Rows of a table that are shown, the newest."""
MAX_ARGUMENTS = 100_000
"""Characters of a call's arguments."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Table(BaseModel):
    """A table of the world as far as it is shown."""

    name: str
    count: int
    """All its rows."""
    columns: list[str]
    rows: list[list[str]]
    """The newest, newest first."""


class Opened(BaseModel):
    """A new visitor's world."""

    id: str
    system: str
    """What the model has to know of this world: which day it is."""
    tools: list[ToolSchema]
    tables: list[Table]


class Call(BaseModel):
    """What the model asks for, as it stands in its answer."""

    name: str
    arguments: str = Field(max_length=MAX_ARGUMENTS)
    """JSON text."""


class Observed(BaseModel):
    """What came of a call."""

    content: str
    """The text for the model; `{"error": ...}` where the call failed."""
    tables: list[Table]


class _World(NamedTuple):
    database: Database
    toolbox: Toolbox
    lock: threading.Lock
    """One call at a time: a booking is several statements."""


class Worlds:
    """The visitors' worlds; the one unused for longest makes room."""

    def __init__(self, seed: int = 0, most: int = MOST_SESSIONS) -> None:
        self._seed = seed
        self._most = most
        self._worlds: OrderedDict[str, _World] = OrderedDict()
        self._lock = threading.Lock()

    def open(self) -> Opened:
        """A world for a new visitor."""
        database = world_database(self._seed)
        world = _World(database, world_toolbox(database=database), threading.Lock())
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._worlds[name] = world
            while len(self._worlds) > self._most:
                self._worlds.popitem(last=False)
        return Opened(
            id=name,
            system=TODAY_TEXT,
            tools=list(world.toolbox.schemas),
            tables=_tables(database),
        )

    def call(self, name: str, call: Call) -> Observed | None:
        """Run a call in a visitor's world; None where that world is gone."""
        with self._lock:
            world = self._worlds.get(name)
            if world is None:
                return None
            self._worlds.move_to_end(name)
        with world.lock:
            content = world.toolbox.execute(_read(call)).content
            return Observed(content=content, tables=_tables(world.database))


def router_for(worlds: Worlds | None = None) -> APIRouter:
    """The page under `/`, and what it needs under `/page`.

    Args:
        worlds: Where the tools run; None makes new ones.
    """
    router, worlds = APIRouter(), worlds or Worlds()
    files = {path.name: path for path in (Path(__file__).parent / "page").iterdir()}
    answers = {
        name: Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers=_HEADERS)
        for name, path in files.items()
    }

    @router.get("/", include_in_schema=False)
    def index() -> Response:
        return answers["index.html"]

    @router.get("/page/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in answers:
            raise RefusedError(f"the page has no file {name!r:.80}", status=404)
        return answers[name]

    @router.post("/page/sessions", responses=described(401))
    def open_session() -> Opened:
        """A world of its own, its tools and its tables."""
        return worlds.open()

    @router.post("/page/sessions/{session}/calls", responses=described(400, 401, 404, 408, 413))
    def call(session: str, call: Call) -> Observed:
        """Run a tool in that world."""
        observed = worlds.call(session, call)
        if observed is None:
            text = "this world has been given up for newer ones; start a new conversation"
            raise RefusedError(text, status=404)
        return observed

    return router


def _read(call: Call) -> ToolCall:
    try:
        arguments: JsonValue = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as e:
        return ToolCall(raw=call.arguments, error=f"arguments are not JSON: {e}")
    if not isinstance(arguments, dict):
        return ToolCall(raw=call.arguments, error="arguments are not a JSON object")
    return ToolCall(name=call.name, arguments=arguments)


def _tables(database: Database) -> list[Table]:
    names = database.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    return [_table(database, row["name"]) for row in names]


def _table(database: Database, name: str) -> Table:
    columns = [
        row["name"] for row in database.rows(f"SELECT name FROM pragma_table_info('{name}')")
    ]
    newest = database.rows(f"SELECT * FROM {name} ORDER BY rowid DESC LIMIT ?", SHOWN_ROWS)
    return Table(
        name=name,
        count=database.number(f"SELECT count(*) FROM {name}"),
        columns=columns,
        rows=[[row[column] for column in columns] for row in newest],
    )
