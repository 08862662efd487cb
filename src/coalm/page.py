"""One HTML file that holds everything it shows: tables, pictures, and records to browse.

The page asks nothing of the network (its content policy forbids it), follows the reader's light or
dark setting, and works by keyboard and screen reader. Whatever a model wrote reaches it as text
only: HTML is escaped here, records travel as JSON, and `page.js` never makes markup of them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

MAX_TEXT = 20_000
"""Longer texts lose their middle: a page is for reading, the whole text is in the data."""

_CUT = 1000
"""Characters of the end that a text which is cut keeps."""


class Marked(NamedTuple):
    """A text of which some pieces stand out."""

    pieces: Sequence[tuple[str, bool]]
    """Each with whether it is marked."""


class Part(NamedTuple):
    """One piece of a record: a text, or the messages of a dialogue."""

    title: str
    content: str | Marked | Sequence[tuple[str, str]]
    """A text, or who said what in order."""
    open: bool = True
    """Whether it is shown before it is asked for."""


class Record(NamedTuple):
    """One entry of the browser."""

    id: str
    tags: Mapping[str, Sequence[str]]
    """What the browser filters by: name of the filter to the values that this record has."""
    parts: Sequence[Part]
    note: str = ""
    """Shown behind the id in the list."""


def escape(text: str) -> str:
    """Text as HTML that shows exactly this text."""
    return html.escape(_sound(text))


def table(rows: Sequence[Sequence[str]], caption: str) -> str:
    """An HTML table; the first row and the first cell of every other row are headings."""
    head, *body = rows
    lines = ["<table>", f"<caption>{escape(caption)}</caption>", "<thead><tr>"]
    lines += [f'<th scope="col">{escape(cell)}</th>' for cell in head]
    lines += ["</tr></thead>", "<tbody>"]
    for first, *cells in body:
        data = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{data}</tr>')
    lines += ["</tbody>", "</table>"]
    # wide tables scroll; the focus makes that possible with the keyboard
    scroll = f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">'
    return "\n".join([scroll, *lines, "</div>"])


def section(title: str, *body: str, name: str) -> str:
    """A part of the page with a heading; `name` is what links to it say."""
    heading = f'<h2 id="{escape(name)}-heading">{escape(title)}</h2>'
    opening = f'<section id="{escape(name)}" aria-labelledby="{escape(name)}-heading">'
    return "\n".join([opening, heading, *body, "</section>"])


def link(record: str) -> str:
    """A link to a record in the browser of the same page."""
    return f'<a href="#record={quote(record, safe="")}">{escape(record)}</a>'


def render_page(title: str, body: Iterable[str], records: Sequence[Record] = ()) -> str:
    """The whole page: `body` is HTML, see `section` and `table`; `records` come behind it."""
    here = Path(__file__)
    style = here.with_suffix(".css").read_text(encoding="utf-8")
    script = here.with_suffix(".js").read_text(encoding="utf-8")
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{checksum}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#content">Skip to the content</a>',
            f'<header><h1>{escape(title)}</h1></header>\n<main id="content">',
            *body,
            *(_browser(records) if records else ()),
            "</main>",
            f"<script>{script}</script>",
            "</body>",
            "</html>\n",
        ]
    )


def _browser(records: Sequence[Record]) -> Iterable[str]:
    filters = dict.fromkeys(name for record in records for name in record.tags)
    yield '<section id="browser" aria-labelledby="browser-heading">'
    yield '<h2 id="browser-heading">Samples</h2>'
    yield "<noscript><p>Browsing needs JavaScript; everything above does not.</p></noscript>"
    yield '<form id="filters" role="search" aria-label="Filter samples" hidden>'
    yield '<label>search <input type="search" id="search" autocomplete="off"></label>'
    for number, name in enumerate(filters):
        yield f'<label>{escape(name)} <select id="filter{number}"><option value="">all</option>'
        for value in dict.fromkeys(v for r in records for v in r.tags.get(name, ())):
            yield f'<option value="{escape(value)}">{escape(value)}</option>'
        yield "</select></label>"
    yield "</form>"
    yield '<p id="found" role="status"></p>'
    yield '<div id="list"></div>'
    yield '<button type="button" id="more" hidden>Show more</button>'
    yield "</section>"
    yield f'<script type="application/json" id="records">{_payload(records, [*filters])}</script>'


def _payload(records: Sequence[Record], filters: Sequence[str]) -> str:
    """The records as JSON; a text that comes twice, as prompts do, is there once."""
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(_shortened(text), len(places))

    def content(value: str | Marked | Sequence[tuple[str, str]]) -> object:
        if isinstance(value, str):
            return place(value)
        if isinstance(value, Marked):
            return {"pieces": [[place(text), marked] for text, marked in value.pieces]}
        return [[who, place(said)] for who, said in value]

    rows: list[dict[str, Any]] = []
    for record in records:
        parts = [[part.title, content(part.content), part.open] for part in record.parts]
        tags = [[*record.tags.get(name, ())] for name in filters]
        rows.append({"id": record.id, "note": record.note, "tags": tags, "parts": parts})
    # ASCII, so that any text is a sound file; without "<", so that none ends the script element
    text = json.dumps({"texts": [*places], "records": rows}, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    left_out = len(text) - MAX_TEXT
    head, tail = text[: MAX_TEXT - _CUT], text[-_CUT:]
    return f"{head}\n[... {left_out} characters left out ...]\n{tail}"


def _sound(text: str) -> str:
    """The text with a sign in place of what no HTML file can hold."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in whole
    )
