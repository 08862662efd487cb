"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from coalm.server.desk import Desk

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Metrics:
    """The counters of one application."""

    def __init__(self, desk: Desk) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "coalm_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.left = Counter(
            "coalm_clients_left", "Clients gone before their answer was whole.", registry=registry
        )
        self.seconds = Histogram(
            "coalm_answer_seconds", "From a request to the end of its answer.",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.first_seconds = Histogram(
            "coalm_first_text_seconds", "From a request to the first text of its answer.",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "coalm_tokens", "Tokens of complete answers.", ["kind"], registry=registry
        )
        running = Gauge("coalm_running", "Answers under way.", registry=registry)
        running.set_function(lambda: desk.running)
        waiting = Gauge("coalm_waiting", "Requests waiting for a place.", registry=registry)
        waiting.set_function(lambda: desk.waiting)

    def add_usage(self, usage: Mapping[str, int]) -> None:
        """The answers of a request are complete."""
        for kind in ("prompt", "completion"):
            self._tokens.labels(kind).inc(usage[f"{kind}_tokens"])

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
