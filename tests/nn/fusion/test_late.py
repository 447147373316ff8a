"""Decision-level fusion: votes of the columns' own heads."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from polysense.core.batch import Batch, ColumnBatch, TargetBatch
from polysense.core.modality import Task
from polysense.core.schema import Schema, Target
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.ensemble import EnsembleFusionConfig
from polysense.nn.fusion.late import LateFusionConfig
from polysense.nn.model import ModelConfig, MultimodalModel
from polysense.nn.votes import fit_votes
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.regression.heads.regression import RegressionHeadConfig

NAMES = ("a", "b", "c")


def schema(names: tuple[str, ...] = NAMES, task: Task = Task.CLASSIFICATION) -> Schema:
    classes = ("x", "y", "z") if task is Task.CLASSIFICATION else ()
    return Schema(
        columns=tuple(NumberColumn(name=n, mean=0.0, std=1.0) for n in names),
        targets=(
            Target(
                name="label",
                task=task,
                columns=("label",),
                classes=classes,
                class_counts=(1,) * len(classes),
                num_rows=3,
                mean=(1.0,),
                std=(2.0,),
            ),
        ),
    )


def build(
    fusion: Any, names: tuple[str, ...] = NAMES, task: Task = Task.CLASSIFICATION, **model: Any
) -> MultimodalModel:
    torch.manual_seed(0)
    head: Any = (
        ClassificationHeadConfig(dropout=0.0) if task is Task.CLASSIFICATION else RegressionHeadConfig(dropout=0.0)
    )
    return ModelConfig(
        width=16,
        encoders={name: NumberMLPConfig(hidden=8) for name in names},
        fusion=fusion,
        heads={"label": head},
        **model,
    ).build(schema(names, task))


def numbers(rows: int = 8, names: tuple[str, ...] = NAMES, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    columns = {
        name: ColumnBatch(
            values=torch.randn(rows, 1, 1, generator=generator), lengths=torch.ones(rows, 1, dtype=torch.int64)
        )
        for name in names
    }
    target = TargetBatch(
        values=torch.randint(0, 3, (rows,), generator=generator), present=torch.ones(rows, dtype=torch.bool)
    )
    return Batch(rows=torch.arange(rows), columns=columns, targets={"label": target})


def without(batch: Batch, name: str) -> Batch:
    return batch.only([n for n in batch.columns if n != name])


@pytest.mark.parametrize("weights", ["uniform", "validation"])
def test_the_decision_is_a_softmax_of_weighted_logits(weights: Any) -> None:
    model, batch = build(LateFusionConfig(weights=weights)).eval(), numbers()
    if weights == "validation":
        model.fusion.set_votes(torch.tensor([0.2, 0.0, 1.5]))
    votes = [1 / 3] * 3 if weights == "uniform" else [0.2, 0.0, 1.5]
    logits, _ = model.expert_outputs(batch)
    expected = sum(vote * logits["label"][:, i] for i, vote in enumerate(votes))
    torch.testing.assert_close(model(batch)["label"], expected)
    # Each expert is a model of its column alone: nothing of another column reaches it.
    other = numbers(seed=1)
    changed = dataclasses.replace(batch, columns={**batch.columns, "b": other.columns["b"]})
    torch.testing.assert_close(model.expert_outputs(changed)[0]["label"][:, 0], logits["label"][:, 0])


@pytest.mark.parametrize("weights", ["uniform", "learned", "gate", "validation"])
@pytest.mark.parametrize("joint", [None, ConcatFusionConfig()])
def test_an_absent_column_has_no_vote_and_nothing_is_finite(weights: Any, joint: Any) -> None:
    model, batch = build(LateFusionConfig(weights=weights, joint=joint)), numbers()
    model.eval()
    fused = model.fusion(model.encode(without(batch, "b")))
    assert (fused.votes[:, 1] == 0).all()
    assert (fused.votes.sum(dim=1) > 0).all()
    if weights != "validation":
        torch.testing.assert_close(fused.votes.sum(dim=1), torch.ones(8))
    nothing = batch.only([])
    assert model(nothing)["label"].isfinite().all()
    model.train()
    loss = model.losses(model(nothing), nothing)["label"].total + model.losses(model(batch), batch)["label"].total
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_probabilities_are_averaged_in_an_ensemble() -> None:
    model, batch = build(EnsembleFusionConfig()).eval(), numbers()
    logits, _ = model.expert_outputs(batch)
    mean = logits["label"].softmax(dim=-1).mean(dim=1)
    torch.testing.assert_close(model.predict(batch)["label"].probabilities, mean)
    two = model.predict(without(batch, "b"))["label"].probabilities
    torch.testing.assert_close(two, logits["label"][:, [0, 2]].softmax(dim=-1).mean(dim=1))


def test_an_ensembles_regression_is_the_mean_of_its_members() -> None:
    model, batch = build(EnsembleFusionConfig(), task=Task.REGRESSION).eval(), numbers()
    values, _ = model.expert_outputs(batch)
    expected = values["label"].mean(dim=1) * 2.0 + 1.0
    torch.testing.assert_close(model.predict(batch)["label"].values, expected)


def test_an_ensembles_members_are_trained_as_if_alone() -> None:
    """Each encoder's gradient equals that of a model of its column alone with the same weights."""
    model, batch = build(EnsembleFusionConfig()).train(), numbers()
    model.losses(model(batch), batch)["label"].total.backward()
    for index, name in enumerate(NAMES):
        alone = build(EnsembleFusionConfig(), (name,)).train()
        alone.encoders[0].load_state_dict(model.encoders[index].state_dict())
        alone.fusion.norms[0].load_state_dict(model.fusion.norms[index].state_dict())
        alone.unimodal_heads[0].load_state_dict(model.unimodal_heads[index].state_dict())
        only = batch.only([name])
        alone.losses(alone(only), only)["label"].total.backward()
        for one, other in zip(model.encoders[index].parameters(), alone.encoders[0].parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


def test_gated_votes_depend_on_the_row_and_learned_ones_do_not() -> None:
    for weights, varies in (("gate", True), ("learned", False)):
        model, batch = build(LateFusionConfig(weights=weights)).eval(), numbers()
        votes = model.fusion(model.encode(batch)).votes
        assert bool((votes.std(dim=0) > 1e-6).any()) is varies


def _told_by_one(rows: int, seed: int) -> Batch:
    """Rows whose label is told by column a; b and c are noise."""
    batch = numbers(rows, seed=seed)
    labels = (batch.columns["a"].values[:, 0, 0] > 0).long()
    return dataclasses.replace(
        batch, targets={"label": TargetBatch(values=labels, present=torch.ones(rows, dtype=torch.bool))}
    )


@pytest.mark.parametrize("joint", [None, ConcatFusionConfig(dropout=0.0)])
def test_fitted_votes_trust_the_expert_that_is_right_where_it_was_not_trained(joint: Any) -> None:
    model = build(LateFusionConfig(weights="validation", joint=joint), unimodal_loss=0.5)
    train = _told_by_one(64, seed=1)
    # Column b's head learns its rows' labels by heart, as if they were its own doing.
    leaked = dataclasses.replace(
        train, columns={**train.columns, "b": dataclasses.replace(train.columns["b"], values=train.columns["a"].values)}
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        model.losses(model(leaked), leaked)["label"].total.backward()
        optimizer.step()
    model.eval()
    held_out = _told_by_one(256, seed=2)
    votes = fit_votes(model, [held_out])
    assert votes[0] > 4 * votes[1]
    accuracy = (model.predict(held_out)["label"].values == held_out.targets["label"].values).float().mean()
    assert accuracy > 0.95
    assert torch.equal(votes, model.fusion.fitted)
    assert torch.equal(votes, fit_votes(model, [held_out]))


def test_few_rows_hardly_move_the_votes() -> None:
    model = build(LateFusionConfig(weights="validation", joint=ConcatFusionConfig()), unimodal_loss=0.5).eval()
    prior = model.fusion.prior()
    torch.testing.assert_close(fit_votes(model, []), prior)
    votes = fit_votes(model, [_told_by_one(1, seed=3)])
    torch.testing.assert_close(votes, prior, atol=0.7, rtol=0)


def test_with_votes_fitted_afterwards_training_is_that_of_the_joint_fusion() -> None:
    """Only what is combined afterwards differs: losses and gradients of the joint fusion with unimodal losses."""
    batch = numbers()
    late = build(LateFusionConfig(weights="validation", joint=ConcatFusionConfig(dropout=0.0)), unimodal_loss=0.5)
    plain = build(ConcatFusionConfig(dropout=0.0), unimodal_loss=0.5)
    weights = {
        name.replace("fusion.project", "fusion.joint.project"): value for name, value in plain.state_dict().items()
    }
    missing, unexpected = late.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert set(missing) == {"fusion.fitted", "fusion.joint.nothing"}
    losses = [m.train().losses(m(batch), batch)["label"].total for m in (late, plain)]
    assert losses[0].item() == losses[1].item()
    torch.testing.assert_close(late.eval()(batch)["label"], plain.eval()(batch)["label"])


def test_a_row_weight_counts_in_the_fit() -> None:
    model = build(LateFusionConfig(weights="validation")).eval()
    batch = numbers(32)
    weighted = dataclasses.replace(batch, weights=torch.cat([torch.ones(16), torch.zeros(16)]))
    first = dataclasses.replace(
        batch,
        rows=batch.rows[:16],
        columns={n: ColumnBatch(values=c.values[:16], lengths=c.lengths[:16]) for n, c in batch.columns.items()},
        targets={
            "label": TargetBatch(values=batch.targets["label"].values[:16], present=torch.ones(16, dtype=torch.bool))
        },
        weights=torch.ones(16),
    )
    torch.testing.assert_close(fit_votes(model, [weighted]), fit_votes(model, [first]), atol=1e-3, rtol=1e-3)
