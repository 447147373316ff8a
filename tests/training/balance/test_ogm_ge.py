"""OGM-GE: the coefficients of the paper, at the encoders' gradients alone, alike however a batch is cut up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from balance_toys import NAMES, make_model, make_trainer, rows_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polysense.core.batch import Batch
from polysense.errors import ConfigError
from polysense.nn.model import MultimodalModel
from polysense.nn.objectives.unimodal import UnimodalHeads
from polysense.training.balance import build_balance
from polysense.training.balance.base import Balance
from polysense.training.balance.ogm_ge import OGMGEConfig, coefficients
from polysense.training.distributed import Distributed
from polysense.training.optimizers import SGDConfig


def made(model: MultimodalModel, **config: Any) -> Balance:
    balance = build_balance(
        OGMGEConfig(**config), model, {}, distributed=Distributed(), device=torch.device("cpu"), seed=0, epochs=9
    )
    assert balance is not None
    return balance


def test_coefficients_of_two_columns() -> None:
    # Mean scores 0.8 and 0.4: the first is ahead by a factor of 2.
    found = coefficients(torch.tensor([8.0, 2.0]), torch.tensor([10.0, 5.0]), 0.3)
    assert found.tolist() == pytest.approx([1 - math.tanh(0.6), 1.0])


def test_coefficients_of_three_columns_compare_with_the_mean_of_the_others() -> None:
    found = coefficients(torch.tensor([0.6, 0.5, 0.1]), torch.ones(3), 0.5)
    assert found.tolist() == pytest.approx([1 - math.tanh(0.5 * 0.6 / 0.3), 1 - math.tanh(0.5 * 0.5 / 0.35), 1.0])


def test_columns_alike_are_left_alone_and_so_is_one_without_company() -> None:
    assert coefficients(torch.tensor([0.7, 0.7]), torch.ones(2), 2.0).tolist() == [1.0, 1.0]
    assert coefficients(torch.tensor([0.7, 0.0]), torch.tensor([1.0, 0.0]), 2.0).tolist() == [1.0, 1.0]
    assert coefficients(torch.zeros(2), torch.zeros(2), 2.0).tolist() == [1.0, 1.0]
    # A column that no row has is not among the others either.
    found = coefficients(torch.tensor([0.8, 0.4, 0.0]), torch.tensor([1.0, 1.0, 0.0]), 0.3)
    assert found.tolist() == pytest.approx([1 - math.tanh(0.6), 1.0, 1.0])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=2, max_size=5), st.floats(0, 4))
def test_coefficients_lie_between_0_and_1_and_the_weakest_is_free(rows: list[tuple[float, int]], alpha: float) -> None:
    totals = torch.tensor([score * count for score, count in rows])
    counts = torch.tensor([float(count) for _, count in rows])
    found = coefficients(totals, counts, alpha)
    assert bool(((found >= 0) & (found <= 1)).all())
    seen = [i for i, (_, count) in enumerate(rows) if count]
    if seen:
        assert found[min(seen, key=lambda i: float(totals[i] / counts[i]))] == 1
    if alpha == 0:
        assert bool((found == 1).all())


def gradients(model: MultimodalModel, batches: list[Batch], balance: Balance | None) -> dict[str, Tensor]:
    model.zero_grad()
    for batch in batches:
        losses = model(batch).losses
        if balance is not None:
            balance.observe(losses, batch, 0)
        sum(loss.total.sum() for loss in losses.values()).backward()  # type: ignore[union-attr]
    if balance is not None:
        balance.adjust(0, 0)
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@torch.inference_mode()
def scores(model: MultimodalModel, batch: Batch) -> list[float]:
    """Each column's mean score, spelled out."""
    fused = model.fused(batch)
    objective = model.by_objective()["unimodal"]
    assert isinstance(objective, UnimodalHeads)
    heads, found = objective.by_column(), []
    for name in NAMES:
        label, size = batch.truths["label"], batch.truths["size"]
        here = batch.columns[name].present
        by_itself = {
            t: heads[t][name].read(fused.unimodal(name), model.context(batch)).values for t in ("label", "size")
        }
        right = by_itself["label"].softmax(1)[torch.arange(len(batch)), label.values]
        close = torch.exp(-((by_itself["size"] - size.values)[:, 0] ** 2))
        weights = [1.0 * batch.weights * (label.present & here), 0.5 * batch.weights * (size.present & here)]
        total = (right * weights[0]).sum() + (torch.where(size.present, close, 0.0) * weights[1]).sum()
        found.append(float(total / (weights[0].sum() + weights[1].sum())))
    return found


def test_only_encoders_are_scaled_and_by_the_paper_s_factor() -> None:
    model, batch = make_model(dropout=0.0).train(), rows_batch(np.arange(24))
    plain = gradients(model, [batch], None)
    scaled = gradients(model, [batch], made(model, noise=False, alpha=0.5))
    means = scores(model, batch)
    factors = {}
    for i, name in enumerate(NAMES):
        others = sum(mean for j, mean in enumerate(means) if j != i) / 2
        ratio = means[i] / others
        factors[name] = 1 - math.tanh(0.5 * ratio) if ratio > 1 else 1.0
    assert min(factors.values()) < 1
    for key, gradient in plain.items():
        factor = factors[NAMES[int(key.split(".")[1])]] if key.startswith("encoders.") else 1.0
        torch.testing.assert_close(scaled[key], gradient * factor, rtol=1e-5, atol=1e-8)


def test_a_batch_cut_up_gets_the_same_factors() -> None:
    model = make_model(dropout=0.0).train()
    whole = gradients(model, [rows_batch(np.arange(20))], made(model))
    pieces = gradients(model, [rows_batch(np.arange(7)), rows_batch(np.arange(7, 20))], made(model))
    for name in whole:
        torch.testing.assert_close(whole[name], pieces[name], rtol=1e-4, atol=1e-6)


def test_noise_has_each_gradient_s_own_deviation_and_depends_on_the_step_alone() -> None:
    model, batch = make_model(dropout=0.0, width=64).train(), rows_batch(np.arange(24))
    plain = gradients(model, [batch], None)
    noisy = gradients(model, [batch], made(model, alpha=0.0))
    torch.manual_seed(5)
    again = gradients(model, [batch], made(model, alpha=0.0))
    for name, gradient in plain.items():
        added = noisy[name] - gradient
        if name.startswith("encoders.") and gradient.ndim > 1:
            assert float(added.std() / gradient.std()) == pytest.approx(1.0, abs=0.25)
        else:
            assert not added.any()
        assert torch.equal(noisy[name], again[name])
    balance = made(model, alpha=0.0)
    gradients(model, [batch], None)
    balance.adjust(0, 1)
    later = {n: p.grad for n, p in model.named_parameters()}
    assert any(not torch.equal(later[n], noisy[n]) for n in plain)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [{"alpha": 0.0}, {"alpha": 1.0, "start_epoch": 5}])
def test_without_effect_it_changes_no_bit(tmp_path: Path, config: dict[str, Any]) -> None:
    without, frozen = make_model(), make_model()
    make_trainer(tmp_path / "a", without, None).fit()
    make_trainer(tmp_path / "b", frozen, OGMGEConfig(noise=False, **config)).fit()
    for name, value in without.state_dict().items():
        assert torch.equal(value, frozen.state_dict()[name]), name


def test_it_acts_in_its_epochs_and_says_so(tmp_path: Path) -> None:
    result = make_trainer(
        tmp_path, make_model(), OGMGEConfig(alpha=0.5, start_epoch=2, end_epoch=3), optimizer=SGDConfig(lr=0.2)
    ).fit()
    logged = [record["balance"] for record in result.history]
    assert logged[0] == logged[3] == dict.fromkeys(NAMES, 1.0)
    for means in logged[1:3]:
        assert min(means.values()) < 1
        assert all(0 < mean <= 1 for mean in means.values())
    assert logged[2]["clear"] < 0.7, "the easy column is ahead"


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.objectives\.unimodal"):
        make_trainer(tmp_path, make_model(objectives={}), OGMGEConfig())


@pytest.mark.parametrize("wrong", [{"alpha": -0.1}, {"start_epoch": 0}, {"start_epoch": 3, "end_epoch": 2}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{list(wrong)[-1]} must be"):
        OGMGEConfig(**wrong)


def test_the_optimizer_gets_what_was_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaling happens before the update: with alpha so large that the factor is 0, the leader's encoder stays."""
    model = make_model(dropout=0.0, names=("clear", "noise"))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    zero: list[bool] = []
    real = torch.optim.Optimizer.zero_grad

    def spy(self: torch.optim.Optimizer) -> None:
        zero.append(not any(p.grad.any() for p in model.encoders[0].parameters() if p.grad is not None))
        real(self)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", spy)
    make_trainer(
        tmp_path, model, OGMGEConfig(alpha=1e6, noise=False), optimizer=SGDConfig(lr=0.1, momentum=0.0), epochs=1
    ).fit()
    assert any(zero)
    assert any(not torch.equal(value, start[name]) for name, value in model.state_dict().items())
