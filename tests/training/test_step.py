"""One step: how a batch is cut up changes nothing, and what goes wrong is located."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from training_toys import ToyModel, rows_batch

from polysense.core.batch import Batch
from polysense.errors import TrainingError
from polysense.training.distributed import Distributed
from polysense.training.optim import sort_parameters
from polysense.training.optimizers import SGDConfig
from polysense.training.schedule import ConstantConfig
from polysense.training.step import Step


def make_step(model: ToyModel, **changed: Any) -> Step:
    config = SGDConfig(lr=0.1)
    settings: dict[str, Any] = {
        "peak_lr": config.lr,
        "clip_norm": None,
        "precision": torch.float32,
        "seed": 0,
        "device": torch.device("cpu"),
        "distributed": Distributed(),
    }
    optimizer = config.build(sort_parameters(config, model))
    return Step(model, model, optimizer, ConstantConfig(warmup=0.0).build(10), **(settings | changed))


def split(rows: Sequence[int], cuts: Sequence[int], **kwargs: Any) -> list[Batch]:
    return [rows_batch(part, **kwargs) for part in np.split(np.array(rows), cuts) if len(part)]


def weights_after(batches: Sequence[Batch], **changed: Any) -> tuple[dict[str, Tensor], Tensor]:
    model = ToyModel(dropout=0.0)
    seen = make_step(model, **changed)(batches, 0, 0, 0)
    return {name: p.detach() for name, p in model.named_parameters()}, seen


@settings(max_examples=25)
@given(rows=st.lists(st.integers(0, 500), min_size=1, max_size=24), data=st.data(), clip=st.sampled_from([None, 0.1]))
def test_cutting_a_batch_up_changes_nothing(rows: list[int], data: st.DataObject, clip: float | None) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    whole, seen = weights_after(split(rows, []), clip_norm=clip)
    pieces, seen_pieces = weights_after(split(rows, cuts), clip_norm=clip)
    torch.testing.assert_close(seen, seen_pieces, rtol=1e-5, atol=1e-5)
    for name in whole:
        torch.testing.assert_close(whole[name], pieces[name], rtol=0, atol=1e-6)


def test_it_is_the_weighted_mean_over_all_rows() -> None:
    batch = rows_batch(np.arange(12))
    model = ToyModel(dropout=0.0)
    losses = {name: (loss.total.sum(), loss.count.sum()) for name, loss in model(batch).losses.items()}
    (losses["label"][0] / losses["label"][1] + 0.5 * losses["age"][0] / losses["age"][1]).backward()
    expected = {n: p.detach() - 0.1 * p.grad for n, p in model.named_parameters() if p.grad is not None}
    got, seen = weights_after(split(range(12), [5, 6]))
    for name, weight in expected.items():
        torch.testing.assert_close(got[name], weight, rtol=0, atol=1e-6)
    torch.testing.assert_close(seen[:2], torch.stack([losses["label"][0], losses["age"][0]]).detach())
    torch.testing.assert_close(seen[2:4], torch.stack([losses["label"][1], losses["age"][1]]))


def test_a_head_without_targets_is_left_alone() -> None:
    before = ToyModel(dropout=0.0)
    after, seen = weights_after(split(range(8), [4], age_present=False))
    assert torch.equal(after["age.weight"], before.age.weight)
    assert not torch.equal(after["label.weight"], before.label.weight)
    assert all(weight.isfinite().all() for weight in after.values())
    assert seen[3] == 0


def test_no_target_at_all_changes_nothing() -> None:
    model = ToyModel(dropout=0.0)
    model.loss_weights = {"age": 1.0}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_step(model)(split(range(8), [], age_present=False), 0, 0, 0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_gradient_is_clipped_to_its_norm() -> None:
    _, free = weights_after(split(range(8), []), clip_norm=1e9)
    clipped, seen = weights_after(split(range(8), []), clip_norm=0.01)
    assert seen[-1] == free[-1] > 0.01
    start = ToyModel(dropout=0.0)
    moved = torch.cat([(clipped[n] - p).flatten() for n, p in start.named_parameters()]).norm()
    assert moved.item() == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_dropout_depends_on_the_position_alone() -> None:
    def after(epoch: int, step: int, rank: int = 0, noise: int = 0) -> Tensor:
        model = ToyModel(dropout=0.5)
        torch.manual_seed(noise)
        make_step(model, distributed=Distributed(rank=rank))(split(range(8), []), epoch, step, 0)
        return model.body[0].weight.detach()

    first = after(2, 3)
    assert torch.equal(first, after(2, 3, noise=99))
    assert not torch.equal(first, after(2, 4))
    assert not torch.equal(first, after(3, 3))
    assert not torch.equal(first, after(2, 3, rank=1))


def test_a_loss_that_is_not_finite_names_epoch_step_head_and_rows() -> None:
    batch = rows_batch(np.array([11, 22, 33, 44]))
    batch.columns["x"].values[2] = torch.inf
    model = ToyModel()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with pytest.raises(TrainingError, match=r"loss of 'label' is nan in epoch 3, step 5; .* rows 33, of a batch of 4"):
        make_step(model)([rows_batch(np.array([1, 2])), batch], 2, 4, 0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_gradient_that_is_not_finite_stops_before_the_update() -> None:
    model = ToyModel(dropout=0.0)
    model.label.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = model.label.weight.detach().clone()
    with pytest.raises(
        TrainingError, match=r"the gradient is (nan|inf) in epoch 1, step 1; the batch held rows 0, 1, 2"
    ):
        make_step(model, clip_norm=1.0)(split(range(3), []), 0, 0, 0)
    assert torch.equal(model.label.weight, before)


def test_augmentation_gets_each_micro_batch_and_the_epoch() -> None:
    seen: list[tuple[list[int], int]] = []

    def augment(batch: Batch, epoch: int) -> Batch:
        assert not torch.is_grad_enabled()
        seen.append((batch.rows.tolist(), epoch))
        return rows_batch(batch.rows.numpy() + 100)

    _, augmented = weights_after(split(range(6), [2]), augment=augment)
    _, other = weights_after(split(range(100, 106), [2]))
    assert seen == [([0, 1], 0), ([2, 3, 4, 5], 0)]
    assert torch.equal(augmented[:2], other[:2]), "the model saw the augmented rows"


def test_losses_are_divided_by_what_augmentation_leaves_to_count() -> None:
    def fewer(batch: Batch, epoch: int) -> Batch:
        keep = batch.rows % 2 == 0
        targets = {name: truth.masked(keep) for name, truth in batch.truths.items()}
        return dataclasses.replace(batch, truths=targets)

    model, other = ToyModel(dropout=0.0), ToyModel(dropout=0.0)
    augmented = make_step(model, augment=fewer)(split(range(8), [3]), 0, 0, 0)
    expected = make_step(other)([fewer(batch, 0) for batch in split(range(8), [3])], 0, 0, 0)
    assert torch.equal(augmented, expected)
    assert (
        augmented[len(model.loss_weights)]
        < make_step(ToyModel())(split(range(8), [3]), 0, 0, 0)[len(model.loss_weights)]
    )


def test_bfloat16_trains_close_to_float32() -> None:
    full, seen = weights_after(split(range(16), []))
    half, seen_half = weights_after(split(range(16), []), precision=torch.bfloat16)
    assert half["body.0.weight"].dtype == torch.float32
    torch.testing.assert_close(seen, seen_half, rtol=0.03, atol=0.03)
    assert not torch.equal(full["body.0.weight"], half["body.0.weight"])
