"""Trees and packed rows give the losses and gradients of samples computed one by one."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from coalm.chat_template import load_tokenizer
from coalm.train.attention import prepare_for_trees
from coalm.train.batches import LAYOUTS, Batch, forest_batch, padded_batch
from coalm.train.dataset import Labels, TrainingSample
from coalm.train.loss import target_losses
from coalm.train.model import TrainedModel

Gradients = dict[str, Tensor]


def random_group(chance: random.Random, vocabulary: int = 300) -> list[TrainingSample]:
    """Samples that branch off each other anywhere, also in and right before a learned token."""
    sequences: list[list[int]] = []
    for _ in range(chance.randint(1, 7)):
        trunk = chance.choice(sequences) if sequences and chance.random() < 0.85 else []
        kept = trunk[: chance.randint(0, len(trunk))]
        sequences.append(kept + [chance.randrange(vocabulary) for _ in range(chance.randint(1, 9))])
        if chance.random() < 0.15:
            sequences.append(list(sequences[-1]))
    return [sample(sequence, chance) for sequence in sequences if len(sequence) > 1]


def sample(sequence: Sequence[int], chance: random.Random) -> TrainingSample:
    learned = torch.tensor([chance.random() < 0.4 for _ in sequence])
    learned[0], learned[-1] = False, True
    return TrainingSample(
        Labels("a", "file", "LA", "a"), torch.tensor(sequence, dtype=torch.int32), learned
    )


def loss_and_gradients(model: TrainedModel, batch: Batch) -> tuple[float, Gradients]:
    model.zero_grad()
    loss = target_losses(model, batch).sum()
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), found


def one_by_one(model: TrainedModel, group: Sequence[TrainingSample]) -> tuple[float, Gradients]:
    """Samples alone, in rows of their own, with no mask, no positions and nothing shared."""
    total, added = 0.0, Gradients()
    for one in group:
        loss, found = loss_and_gradients(model, padded_batch([one]))
        total += loss
        added = {name: added.get(name, 0) + gradient for name, gradient in found.items()}
    return total, added


def distance(one: Gradients, other: Gradients) -> float:
    """The largest difference in any tensor, against the largest number in that tensor."""
    assert one.keys() == other.keys()
    largest = max(gradient.abs().max() for gradient in other.values())
    return max(
        # what ought to be 0 is measured against the others
        ((one[name] - gradient).abs().max() / gradient.abs().max().clamp_min(1e-3 * largest)).item()
        for name, gradient in other.items()
    )


def precise(path: Path) -> PreTrainedModel:
    """A model in float64 throughout; that of transformers rounds its norms to float32."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    for layer in list(model.modules()):
        for name, norm in layer.named_children():
            if isinstance(norm, LlamaRMSNorm):
                exact = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, dtype=torch.float64)
                exact.weight.data = norm.weight.data
                setattr(layer, name, exact)
    return model.train()


def prepared(path: Path, attention: str | None = None) -> PreTrainedModel:
    model = precise(path)
    prepare_for_trees(model, asked=attention, longest=99)
    return model


def with_adapter(model: PreTrainedModel) -> TrainedModel:
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls transformers by an older name
        return get_peft_model(model, lora)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> PreTrainedModel:
    return prepared(tiny_model)


@pytest.mark.parametrize("layout", ["tree", "packed"])
def test_two_hundred_random_groups(model: PreTrainedModel, layout: str) -> None:
    chance = random.Random(1)
    shared = 0
    for _ in range(200):
        group = random_group(chance) or [sample([1, 2], chance)]
        batch = LAYOUTS[layout](group)
        shared += batch.tokens - batch.token_ids.numel()
        expected, wanted = one_by_one(model, group)
        loss, found = loss_and_gradients(model, batch)
        assert loss == pytest.approx(expected, rel=1e-9)
        assert distance(found, wanted) < 1e-9
    assert (shared > 1000) == (layout == "tree")


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize(
    ("attention", "exact"),
    [(None, 1e-9), ("sdpa", 1e-9), ("eager", 1e-5)],  # eager rounds its weights to float32
)
def test_every_way_to_train(
    tiny_model: Path, attention: str | None, exact: float, checkpointing: bool, adapter: bool
) -> None:
    base = prepared(tiny_model, attention)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers 5 renames it
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
    model = with_adapter(base) if adapter else base
    chance = random.Random(2)
    for _ in range(5):
        group = random_group(chance)
        expected, wanted = one_by_one(model, group)
        for layout in ("tree", "packed", "padded"):
            loss, found = loss_and_gradients(model, LAYOUTS[layout](group))
            assert loss == pytest.approx(expected, rel=exact)
            assert distance(found, wanted) < exact


def test_a_mask_serves_models_without_our_kernel(tiny_model: Path) -> None:
    """As on a GPU with `sdpa`: a mask of all pairs."""
    model = precise(tiny_model)
    assert model.config._attn_implementation == "sdpa"
    group = random_group(random.Random(5))
    loss, found = loss_and_gradients(model, forest_batch(group))
    expected, wanted = one_by_one(model, group)
    assert loss == pytest.approx(expected, rel=1e-9)
    assert distance(found, wanted) < 1e-9


def seen_too_much(batch: Batch) -> Batch:
    """Every column sees all before it, those of its siblings, too."""
    width = batch.token_ids.shape[1]
    chains = tuple(chain._replace(path=((0, chain.last),)) for chain in batch.chains)
    return batch._replace(ends=torch.full((width,), width), chains=chains)


def seen_too_little(batch: Batch) -> Batch:
    """The first ancestor of every line is not seen."""
    assert batch.ends is not None
    ends = batch.ends.clone()
    ends[0] = 1
    chains = [
        chain._replace(path=tuple((max(1, a), b) for a, b in chain.path)) if chain.first else chain
        for chain in batch.chains
    ]
    return batch._replace(ends=ends, chains=tuple(chains))


def wrong_positions(batch: Batch) -> Batch:
    return batch._replace(positions=torch.arange(batch.token_ids.shape[1])[None])


def one_position_off(batch: Batch) -> Batch:
    assert batch.positions is not None
    positions = batch.positions.clone()
    positions[0, -3:] += 1
    return batch._replace(positions=positions)


def each_target_once(batch: Batch) -> Batch:
    """Targets that samples share lose their weight."""
    places = list(zip(batch.columns.tolist(), batch.targets.tolist(), strict=True))
    kept = [place for place, what in enumerate(places) if what not in places[:place]]
    assert len(kept) < len(places)
    return batch._replace(
        rows=batch.rows[kept], columns=batch.columns[kept], targets=batch.targets[kept]
    )


def wrong_column(batch: Batch) -> Batch:
    return batch._replace(columns=(batch.columns - 1).clamp_min(0))


@pytest.mark.parametrize("attention", [None, "eager"])
@pytest.mark.parametrize(
    "damage",
    [
        *(seen_too_much, seen_too_little, wrong_positions, one_position_off),
        *(each_target_once, wrong_column),
    ],
)
def test_damage_is_seen(
    tiny_model: Path, damage: Callable[[Batch], Batch], attention: str | None
) -> None:
    model = prepared(tiny_model, attention)
    chance = random.Random(3)
    trunk = [chance.randrange(300) for _ in range(12)]
    group = [sample([*trunk[:kept], kept, 7, kept], chance) for kept in (12, 9, 9, 4)]
    batch = forest_batch(group)
    expected, wanted = one_by_one(model, group)
    assert distance(loss_and_gradients(model, batch)[1], wanted) < 1e-5
    loss, found = loss_and_gradients(model, damage(batch))
    assert loss != pytest.approx(expected, rel=1e-4)
    assert distance(found, wanted) > 1e-3


@pytest.mark.model
def test_smollm2(smollm2: Path) -> None:
    """Exactly in double precision; in single precision with no more noise than samples alone."""
    chance = random.Random(4)
    encode = load_tokenizer(smollm2).encode
    start = encode("The user asks, the assistant answers in one word.")
    texts = ("Is it open?", "Is it far?", "Is it far from the station?", "Which one is the best?")
    group = [sample(start + encode(text), chance) for text in texts]

    def measure(base: PreTrainedModel) -> tuple[float, Gradients, float, Gradients]:
        prepare_for_trees(base, asked=None, longest=99)
        model = with_adapter(base)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data *= 0.01  # a trained adapter is small; a large random one is chaotic
        alone = one_by_one(model, group)
        return (*alone, *loss_and_gradients(model, forest_batch(group)))

    true_loss, truth, loss, found = measure(precise(smollm2))
    assert loss == pytest.approx(true_loss, rel=1e-9)
    assert distance(found, truth) < 1e-9
    single = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    alone_loss, alone, loss, found = measure(single)
    assert loss == pytest.approx(alone_loss, rel=1e-5)
    # how much single precision loses differs between processors
    noise = distance(alone, truth)
    assert distance(found, truth) < max(1e-5, 3 * noise)
