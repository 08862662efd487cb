"""Which random model an engine can run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_for(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Folder of a random model for the engine of a name."""
    return lambda name: request.getfixturevalue("wide_model" if name == "vllm" else "tiny_model")
