"""Choosing the next tokens, row by row with each row's own random numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from coalm.engines.base import SamplingParams

_RANKED = 1024
"""Tokens that `top_p` looks at first; to sort a whole vocabulary takes a CPU as long as a small
model takes to compute it."""


def choose(scores: Tensor, params: SamplingParams, numbers: Sequence[random.Random]) -> list[int]:
    """The next token of each row of scores [rows, vocabulary]."""
    if params.temperature:
        return _draw(scores, params, numbers)
    return scores.argmax(dim=-1).tolist()


def _draw(scores: Tensor, params: SamplingParams, numbers: Sequence[random.Random]) -> list[int]:
    probabilities = torch.softmax(scores.double() / params.temperature, dim=-1)
    likely, tokens = _likely_first(probabilities, params.top_p)
    below = likely.cumsum(dim=-1)
    last = likely.shape[-1] - 1
    top_p = torch.full_like(below[:, :1], params.top_p)
    kept = below.gather(-1, torch.searchsorted(below, top_p).clamp(max=last))
    drawn = [[row.random()] for row in numbers]
    point = torch.tensor(drawn, dtype=below.dtype, device=below.device) * kept
    place = torch.searchsorted(below, point, right=True).clamp(max=last)
    return tokens.gather(-1, place)[:, 0].tolist()


def _likely_first(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities and their tokens, in the order in which `top_p` takes them."""
    count = probabilities.shape[-1]
    if top_p == 1.0:
        tokens = torch.arange(count, device=probabilities.device)
        return probabilities, tokens.expand_as(probabilities)
    likely, tokens = probabilities.topk(min(_RANKED, count), dim=-1)
    if bool((likely.sum(dim=-1) < top_p).any()):
        return probabilities.sort(dim=-1, descending=True, stable=True)
    return likely, tokens
