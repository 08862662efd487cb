"""Published figures, to be shown beside one's own.

All are of the CoALM paper (Acikgoz et al. 2025, arXiv 2502.08820), its main result tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """A published table."""

    source: str
    note: str
    """What keeps its figures from being ours to the letter."""
    rows: Mapping[str, Mapping[str, float]]
    """Model to figure to value; a figure is named as ours is."""


_PAPER = "CoALM paper, arXiv 2502.08820"


def _table(note: str, figures: str, rows: Mapping[str, str]) -> Published:
    names = figures.split(", ")
    values = {
        model: dict(zip(names, map(float, text.split()), strict=True))
        for model, text in rows.items()
    }
    return Published(_PAPER, note, values)


_LIKENESS = "rouge-l, rouge-1, rouge-2, bleu-4"
_APIBANK = (
    "Which form of the prompt and which chat template the paper took is not known; its metric is "
    "LLaMA-Factory's, as here."
)
_BFCL = (
    "The published overall counts executable answers that were really run; ours guesses those that "
    "need a network, and `overall` is the newer formula without them. Llama-3.1-8B and GPT-4o were "
    "measured before December 2024 on other live data."
)
_BFCL_FIGURES = (
    "overall (exec partly guessed), non-live AST, exec (partly guessed), live, multi-turn, "
    "relevance, irrelevance"
)
_MULTIWOZ = (
    "The paper's prompt, its way of reading states and its check of booking numbers are not "
    "published."
)
PUBLISHED: Mapping[str, Mapping[str, Published]] = {
    "apibank": {
        "l1": _table(
            _APIBANK,
            _LIKENESS,
            {
                "CoALM 8B": "92.8 94.1 91.9 89.4",
                "CoALM 70B": "92.7 94.5 92.5 89.5",
                "CoALM 405B": "93.4 94.5 92.4 90.3",
                "Llama-3.1-8B": "72.7 84.0 79.8 62.3",
                "Hammer2.0-7B": "90.1 92.3 89.9 85.4",
            },
        ),
        "l2": _table(
            _APIBANK,
            _LIKENESS,
            {
                "CoALM 8B": "81.9 81.2 76.4 69.7",
                "CoALM 70B": "83.2 82.7 78.9 72.4",
                "CoALM 405B": "77.8 77.1 71.9 64.4",
                "Llama-3.1-8B": "75.2 81.4 76.3 65.1",
                "Hammer2.0-7B": "74.0 74.1 68.5 58.4",
            },
        ),
    },
    "bfcl": {
        "all": _table(
            _BFCL,
            _BFCL_FIGURES,
            {
                "CoALM 8B": "54.11 85.17 78.61 72.59 7.00 77.78 83.00",
                "CoALM 70B": "60.49 82.94 81.36 72.19 26.25 72.22 85.36",
                "CoALM 405B": "63.34 90.46 84.75 74.59 28.25 100.00 72.26",
                "Llama-3.1-8B": "49.84 84.25 79.75 60.33 10.25 75.61 47.92",
                "GPT-4o": "59.83 70.08 60.79 76.41 34.62 51.22 87.34",
            },
        ),
    },
    "multiwoz": {
        "all": _table(
            _MULTIWOZ,
            "success, jga fuzzy",
            {
                "CoALM 8B": "51.6 30.4",
                "CoALM 70B": "69.4 43.8",
                "CoALM 405B": "66.7 38.8",
                "Hammer2.0-7B": "23.5 21.7",
                "ToolACE": "18.0 34.4",
                "Llama-3.1-8B": "19.9 26.3",
                "Llama-3.3-70B": "67.6 40.8",
                "FnCTOD": "44.4 37.9",
                "GPT-4o-mini": "69.9 38.4",
                "GPT-4o": "75.5 36.9",
            },
        ),
    },
}
"""Task to group to its published table."""
