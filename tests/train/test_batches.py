"""Layout of samples for one forward pass."""

from __future__ import annotations

import torch

from coalm.train.batches import padded_batch
from coalm.train.dataset import Labels, TrainingSample


def sample(token_ids: list[int], trainable: list[bool]) -> TrainingSample:
    return TrainingSample(
        Labels("a", "file", "LA", "a"), torch.tensor(token_ids), torch.tensor(trainable)
    )


def test_padded_batch_predicts_each_target_from_the_position_before_it() -> None:
    batch = padded_batch([sample([7, 8, 9], [False, True, True]), sample([5, 6], [False, True])])
    assert batch.token_ids.tolist() == [[7, 8, 9], [5, 6, 0]]
    assert batch.tokens == 5
    places = list(zip(batch.rows.tolist(), batch.columns.tolist(), strict=True))
    assert places == [(0, 0), (0, 1), (1, 0)]
    assert batch.targets.tolist() == [8, 9, 6]
    assert batch.owners.tolist() == [0, 0, 1]
