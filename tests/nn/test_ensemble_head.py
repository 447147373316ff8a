"""Decision-level fusion: experts of single columns, and their weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import scipy.optimize
import torch
from model_helpers import predictions, total
from torch import Tensor

from polysense.config.base import members
from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema, Target
from polysense.errors import ConfigError
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn import ensemble_weights
from polysense.nn.ensemble_head import EnsembleHead, EnsembleHeadConfig, Experts
from polysense.nn.ensemble_weights import fit_ensemble_weights
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.head import HeadConfig, Logits
from polysense.nn.held_out import read_held_out
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget

NAMES = ("a", "b", "c")


def schema(names: tuple[str, ...] = NAMES, task: str = "classification") -> Schema:
    target: Target = RegressionTarget(name="label", columns=("label",), num_rows=3, mean=(1.0,), std=(2.0,))
    if task == "classification":
        target = ClassificationTarget(
            name="label", columns=("label",), classes=("x", "y", "z"), class_counts=(1,) * 3, num_rows=3
        )
    return Schema(
        columns=tuple(NumberColumn(name=n, mean=0.0, std=1.0) for n in names),
        targets=(target,),
    )


def build(
    names: tuple[str, ...] = NAMES, task: str = "classification", *, plain: bool = False, **ensemble: Any
) -> MultimodalModel:
    torch.manual_seed(0)
    head: Any = ClassificationHeadConfig(dropout=0.0) if task == "classification" else RegressionHeadConfig(dropout=0.0)
    objectives: Any = {"unimodal": UnimodalConfig()} if plain else {}
    return ModelConfig(
        width=16,
        encoders={name: NumberMLPConfig(hidden=8) for name in names},
        fusion=ConcatFusionConfig(dropout=0.0),
        heads={"label": head if plain else EnsembleHeadConfig(head=head, **ensemble)},
        objectives=objectives,
    ).build(schema(names, task))


def experts(model: MultimodalModel, batch: Batch) -> Experts:
    output = model(batch).outputs["label"]
    assert isinstance(output, Experts)
    return output


def logits(output: Any) -> Tensor:
    return output.values  # type: ignore[no-any-return]


def head_of(model: MultimodalModel) -> EnsembleHead:
    head = model.head("label")
    assert isinstance(head, EnsembleHead)
    return head


def fitted(model: MultimodalModel, batches: list[Batch]) -> Tensor:
    return torch.tensor(list(fit_ensemble_weights(model, read_held_out(model, batches))["label"].weights.values()))


APART = {"space": "probabilities", "apart": True}


def numbers(rows: int = 8, names: tuple[str, ...] = NAMES, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    columns = {
        name: ColumnBatch(
            values=torch.randn(rows, 1, 1, generator=generator), lengths=torch.ones(rows, 1, dtype=torch.int64)
        )
        for name in names
    }
    target = ValueTruth(
        values=torch.randint(0, 3, (rows,), generator=generator), present=torch.ones(rows, dtype=torch.bool)
    )
    return Batch(rows=torch.arange(rows), columns=columns, truths={"label": target})


def without(batch: Batch, name: str) -> Batch:
    return batch.only([n for n in batch.columns if n != name])


@pytest.mark.parametrize("weights", ["uniform", "validation"])
def test_the_decision_is_a_softmax_of_weighted_logits(weights: Any) -> None:
    model, batch = build(weights=weights).eval(), numbers()
    shares = [1 / 3] * 3 if weights == "uniform" else [0.2, 0.0, 1.5]
    if weights == "validation":
        head_of(model).fitted.copy_(torch.tensor(shares))
    each = experts(model, batch)
    expected = sum(share * logits(one) for share, one in zip(shares, each.each, strict=True))
    torch.testing.assert_close(logits(each.combined), expected)
    # Each expert is a model of its column alone: nothing of another column reaches it.
    other = numbers(seed=1)
    changed = dataclasses.replace(batch, columns={**batch.columns, "b": other.columns["b"]})
    torch.testing.assert_close(logits(experts(model, changed).each[0]), logits(each.each[0]))


def test_the_energy_is_that_of_the_combined_logits() -> None:
    model, batch = build(weights="uniform").eval(), numbers()
    with torch.no_grad():
        output = model(batch, tokens=model.encode(batch)).outputs["label"]
    assert isinstance(output, Experts)
    torch.testing.assert_close(logits(output.combined), logits(experts(model, batch).combined))
    torch.testing.assert_close(head_of(model).energy(output), -logits(output.combined).logsumexp(dim=1))
    # The log of a mean of probabilities has the energy 0 in every row, and a number has no logits.
    assert head_of(model).has_energy
    assert not head_of(build(**APART)).has_energy
    assert not head_of(build(task="regression")).has_energy


@pytest.mark.parametrize("weights", ["uniform", "learned", "gate", "validation"])
@pytest.mark.parametrize("joint", [False, True])
def test_an_absent_column_has_no_weight_and_nothing_is_finite(weights: Any, joint: bool) -> None:
    model, batch = build(weights=weights, joint=joint), numbers()
    model.eval()
    fused, here = model.fused(without(batch, "b")), experts(model, without(batch, "b"))
    shares = head_of(model)._weights(fused, here.present)
    assert (shares[:, 1] == 0).all()
    assert (shares.sum(dim=1) > 0).all()
    if weights != "validation":
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(8))
    nothing = batch.only([])
    assert logits(experts(model, nothing).combined).isfinite().all()
    model.train()
    (total(model, nothing) + total(model, batch)).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_probabilities_are_averaged_in_an_ensemble() -> None:
    model, batch = build(**APART).eval(), numbers()
    each = torch.stack([logits(one) for one in experts(model, batch).each], dim=1)
    torch.testing.assert_close(predictions(model, batch)["label"]["probabilities"], each.softmax(dim=-1).mean(dim=1))
    two = predictions(model, without(batch, "b"))["label"]["probabilities"]
    torch.testing.assert_close(two, each[:, [0, 2]].softmax(dim=-1).mean(dim=1))


def test_an_ensembles_regression_is_the_mean_of_its_members() -> None:
    model, batch = build(task="regression", **APART).eval(), numbers()
    values = torch.stack([logits(one) for one in experts(model, batch).each], dim=1)
    torch.testing.assert_close(predictions(model, batch)["label"]["values"], values.mean(dim=1) * 2.0 + 1.0)


def test_an_ensembles_members_are_trained_as_if_alone() -> None:
    """Each encoder's gradient equals that of a model of its column alone with the same weights."""
    model, batch = build(**APART).train(), numbers()
    assert model.loss_weights["label/loss"] == 0.0
    total(model, batch).backward()
    for index, name in enumerate(NAMES):
        alone = build((name,), **APART).train()
        alone.encoders[0].load_state_dict(model.encoders[index].state_dict())
        alone.fusion.norms[0].load_state_dict(model.fusion.norms[index].state_dict())
        head_of(alone).experts[0].load_state_dict(head_of(model).experts[index].state_dict())
        total(alone, batch.only([name])).backward()
        for one, other in zip(model.encoders[index].parameters(), alone.encoders[0].parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


def test_gated_weights_depend_on_the_row_and_learned_ones_do_not() -> None:
    for weights, varies in (("gate", True), ("learned", False)):
        model, batch = build(weights=weights).eval(), numbers()
        shares = head_of(model)._weights(model.fused(batch), experts(model, batch).present)
        assert bool((shares.std(dim=0) > 1e-6).any()) is varies


def _told_by_one(rows: int, seed: int) -> Batch:
    """Rows whose label is told by column a; b and c are noise."""
    batch = numbers(rows, seed=seed)
    labels = (batch.columns["a"].values[:, 0, 0] > 0).long()
    return dataclasses.replace(
        batch, truths={"label": ValueTruth(values=labels, present=torch.ones(rows, dtype=torch.bool))}
    )


@pytest.mark.parametrize("joint", [False, True])
def test_fitted_weights_trust_the_expert_that_is_right_where_it_was_not_trained(joint: bool) -> None:
    model = build(weights="validation", joint=joint, expert_loss=0.5)
    train = _told_by_one(64, seed=1)
    # Column b's head memorizes its rows' labels, as if they were its own doing.
    leaked = dataclasses.replace(
        train, columns={**train.columns, "b": dataclasses.replace(train.columns["b"], values=train.columns["a"].values)}
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        total(model, leaked).backward()
        optimizer.step()
    model.eval()
    held_out = _told_by_one(256, seed=2)
    weights = fitted(model, [held_out])
    assert weights[0] > 4 * weights[1]
    accuracy = (predictions(model, held_out)["label"]["values"] == held_out.truths["label"].values).float().mean()
    assert accuracy > 0.95
    torch.testing.assert_close(weights, head_of(model).fitted)
    torch.testing.assert_close(weights, fitted(model, [held_out]))


def test_few_rows_hardly_move_the_weights() -> None:
    model = build(weights="validation", joint=True).eval()
    prior = head_of(model).prior()
    torch.testing.assert_close(fitted(model, []), prior)
    torch.testing.assert_close(fitted(model, [_told_by_one(1, seed=3)]), prior, atol=0.7, rtol=0)


def test_many_experts_that_do_not_help_are_dropped_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 80 columns one after another took 300 minimizations, and with 400 half of the time of the whole run."""
    rows, generator = 40, torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (rows,), generator=generator)
    noise = [Logits(torch.randn(rows, 3, generator=generator)) for _ in range(80)]
    good = Logits(2 * torch.nn.functional.one_hot(labels, 3).float() + torch.randn(rows, 3, generator=generator))
    calls: list[object] = []
    minimize = scipy.optimize.minimize
    monkeypatch.setattr(
        scipy.optimize, "minimize", lambda *args, **more: (calls.append(args), minimize(*args, **more))[1]
    )
    head = head_of(build(weights="validation"))
    result = ensemble_weights._fitted(
        head.inner, [*noise, good], torch.ones(rows, 81, dtype=torch.bool),
        ValueTruth(values=labels, present=torch.ones(rows, dtype=torch.bool)), torch.ones(rows),
        torch.tensor([0.0] * 80 + [1.0], dtype=torch.float64), head,
    )  # fmt: skip
    assert len(calls) < 60
    assert result[80] > 0.5
    assert (result[:80] > 0).sum() <= 5  # of 80 that were drawn by chance


def test_with_weights_fitted_afterwards_training_is_that_of_the_fusion() -> None:
    """Only what is combined afterwards differs: the losses of the fusion's head with unimodal losses."""
    batch = numbers()
    late, plain = build(weights="validation", joint=True), build(plain=True)
    weights = {}
    for name, value in plain.state_dict().items():
        name = name.replace("objectives.0.heads.0.", "heads.0.experts.").replace(
            "heads.0.readout", "heads.0.experts.3.readout"
        )
        name = name.replace("heads.0.temperature", "heads.0.experts.3.temperature")
        weights[name] = value
    missing, unexpected = late.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert set(missing) == {"heads.0.fitted"}
    torch.testing.assert_close(total(late.train(), batch), total(plain.train(), batch))
    one, other = (predictions(m.eval(), batch)["label"]["probabilities"] for m in (late, plain))
    torch.testing.assert_close(one, other)


def test_a_row_weight_counts_in_the_fit() -> None:
    model = build(weights="validation").eval()
    batch = numbers(32)
    weighted = dataclasses.replace(batch, weights=torch.cat([torch.ones(16), torch.zeros(16)]))
    first = dataclasses.replace(
        batch,
        rows=batch.rows[:16],
        columns={n: ColumnBatch(values=c.values[:16], lengths=c.lengths[:16]) for n, c in batch.columns.items()},
        truths={"label": batch.truths["label"].rows(slice(0, 16))},
        weights=torch.ones(16),
    )
    torch.testing.assert_close(fitted(model, [weighted]), fitted(model, [first]), atol=1e-3, rtol=1e-3)


HEADS: dict[str, Any] = {
    name: config for name, config in members("head").items() if issubclass(config, HeadConfig) and config.tasks
}


@pytest.mark.parametrize("name", HEADS)
def test_a_column_alone_has_a_head_that_reads_a_summary_or_none(name: str) -> None:
    required = {each.name: "x" for each in dataclasses.fields(HEADS[name]) if each.default is each.default_factory}
    head = HEADS[name](**required)
    if HEADS[name].unimodal:
        assert set(HEADS[name].tasks) <= EnsembleHeadConfig.serves()
        assert EnsembleHeadConfig(head=head).head is head
    else:
        with pytest.raises(ConfigError, match=f"a column alone can't have '{name}', because it reads more than"):
            EnsembleHeadConfig(head=head)
