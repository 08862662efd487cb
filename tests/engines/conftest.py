"""The marker of tests that need vLLM, whose environment is not that of all other tests."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "vllm: needs vLLM (make test-vllm)")
