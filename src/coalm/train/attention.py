"""How a model is made to see a row of prefix trees: each token itself and its ancestors.

Three ways that give the same numbers:

- a mask for every pair of columns, which any model takes that takes a mask at all;
- a block mask for FlexAttention, which on a GPU skips the blocks in which nothing is seen;
- chain by chain, where the machine has no GPU: each line of the tree attends to the path it ends.
  Nothing is computed for pairs that do not see each other, which for a dialogue is most of them.
"""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from coalm.errors import ConfigError
from coalm.train.batches import Batch
from coalm.train.model import TrainedModel
from coalm.train.prefix_tree import Chain, Run

BY_CHAINS = "coalm_chains"
"""Name of our own kernel among those of transformers."""
_BLOCK = 128
"""Columns that attend at once; the first of a longer block would look at more keys in vain."""
_FLEX = "flex_attention"
_ATTENTION = {"full_attention", "sliding_attention"}
"""Kinds of layers in which a token sees others through attention and through nothing else."""


def prepare_for_trees(
    model: TrainedModel, *, asked: str | None, longest: int, device: torch.device | None = None
) -> None:
    """Choose how `model` is to see rows of trees.

    Args:
        model: what is to be trained.
        asked: `model.attn_implementation`. None takes FlexAttention on a GPU; `sdpa` takes a mask
            there. Without a GPU both go chain by chain.
        longest: tokens of the longest sample.
        device: where it computes, if its weights are kept elsewhere.

    Raises:
        ConfigError: the model passes something from token to token that no mask stops, or the
            kernel takes no mask.
    """
    base = base_model_of(model)
    _require_positions(base)
    _require_full_attention(base, longest)
    on_gpu = (device or base.device).type == "cuda"
    chosen = asked or (_FLEX if on_gpu else "sdpa")
    if chosen not in ("sdpa", "eager", _FLEX):
        raise ConfigError(
            f"model.attn_implementation: {chosen} takes no mask, which training.batching: tree and "
            f"packed need; leave the key out, or choose sdpa, eager or {_FLEX}"
        )
    if chosen == "sdpa" and not on_gpu:
        AttentionInterface.register(BY_CHAINS, attend_by_chains)
        AttentionMaskInterface.register(BY_CHAINS, _no_mask)
        chosen = BY_CHAINS
    base.set_attn_implementation(chosen)


def seen_as_trees(model: TrainedModel, batch: Batch) -> dict[str, Any]:
    """What the model is given beside token ids, so that it sees `batch` as it is laid out."""
    if batch.ends is None:
        return {}
    base = base_model_of(model)
    kind = base.config._attn_implementation
    if kind == BY_CHAINS:
        seen: dict[str, Any] = {"chains": batch.chains}
    elif kind == _FLEX:
        seen = {"attention_mask": block_mask(batch.ends)}
    elif kind == "eager":  # it adds its mask to the scores
        seen = {"attention_mask": visible(batch.ends)[None, None].to(base.dtype).log()}
    else:
        seen = {"attention_mask": visible(batch.ends)[None, None]}
    return {"position_ids": batch.positions, **seen}


def base_model_of(model: TrainedModel) -> PreTrainedModel:
    """The model itself, below an adapter."""
    return (
        model
        if isinstance(model, PreTrainedModel)
        else cast("PreTrainedModel", model.get_base_model())
    )


def visible(ends: Tensor) -> Tensor:
    """Whether a column (first dimension) sees another (second): bool [columns, columns]."""
    numbers = torch.arange(len(ends), device=ends.device)
    return (numbers <= numbers[:, None]) & (numbers[:, None] < ends)


def block_mask(ends: Tensor) -> Any:
    """The same as FlexAttention takes it, [1, 1, columns, columns] in blocks."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < ends[key])

    return create_block_mask(sees, 1, None, len(ends), len(ends), device=str(ends.device))


def attend_by_chains(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    chains: tuple[Chain, ...] = (),
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of every chain to its own path; without chains, of every column to all before it.

    Args:
        module: the layer; transformers hands it to every kernel.
        query: [rows, heads, columns, size].
        key: [rows, key heads, columns, size].
        value: like `key`.
        attention_mask: never given, see `_no_mask`.
        dropout: share of the attention weights that are set to 0.
        scaling: factor of the scores.
        chains: how the columns of the one row hang together.

    Returns:
        [rows, columns, heads, size], and no weights.
    """
    columns = query.shape[2]
    parts = []
    for chain in chains or (Chain(0, columns, ((0, columns),)),):
        own = query[:, :, chain.first : chain.last]
        parts.append(
            _attend(own, _along(chain.path, key), _along(chain.path, value), dropout, scaling)
        )
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None
) -> Tensor:
    """The last columns of a path to the whole of it, each to those before.

    Query heads that share a key head are folded into the rows of plain products: in bfloat16 a CPU
    is two to three times faster with them than with torch's fused attention, and as precise as
    transformers' `eager`.
    """
    rows, heads, length, size = query.shape
    groups, path = key.shape[1:3]
    keys, values = key.flatten(0, 1), value.flatten(0, 1)
    query = query * (size**-0.5 if scaling is None else scaling)
    seen: list[Tensor] = []
    for first in range(0, length, _BLOCK):
        own = query[:, :, first : first + _BLOCK]
        new, end = own.shape[2], path - length + first + own.shape[2]
        scores = torch.bmm(own.reshape(rows * groups, -1, size), keys[:, :end].transpose(1, 2))
        later = torch.full((new, new), -torch.inf, dtype=scores.dtype).triu_(1)
        scores.view(len(keys), -1, new, end)[..., end - new :] += later
        shares = nn.functional.dropout(scores.softmax(-1), dropout)
        seen.append(torch.bmm(shares, values[:, :end]).view(rows, heads, new, -1))
    return torch.cat(seen, dim=2)


def _along(path: tuple[Run, ...], tensor: Tensor) -> Tensor:
    # Slices rather than an index: their gradients are added up much faster.
    return torch.cat([tensor[:, :, start:stop] for start, stop in path], dim=2)


def _no_mask(**_: Any) -> None:
    """Chains say what is seen, and padding on the right needs no mask."""


def _require_positions(model: PreTrainedModel) -> None:
    stateful = getattr(model, "_is_stateful", False)
    takes = inspect.signature(model.forward).parameters
    if stateful or not {"position_ids", "attention_mask"} <= takes.keys():
        raise _unsuited(model, "is not told what a token sees by a mask and positions")


def _require_full_attention(model: PreTrainedModel, longest: int) -> None:
    config = model.config.get_text_config()
    kinds = set(cast("list[str]", getattr(config, "layer_types", None) or ())) - _ATTENTION
    if kinds:
        raise _unsuited(model, f"has layers of the kind {', '.join(sorted(kinds))}")
    window = getattr(config, "sliding_window", None)
    if window and longest > window:
        raise _unsuited(model, f"sees {window} tokens back, and a sample has {longest}")


def _unsuited(model: PreTrainedModel, fault: str) -> ConfigError:
    return ConfigError(
        f"training.batching: {model.name_or_path} {fault}; set training.batching=padded"
    )
