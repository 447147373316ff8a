"""What balances columns within the model: each is exactly nothing at a weight of 0, and what it claims above."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.schema import Schema
from polysense.core.tokens import Tokens
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.absence import some_columns, stand_in
from polysense.nn.fusion.base import FusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.fusion.late import LateFusionConfig
from polysense.nn.model import ModelConfig, MultimodalModel
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.multilabel.heads.multilabel import MultilabelHeadConfig
from polysense.tasks.regression.heads.regression import RegressionHeadConfig


def build(
    schema: Schema,
    *,
    unimodal_loss: float = 0.0,
    ranking_loss: float = 0.0,
    missing: str = "masked",
    fusion: FusionConfig | None = None,
) -> MultimodalModel:
    torch.manual_seed(0)
    return ModelConfig(
        width=32,
        encoders={
            "photo": ResNetConfig(channels=4),
            "speech": AudioCNNConfig(channels=4, num_mels=32),
            "note.of day": TextTransformerConfig(num_layers=1),
            "age": NumberMLPConfig(hidden=8),
            "type": CategoryEmbeddingConfig(size=4),
        },
        fusion=GatedFusionConfig() if fusion is None else fusion,
        heads={
            "label": ClassificationHeadConfig(),
            "tags": MultilabelHeadConfig(hidden=8),
            "size": RegressionHeadConfig(),
        },
        unimodal_loss=unimodal_loss,
        ranking_loss=ranking_loss,
        missing=missing,  # type: ignore[arg-type]
    ).build(schema)


def trained(model: MultimodalModel, batch: Batch, seed: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The outputs of a forward in training, and each parameter's gradient."""
    model.zero_grad()
    torch.manual_seed(seed)
    outputs = model.train()(batch)
    sum(loss.total for loss in model.losses(outputs, batch).values()).backward()  # type: ignore[union-attr]
    return outputs, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# --- the ranking loss ------------------------------------------------------------------------------------------------


def test_a_ranking_loss_of_weight_0_changes_no_bit(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    without, ranked, batch = build(schema), build(schema, ranking_loss=0.5), make_batch()
    assert all(torch.equal(v, ranked.state_dict()[k]) for k, v in without.state_dict().items())
    outputs, gradients = trained(without, batch)
    with_subset, _ = trained(ranked, batch)
    # The subset is drawn and read last, so the rest of the forward is the same.
    assert set(with_subset) == {*outputs, *(f"{name}\0some columns" for name in outputs)}
    assert all(torch.equal(value, with_subset[name]) for name, value in outputs.items())
    ranked.ranking_loss = 0.0
    weightless, same = trained(ranked, batch)
    assert set(weightless) == set(outputs)
    assert all(torch.equal(gradient, same[name]) for name, gradient in gradients.items())


def test_the_hinge_counts_only_rows_that_more_columns_make_worse(
    schema: Schema, make_batch: Callable[..., Batch]
) -> None:
    model, batch = build(schema, ranking_loss=0.5).train(), make_batch()
    batch = dataclasses.replace(batch, weights=torch.tensor([1.0, 2.0, 0.5, 1.5]))
    values = batch.targets["label"].values
    right, wrong = (torch.nn.functional.one_hot(values, 3).float() * scale for scale in (4.0, -4.0))
    outputs, _ = trained(model, batch)
    plain = {name: output for name, output in outputs.items() if "\0" not in name} | {"label": right}
    joint = model.losses(plain, batch)["label"].total
    better = model.losses(plain | {"label\0some columns": wrong}, batch)["label"].total
    assert torch.equal(better, joint), "a full loss below the subset's costs nothing"
    mixed = torch.where(torch.tensor([True, False, True, False])[:, None], right, wrong)
    plain["label"] = mixed
    joint = model.losses(plain, batch)["label"].total
    worse = model.losses(plain | {"label\0some columns": right}, batch)["label"].total
    each = torch.nn.functional.cross_entropy(wrong, values, reduction="none")
    each = each - torch.nn.functional.cross_entropy(right, values, reduction="none")
    torch.testing.assert_close(worse - joint, 0.5 * (2.0 * each[1] + 1.5 * each[3]))


PRESENCE = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8)


@given(PRESENCE, st.integers(0, 2**31))
def test_a_subset_is_neither_empty_nor_all_where_there_is_a_choice(presence: list[list[bool]], seed: int) -> None:
    before = torch.tensor(presence)
    tokens = {
        name: Tokens(torch.ones(len(before), 2, 4), before[:, i, None] & torch.tensor([True, i == 0]), (2,))
        for i, name in enumerate("abc")
    }
    torch.manual_seed(seed)
    after = torch.stack([column.present for column in some_columns(tokens).values()], dim=1)
    assert not bool((after & ~before).any()), "nothing appears"
    there, kept = before.sum(dim=1), after.sum(dim=1)
    assert torch.equal(kept[there < 2], there[there < 2])
    assert bool((kept[there >= 2] >= 1).all())
    assert bool((kept[there >= 2] < there[there >= 2]).all())


def test_every_size_of_a_subset_and_every_column_occurs() -> None:
    tokens = {name: Tokens(torch.ones(3000, 1, 2), torch.ones(3000, 1, dtype=torch.bool), (1,)) for name in "abc"}
    torch.manual_seed(0)
    kept = torch.stack([column.present for column in some_columns(tokens).values()], dim=1)
    sizes = kept.sum(dim=1).bincount(minlength=4) / 3000
    # Four standard errors of a share of a half are 0.037.
    assert sizes.tolist() == pytest.approx([0.0, 0.5, 0.5, 0.0], abs=0.037)
    assert kept.float().mean(dim=0).tolist() == pytest.approx([0.5, 0.5, 0.5], abs=0.037)


# --- learned tokens of missing columns -------------------------------------------------------------------------------


def test_with_nothing_missing_learned_tokens_change_no_bit(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    masked, learned, batch = build(schema), build(schema, missing="learned"), make_batch()
    assert all(torch.equal(v, learned.state_dict()[k]) for k, v in masked.state_dict().items())
    outputs, gradients = trained(masked, batch)
    same_outputs, same_gradients = trained(learned, batch)
    assert all(torch.equal(value, same_outputs[name]) for name, value in outputs.items())
    assert all(torch.equal(gradient, same_gradients[name]) for name, gradient in gradients.items())
    for model in (masked, learned):
        model.eval()
    assert all(torch.equal(value, learned(batch)[name]) for name, value in masked(batch).items())


@pytest.mark.parametrize("absent", ["photo", "age"])
@pytest.mark.parametrize("from_all", [True, False])
def test_a_learned_token_learns_only_from_rows_that_lack_its_column(
    schema: Schema, make_batch: Callable[..., Batch], absent: str, from_all: bool
) -> None:
    model, batch = build(schema, missing="learned"), make_batch()
    keep = torch.tensor([not from_all, False, not from_all, not from_all])
    columns = {n: c.masked(keep) if n == absent else c for n, c in batch.columns.items()}
    _, gradients = trained(model, dataclasses.replace(batch, columns=columns))
    for index, name in enumerate(schema.names):
        assert bool(gradients[f"missing.{index}"].any()) == (name == absent), name
    _, gradients = trained(model, batch)
    assert not any(gradients[f"missing.{index}"].any() for index in range(len(schema.names)))


def test_a_token_stands_in_once_and_only_where_all_is_absent() -> None:
    tokens = Tokens(torch.zeros(3, 2, 4), torch.tensor([[True, True], [False, True], [False, False]]), (2,))
    stood_in = stand_in(tokens, torch.arange(4.0))
    assert stood_in.mask.tolist() == [[True, True], [False, True], [True, False]]
    assert not stood_in.values[:2].any()
    assert stood_in.values[2, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


# --- each loss apart -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", [GatedFusionConfig(), LateFusionConfig(weights="gate")])
def test_the_loss_is_the_weighted_sum_of_the_losses_apart(
    schema: Schema, make_batch: Callable[..., Batch], fusion: FusionConfig
) -> None:
    model, batch = build(schema, unimodal_loss=0.5, fusion=fusion).train(), make_batch()
    keep = torch.tensor([True, False, True, True])
    batch = dataclasses.replace(
        batch, columns={n: c.masked(keep) if n == "photo" else c for n, c in batch.columns.items()}
    ).only([name for name in batch.columns if name != "age"])
    assert model.loss_weights is not None
    model.loss_weights.copy_(torch.tensor([0.9, 0.1, 0.2, 0.3, 0.4, 0.5]))
    with torch.no_grad():
        outputs = model(batch)
        apart, together = model.own_losses(outputs, batch), model.losses(outputs, batch)
    for name, parts in apart.items():
        assert len(parts) == 1 + len(schema.names)
        total = sum(weight * part.total for weight, part in zip(model.loss_weights, parts, strict=True))
        torch.testing.assert_close(total, together[name].total)
        assert torch.equal(parts[0].count, together[name].count)
        assert float(parts[1].count) == (6.0 if name == "size" else 3.0), "three rows have a photo"
        assert float(parts[4].count) == float(parts[4].total) == 0.0, "no row has an age"


def test_outputs_apart_in_evaluation_hold_the_predictions(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(schema, unimodal_loss=0.5).eval(), make_batch()
    apart, plain = model.own_outputs(batch), model(batch)
    assert all(torch.equal(value, apart[name]) for name, value in plain.items())
    assert len(apart) == len(plain) * (1 + len(schema.names))
    assert all(torch.equal(value, model.own_outputs(batch)[name]) for name, value in apart.items())


def test_scores_are_probabilities_of_what_is_right(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(schema, unimodal_loss=0.5).eval(), make_batch()
    keep = torch.tensor([True, False, True, True])
    batch = dataclasses.replace(
        batch, columns={n: c.masked(keep) if n == "photo" else c for n, c in batch.columns.items()}
    ).only([name for name in batch.columns if name != "age"])
    outputs = model.own_outputs(batch)
    totals, counts = model.own_scores(outputs, batch)
    assert counts.tolist() == [9.0, 12.0, 12.0, 0.0, 12.0], "of three targets, and three rows have a photo"
    label = outputs["label\0photo"].softmax(1)[torch.arange(4), batch.targets["label"].values]
    tags, wanted = outputs["tags\0photo"].sigmoid(), batch.targets["tags"].values
    tags = torch.where(wanted > 0, tags, 1 - tags).prod(dim=1).sqrt()  # the geometric mean over two labels
    size = batch.targets["size"].values
    squares = (outputs["size\0photo"] - (size - torch.tensor([10.0, -5.0])) / torch.tensor([2.0, 4.0])) ** 2
    numbers = torch.exp(-squares.mean(dim=1))
    torch.testing.assert_close(totals[0], ((label + tags + numbers) * keep).sum())
    assert bool((totals[counts > 0] <= counts[counts > 0]).all())
