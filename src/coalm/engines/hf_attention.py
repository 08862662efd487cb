"""Attention over packed rows: one forward pass computes the new tokens of many sequences at once.

All new tokens lie one after the other in a single row; only attention, which is given to
transformers under a name of its own, knows where a sequence ends. The sequences that get one token
each, as answers do, attend all at once: in one product to the ends that are their own, in one for
each trunk to what some of them share, and with one softmax over it all. Query heads that share a
key head are folded into the rows of a product, and the products are plain ones: on a CPU in
bfloat16 that takes half the time of torch's fused attention, and a tenth of what it takes with
repeated keys.

Sizes are rounded up: on a CPU torch makes a program for every size of a product, and keeps a
thousand of them, which takes more memory than a small model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import AttentionInterface

from coalm.engines.hf_cache import TAIL, Strip, Tails, Trunk, rounded
from coalm.errors import EngineError

_NAME = "coalm_packed"
_BLOCK = 64
"""New tokens that attend at once; the first ones of larger blocks look at more keys in vain."""
_ROWS = 16
"""Rows of products are a multiple of this, if they are more."""
_LENGTH_DEPENDENT = {"dynamic", "longrope"}
"""Position codes that change with the longest sequence of a forward pass."""


class _Branch(NamedTuple):
    """Neighbours among the singles that go through one trunk."""

    singles: slice
    trunk: Trunk
    tokens: list[int]
    """How many of its tokens each looks at."""
    columns: slice
    """Where their scores are, one for every token that is read."""

    @property
    def width(self) -> int:
        """Tokens that are read."""
        return self.columns.stop - self.columns.start


class _Packed:
    """The sequences of one forward pass, in the order in which their new tokens lie in the row.

    First come the singles, which get one new token in their row of the tails, those of one trunk
    next to each other; then the others.
    """

    def __init__(self, strips: Sequence[Strip], counts: Sequence[int]) -> None:
        places = [
            (count > 1 or strip.is_rooting, _trunk_ids(strip.parts))
            for strip, count in zip(strips, counts, strict=True)
        ]
        self.order = sorted(range(len(strips)), key=places.__getitem__)
        """Where each of them was given."""
        self.strips = [strips[at] for at in self.order]
        self.counts = [counts[at] for at in self.order]
        """New tokens of each."""
        self.singles = self.strips[: sum(not has_more for has_more, _ in places)]
        self.layers: set[int] = set()
        """Layers that have attended."""
        self._kept: dict[tuple[Any, ...], Any] = {}

    @property
    def starts(self) -> list[int]:
        """Tokens that were there before."""
        return [len(strip.ids) for strip in self.strips]

    @cached_property
    def longest(self) -> int:
        """Most tokens that a single looks at."""
        return max((len(strip.ids) + 1 for strip in self.singles), default=0)

    @cached_property
    def branches(self) -> list[_Branch]:
        """The singles trunk by trunk, those at the beginning of sequences first."""
        paths = [strip.parts for strip in self.singles]
        found: list[_Branch] = []
        ends = [0] * len(paths)  # of each one's columns so far
        for level in range(max(map(len, paths), default=0)):
            keys = [_trunk_ids(path[: level + 1]) for path in paths]
            for key, group in itertools.groupby(range(len(paths)), keys.__getitem__):
                if len(key) <= level:
                    continue
                places = [*group]
                here = slice(places[0], places[-1] + 1)
                trunk, _ = paths[places[0]][level]
                tokens = [paths[at][level][1] for at in places]
                start = ends[places[0]]
                end = start + rounded(max(tokens))
                found.append(_Branch(here, trunk, tokens, slice(start, end)))
                ends[here] = [end] * len(places)
        return found

    @cached_property
    def trunk_width(self) -> int:
        """Columns of scores for tokens in trunks."""
        return max((branch.columns.stop for branch in self.branches), default=0)

    @cached_property
    def own_width(self) -> int:
        """Tokens that are read in every row."""
        return min(TAIL, rounded(max(strip.own for strip in self.singles) + 1))

    @property
    def width(self) -> int:
        """Columns of scores: tokens in trunks, then those in rows."""
        return self.trunk_width + self.own_width

    @cached_property
    def highest(self) -> int:
        """The last row of a single."""
        return max(strip.row for strip in self.singles)

    def places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows of the singles, and the columns of their new tokens."""

        def make() -> tuple[Tensor, Tensor]:
            rows = [strip.row for strip in self.singles]
            columns = [strip.own for strip in self.singles]
            return torch.tensor(rows, device=device), torch.tensor(columns, device=device)

        return self._once(("places", device), make)

    def mask(self, like: Tensor) -> Tensor:
        """What singles look at: 0 or minus infinity, [singles, 1, 1, width]."""

        def make() -> Tensor:
            mask = torch.full((len(self.singles), self.width), -torch.inf, dtype=like.dtype)
            for branch in self.branches:
                for row, tokens in zip(mask[branch.singles], branch.tokens, strict=True):
                    row[branch.columns][:tokens] = 0
            for row, strip in zip(mask, self.singles, strict=True):
                row[self.trunk_width :][: strip.own + 1] = 0
            return mask.to(like.device)[:, None, None]

        return self._once(("mask", like.device), make)

    def causal(
        self, rows: int, columns: int, before: int, window: int | None, like: Tensor
    ) -> Tensor:
        """What tokens may look at: 0 or minus infinity, [rows, columns].

        The first of the tokens is in column `before`; each looks at itself and at those before it,
        as far as the window reaches.
        """

        def make() -> Tensor:
            allowed = torch.ones(rows, columns, dtype=torch.bool, device=like.device).tril(before)
            if window is not None:
                allowed = allowed.triu(before + 1 - window)
            mask = torch.zeros_like(allowed, dtype=like.dtype)
            return mask.masked_fill_(~allowed, -torch.inf)

        return self._once(("causal", rows, columns, before, window, like.device), make)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What all layers need alike."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def _trunk_ids(path: Sequence[tuple[Trunk, int]]) -> list[int]:
    return [id(trunk) for trunk, _ in path]


def use_packed_attention(model: Any) -> None:
    """Prepare a model for `forward`, and try it.

    Raises:
        EngineError: the model has layers that keep something else than keys and values, or its
            attention cannot be replaced.
    """
    name = f"{model.name_or_path} ({model.config.model_type})"
    config = model.config.get_text_config()
    if kinds := _position_codes(config) & _LENGTH_DEPENDENT:
        raise _unusable(name, f"its position codes ({kinds.pop()}) depend on the longest prompt")
    AttentionInterface.register(_NAME, _attend)
    try:
        model.set_attn_implementation(_NAME)
        trial = _Packed([Strip(0, Tails(1))], [1])
        _run(model, trial, [[0]], [0])
    except (TypeError, ValueError, NotImplementedError) as e:
        raise _unusable(name, str(e).strip().partition("\n")[0]) from e
    if len(trial.layers) != config.num_hidden_layers:
        found = f"{len(trial.layers)} of its {config.num_hidden_layers} layers attend as it expects"
        raise _unusable(name, found)


def _position_codes(config: Any) -> set[str]:
    """Kinds of rotary position codes of a model; some have one for each kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    return {str(one.get("rope_type")) for one in (rope, *rope.values()) if isinstance(one, dict)}


def _unusable(name: str, reason: str) -> EngineError:
    return EngineError(f"the hf engine cannot run {name}: {reason}; use the engine VLLM or OPENAI")


def forward(
    model: Any, strips: Sequence[Strip], tokens: Sequence[Sequence[int]], ends: Sequence[int]
) -> Tensor:
    """Compute new tokens of some sequences; their strips hold them afterwards.

    Args:
        model: Prepared by `use_packed_attention`.
        strips: One for each sequence, all of one pool.
        tokens: New tokens of each, at least one, and no more than its strip has room for.
        ends: Places of the sequences whose next token is asked for.

    Returns:
        Scores [ends, vocabulary] in float32.
    """
    logits = _run(model, _Packed(strips, [len(new) for new in tokens]), tokens, ends)
    for strip, new in zip(strips, tokens, strict=True):
        strip.extend(new)
    return logits


@torch.inference_mode()
def _run(
    model: Any, packed: _Packed, tokens: Sequence[Sequence[int]], ends: Sequence[int]
) -> Tensor:
    positions = [range(s, s + n) for s, n in zip(packed.starts, packed.counts, strict=True)]
    last = dict(zip(packed.order, itertools.accumulate(packed.counts), strict=True))
    row = [*itertools.chain.from_iterable(tokens[at] for at in packed.order)]
    blank = [0] * (_rounded_rows(len(row)) - len(row))
    ids = torch.tensor([row + blank], device=model.device)
    output = model(
        input_ids=ids,
        position_ids=torch.tensor([[*itertools.chain(*positions), *blank]]).to(ids.device),
        use_cache=False,
        logits_to_keep=torch.tensor([last[end] - 1 for end in ends], dtype=torch.long),
        packed=packed,
    )
    return output.logits[0].float()


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: _Packed,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: query [1, heads, new, size] to [1, new, heads, size]."""
    for name in ("softcap", "s_aux"):
        if options.get(name) is not None:
            raise NotImplementedError(f"its attention has {name}")
    layer = module.layer_idx
    packed.layers.add(layer)
    scale: float = query.shape[-1] ** -0.5 if scaling is None else scaling
    new = (query[0] * scale, key[0], value[0])
    singles = len(packed.singles)
    if sliding_window is not None and packed.longest > sliding_window:
        singles = 0  # each has a window of its own
    seen: list[Tensor] = []
    if singles:
        query, key, value = (part[:, :singles] for part in new)
        seen.append(_attend_singles(query, key, value, packed, layer))
    ends = [*itertools.accumulate(packed.counts)]
    others = (part[:, singles : ends[-1]].split(packed.counts[singles:], 1) for part in new)
    for strip, query, keys, values in zip(packed.strips[singles:], *others, strict=True):
        strip.write(layer, keys, values)
        keys, values = strip.read(layer, len(strip.ids) + keys.shape[1])
        seen.append(_attend_one(query, keys, values, packed, sliding_window))
    if blank := new[0].shape[1] - ends[-1]:
        seen.append(seen[0].new_zeros(len(seen[0]), blank, seen[0].shape[2]))
    return torch.cat(seen, dim=1).transpose(0, 1)[None], None


def _attend_singles(
    query: Tensor, key: Tensor, value: Tensor, packed: _Packed, layer: int
) -> Tensor:
    """One new token each: query, key and value [heads, singles, size] to [heads, singles, size]."""
    groups, count, size = key.shape
    tails, (rows, columns) = packed.singles[0].tails, packed.places(key.device)
    tails.write_each(layer, rows, columns, key.transpose(0, 1), value.transpose(0, 1))
    keys, values = tails.read_first(layer, packed.highest + 1, packed.own_width)
    queries = query.view(groups, -1, count, size).permute(2, 0, 1, 3)  # [singles, groups, ...]
    scores = query.new_zeros(*queries.shape[:3], packed.width)
    trunks = [branch.trunk.read(layer, branch.width) for branch in packed.branches]
    for branch, (near, _) in zip(packed.branches, trunks, strict=True):
        scores[branch.singles, ..., branch.columns] = _score_trunk(queries[branch.singles], near)
    scores[..., packed.trunk_width :] = _score_rows(queries, keys, rows)
    shares = scores.add_(packed.mask(scores)).softmax(-1)
    seen = _see_rows(shares[..., packed.trunk_width :], values, rows)
    for branch, (_, near) in zip(packed.branches, trunks, strict=True):
        seen[branch.singles] += _see_trunk(shares[branch.singles, ..., branch.columns], near)
    return seen.permute(1, 2, 0, 3).flatten(0, 1)


# Keys come first in the products for scores: torch would copy a part of them that is turned.


def _score_trunk(queries: Tensor, keys: Tensor) -> Tensor:
    """Queries [singles, groups, heads, size] and keys [groups, width, size]: one row for each."""
    count, groups, heads, size = queries.shape
    rows = queries.permute(1, 3, 0, 2).reshape(groups, size, -1)
    return torch.bmm(keys, rows).view(groups, -1, count, heads).permute(2, 0, 3, 1)


def _see_trunk(shares: Tensor, values: Tensor) -> Tensor:
    """Shares [singles, groups, heads, width] of values [groups, width, size]."""
    count, groups, heads, width = shares.shape
    rows = shares.transpose(0, 1).reshape(groups, -1, width)
    return torch.bmm(rows, values).view(groups, count, heads, -1).transpose(0, 1)


# Rows of no single are computed in vain: to leave them out would be to copy the others.


def _score_rows(queries: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """Queries [singles, groups, heads, size] and keys [rows, groups, width, size]."""
    every = queries.new_zeros(len(keys), *queries.shape[1:]).index_copy_(0, rows, queries)
    scores = torch.bmm(keys.flatten(0, 1), every.flatten(0, 1).transpose(1, 2))
    return scores.view(*keys.shape[:3], -1)[rows].transpose(2, 3)


def _see_rows(shares: Tensor, values: Tensor, rows: Tensor) -> Tensor:
    """Shares [singles, groups, heads, width] of values [rows, groups, width, size]."""
    every = shares.new_zeros(len(values), *shares.shape[1:]).index_copy_(0, rows, shares)
    seen = torch.bmm(every.flatten(0, 1), values.flatten(0, 1))
    return seen.view(*every.shape[:3], -1)[rows]


def _attend_one(
    query: Tensor, keys: Tensor, values: Tensor, packed: _Packed, window: int | None
) -> Tensor:
    """One sequence: its last tokens, query [heads, new, size], look at all of it.

    Keys are [key heads, all, size], values [key heads, all, value size]; returns
    [heads, new, value size].
    """
    heads, new, size = query.shape
    groups, total = keys.shape[:2]
    keys, values = (F.pad(part, (0, 0, 0, -total % _BLOCK)) for part in (keys, values))
    parts: list[Tensor] = []
    for first in range(0, new, _BLOCK):
        count = min(_BLOCK, new - first)
        rows = -(-count // _ROWS) * _ROWS
        start = total - new + first  # of the block among all tokens
        begin = 0 if window is None else max(0, start + 1 - window)
        width = -(-(start + count) // _BLOCK) * _BLOCK - begin
        block = F.pad(query.narrow(1, first, count), (0, 0, 0, rows - count))
        # contiguous before it is turned: torch would copy it turned, which is slow
        near = keys.narrow(1, begin, width).contiguous()
        scores = torch.bmm(block.reshape(groups, -1, size), near.transpose(1, 2))
        unmasked = start if window is None else begin
        mask = packed.causal(rows, begin + width - unmasked, start - unmasked, window, scores)
        scores.view(heads, rows, -1)[:, :, unmasked - begin :] += mask
        found = torch.bmm(torch.softmax(scores, dim=-1), values.narrow(1, begin, width))
        parts.append(found.view(heads, rows, -1)[:, :count])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _rounded_rows(rows: int) -> int:
    return rows if rows < _ROWS else -(-rows // _ROWS) * _ROWS
