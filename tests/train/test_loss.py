"""The loss at chosen positions against the loss that transformers computes over all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from coalm.train.batches import padded_batch
from coalm.train.dataset import Labels, TrainingSample
from coalm.train.loss import SkillTotals, cross_entropies, target_losses


def sample(token_ids: list[int], trainable: list[int], skill: str = "LA") -> TrainingSample:
    mask = torch.tensor([index in trainable for index in range(len(token_ids))])
    return TrainingSample(
        Labels("a", "file", skill, "a"), torch.tensor(token_ids, dtype=torch.int32), mask
    )


SAMPLES = [
    sample([5, 17, 80, 3, 44, 9, 200, 31], [3, 4, 5, 7]),
    sample([5, 90, 2, 2], [1], "TOD"),
    sample([7, 8, 9, 10, 11, 12], [5], "TOD"),
]


@pytest.fixture
def model(tiny_model: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64)


def full_logits_losses(model: PreTrainedModel) -> torch.Tensor:
    """Every sample alone, logits everywhere, the prediction of each target picked by hand."""
    losses = []
    for sample in SAMPLES:
        token_ids = sample.token_ids.long()
        scores = model(input_ids=token_ids[None]).logits[0].log_softmax(-1)
        losses += [-scores[at - 1, token_ids[at]] for at in sample.trainable.nonzero().flatten()]
    return torch.stack(losses)


def test_losses_equal_those_of_full_logits(model: PreTrainedModel) -> None:
    ours = target_losses(model, padded_batch(SAMPLES))
    torch.testing.assert_close(ours, full_logits_losses(model), rtol=1e-12, atol=1e-12)


def test_the_mean_equals_the_loss_of_transformers(model: PreTrainedModel) -> None:
    batch = padded_batch(SAMPLES)
    labels = torch.full_like(batch.token_ids, -100)
    labels[batch.rows, batch.columns + 1] = batch.targets
    lengths = torch.tensor([[len(sample.token_ids)] for sample in SAMPLES])
    mask = (torch.arange(batch.token_ids.shape[1]) < lengths).long()
    theirs = model(input_ids=batch.token_ids, attention_mask=mask, labels=labels).loss
    # transformers rounds the logits to float32 for its loss
    assert target_losses(model, batch).mean().item() == pytest.approx(theirs.item(), rel=1e-6)


def test_gradients_equal_those_of_full_logits(model: PreTrainedModel) -> None:
    full_logits_losses(model).mean().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    target_losses(model, padded_batch(SAMPLES)).mean().backward()
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_logits_are_computed_at_targets_only(model: PreTrainedModel) -> None:
    seen = []
    head = model.get_output_embeddings()
    assert head is not None
    head.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    target_losses(model, padded_batch(SAMPLES))
    model(input_ids=torch.tensor([[1, 2, 3]]))  # afterwards the model is itself again
    vocabulary = model.config.vocab_size
    assert seen == [(6, vocabulary), (1, 3, vocabulary)]


def test_padding_changes_nothing(model: PreTrainedModel) -> None:
    together = target_losses(model, padded_batch(SAMPLES))
    alone = torch.cat([target_losses(model, padded_batch([one])) for one in SAMPLES])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_totals_by_skill(model: PreTrainedModel) -> None:
    totals = SkillTotals()
    losses = torch.tensor([1.0, 2.0, 3.0, 6.0, 10.0, 20.0])
    totals.add(losses, padded_batch(SAMPLES))
    totals.add(torch.tensor([30.0]), padded_batch([SAMPLES[1]]))
    assert totals.targets == 7
    assert totals.mean() == pytest.approx(72 / 7)
    assert totals.mean_by_skill() == {"LA": 3.0, "TOD": 20.0}


def test_half_precision_logits_give_single_precision_losses(model: PreTrainedModel) -> None:
    losses = target_losses(model.to(torch.bfloat16), padded_batch(SAMPLES))
    assert losses.dtype == torch.float32


def test_many_targets_give_the_losses_and_gradients_of_torch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(600, 40, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(40, (600,))
    weights = torch.rand(600, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (wanted,) = torch.autograd.grad((expected * weights).sum(), logits)
    found = cross_entropies(logits, targets)
    (gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-15)
    assert gradient.data_ptr() == logits.data_ptr()  # no second block of the vocabulary's size


def test_logits_that_are_still_needed_are_not_lost_in_silence() -> None:
    logits = torch.randn(6, 40, requires_grad=True).tanh()  # which keeps its result
    losses = cross_entropies(logits, torch.arange(6))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        losses.sum().backward()
    again = cross_entropies(torch.randn(6, 40, requires_grad=True), torch.arange(6)).sum()
    again.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        again.backward()
