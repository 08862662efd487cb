from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coalm import assets, origins
from coalm.assets import Asset
from coalm.errors import AssetError
from coalm.origins import Hub

OPEN = Hub(dataset="some/open", revision="abc", files={"data.json": None})
GATED = Hub(dataset="some/gated", revision="main", gated=True, files={"rows.json": None})


class Site:
    """A hub on this machine: files of data sets are sent on to another host, as the real one does.

    `/datasets/some/gated` wants the token `let-me-in`.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        token = request.headers["Authorization"]
        self.seen.append((request.path, token))
        if "gated" in request.path and token != "Bearer let-me-in":
            request.send_error(401)
        elif request.path.startswith("/datasets"):
            request.send_response(302)
            request.send_header("Location", f"http://localhost:{self.port}/store")
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            request.send_response(200)
            request.send_header("Content-Length", "2")
            request.end_headers()
            request.wfile.write(b"[]")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    site = Site()
    monkeypatch.setattr(origins, "_HUB", f"http://127.0.0.1:{site.port}")
    monkeypatch.setenv("COALM_HOME", str(tmp_path))
    monkeypatch.delenv("COALM_DATA", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for hub in (OPEN, GATED):
        name = hub.dataset.partition("/")[2]
        asset = Asset(name=name, about="", licence="", megabytes=0, origins=(hub,))
        monkeypatch.setitem(assets.ASSETS, name, asset)
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


def test_an_open_file_needs_no_token(site: Site) -> None:
    assert (assets.fetch("open") / "data.json").read_bytes() == b"[]"
    assert site.seen == [
        ("/datasets/some/open/resolve/abc/data.json", None),
        ("/store", None),
    ]


def test_a_token_goes_to_the_hub_and_not_where_that_points_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "let-me-in")
    assert (assets.fetch("gated") / "rows.json").read_bytes() == b"[]"
    assert [token for _, token in site.seen] == ["Bearer let-me-in", None]


def test_a_refusal_says_how_to_be_let_in(site: Site) -> None:
    with pytest.raises(AssetError) as caught:
        assets.fetch("gated")
    message = str(caught.value)
    assert message.startswith("gated/rows.json: cannot be fetched (HTTP Error 401: Unauthorized); ")
    assert message.endswith(
        f"accept the terms at http://127.0.0.1:{site.port}/datasets/some/gated first, and set "
        "HF_TOKEN to a token of yours that may read"
    )


def test_only_gated_data_sets_have_a_hint() -> None:
    assert OPEN.hint == ""
    assert "some/gated" in GATED.hint
