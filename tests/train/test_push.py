"""Uploading, against an endpoint of our own that takes what the Hub takes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from coalm.errors import TrainError
from coalm.train.push import push


class Hub(ThreadingHTTPServer):
    """Keeps the repositories and files that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str] = set()


class Answer(BaseHTTPRequestHandler):
    """The three calls of an upload of small files."""

    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if self.headers.get("Authorization") != "Bearer right":
            self._send(401, {"error": "Invalid token"})
        elif self.path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self._send(200, {"url": f"http://{self.headers['Host']}/me/model"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self._send(200, {"files": files})
        elif self.path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            self._send(
                200,
                {
                    "success": True,
                    "commitOid": "1" * 40,
                    "commitUrl": f"http://{self.headers['Host']}/me/model/commit/1",
                },
            )

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._send(200, {"siblings": [], "sha": "1" * 40, "id": "me/model"})

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub that `HfApi()` speaks to."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "right")
        yield server
        server.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    adapter = tmp_path / "run" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "README.md").write_text("# card")
    (tmp_path / "run" / "log.jsonl").write_text("{}")
    return tmp_path / "run"


@pytest.mark.parametrize("private", [True, False])
def test_what_was_trained_is_uploaded_and_nothing_else(hub: Hub, run: Path, private: bool) -> None:
    assert push(run, "me/model", private=private).endswith("/me/model/commit/1")
    (made,) = hub.made
    hidden = made.get("private", made.get("visibility") == "private")  # by the client's release
    assert (made["name"], made["organization"], hidden) == ("model", "me", private)
    assert hub.files == {"adapter_config.json": b"{}", "README.md": b"# card"}
    assert hub.tokens == {"Bearer right"}


def test_what_the_hub_refuses_is_said(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(
        TrainError, match=r"cannot be uploaded to me/model: .*401.*is HF_TOKEN s"
    ) as e:
        push(run, "me/model")
    assert "\n" not in str(e.value)
    with pytest.raises(TrainError, match=r"cannot be uploaded to a/b/c: "):
        push(run, "a/b/c")
    with pytest.raises(TrainError, match="holds neither an adapter nor a model; train to the end"):
        push(tmp_path, "me/model")
    assert hub.files == {}
