"""Weights of linear layers in the order in which a CPU multiplies them.

For every product of bfloat16 oneDNN puts the weights in blocks first, which takes as long as to
multiply them with the tokens of a decoding step. The blocks do not depend on the tokens: they are
made once here, in place of the weights, through the operators that torch's own compiler uses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_TOKENS = 32
"""Tokens of one product that the blocks are chosen for; others are multiplied as they are."""


class _BlockedLinear(nn.Module):
    """A linear layer that cannot be trained, saved or moved."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.data, _TOKENS)
        self._bias = linear.bias

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(
            tokens, self._weight, self._bias, "none", [], None
        )


@torch.inference_mode()
def block_weights(model: Any) -> None:
    """Block the bfloat16 linear layers of a model on the CPU; do nothing where torch cannot.

    A weight that is also the table of embeddings stays, as both would take memory.
    """
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    for parent in [*model.modules()]:
        for name, layer in [*parent.named_children()]:
            if type(layer) is nn.Linear and _is_blockable(layer.weight, tables):
                setattr(parent, name, _BlockedLinear(layer))


def _is_blockable(weight: Tensor, tables: set[int]) -> bool:
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return on_cpu and id(weight) not in tables
