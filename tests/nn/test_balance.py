"""What balances columns within the model: each is exactly nothing at a weight of 0, and what it claims above."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_helpers import outputs as outputs_of
from model_helpers import totals
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.rows import RowLoss
from polysense.core.schema import Schema
from polysense.core.tokens import Tokens
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.head import HeadConfig, Logits
from polysense.nn.masking import some_columns, stand_in
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.ranking import RankingConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.multilabel.heads.multilabel import MultilabelHeadConfig
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.training.balance.measure import unimodal_scores


def build(
    schema: Schema,
    *,
    unimodal: float = 0.0,
    ranking: float = 0.0,
    missing: str = "masked",
    ensemble: bool = False,
) -> MultimodalModel:
    torch.manual_seed(0)
    label: HeadConfig = ClassificationHeadConfig()
    if ensemble:
        label = EnsembleHeadConfig(head=label, weights="gate")
    return ModelConfig(
        width=32,
        encoders={
            "photo": ResNetConfig(channels=4),
            "speech": AudioCNNConfig(channels=4, num_mels=32),
            "note.of day": TextTransformerConfig(num_layers=1),
            "age": NumberMLPConfig(hidden=8),
            "type": CategoryEmbeddingConfig(size=4),
        },
        fusion=GatedFusionConfig(),
        heads={
            "label": label,
            "tags": MultilabelHeadConfig(hidden=8),
            "size": RegressionHeadConfig(),
        },
        objectives={"unimodal": UnimodalConfig(weight=unimodal), "ranking": RankingConfig(weight=ranking)},
        missing=missing,  # type: ignore[arg-type]
    ).build(schema)


def trained(
    model: MultimodalModel, batch: Batch, names: Sequence[str] | None = None, seed: int = 1
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The losses of a forward in training, and each parameter's gradient of the sum of some."""
    model.zero_grad()
    torch.manual_seed(seed)
    losses = totals(model.train(), batch)
    sum(losses[name] for name in names or losses).backward()  # type: ignore[union-attr]
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# --- the ranking loss ------------------------------------------------------------------------------------------------


def test_a_ranking_loss_changes_no_bit_of_the_rest(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    without, ranked, batch = build(schema), build(schema, ranking=0.5), make_batch()
    assert all(torch.equal(v, ranked.state_dict()[k]) for k, v in without.state_dict().items())
    losses, gradients = trained(without, batch)
    beside, same = trained(ranked, batch, list(losses))
    # The subset is sampled and read last, so the rest of the forward is the same.
    assert set(beside) == {*losses, *(f"ranking/{name}" for name in losses)}
    assert all(torch.equal(value, beside[name]) for name, value in losses.items())
    assert all(torch.equal(gradient, same[name]) for name, gradient in gradients.items())


def test_the_hinge_counts_only_rows_that_more_columns_make_worse(
    schema: Schema, make_batch: Callable[..., Batch]
) -> None:
    model, batch = build(schema, ranking=0.5).train(), make_batch()
    state = model._run(batch, None)
    values = batch.truths["label"].values
    right, wrong = (Logits(torch.nn.functional.one_hot(values, 3).float() * scale) for scale in (4.0, -4.0))
    head, truth = model.head("label"), batch.truths["label"]
    best, worst = head.loss(right, truth), head.loss(wrong, truth)

    def hinge(more: dict[str, RowLoss], fewer: Logits) -> Tensor:
        read = state.read
        given = replace(
            state,
            losses={**{name: h.loss(state.outputs[name], state.truths[name]) for name, h in state.heads.items()},
                    "label": more},
            read=lambda name, fused: fewer if name == "label" else read(name, fused),
        )  # fmt: skip
        return model.by_objective()["ranking"](given)["label"].total  # type: ignore[no-any-return]

    assert not hinge(best, wrong).any(), "a full loss below the subset's costs nothing"
    torch.testing.assert_close(hinge(worst, right), worst["loss"].total - best["loss"].total)
    assert model.loss_weights["ranking/label"] == 0.5


PRESENCE = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8)


@given(PRESENCE, st.integers(0, 2**31))
def test_a_subset_is_neither_empty_nor_all_where_there_is_a_choice(presence: list[list[bool]], seed: int) -> None:
    before = torch.tensor(presence)
    tokens = {
        name: Tokens(torch.ones(len(before), 2, 4), before[:, i, None] & torch.tensor([True, i == 0]), (2,))
        for i, name in enumerate("abc")
    }
    keys = torch.arange(len(before)) * 31 + seed
    after = torch.stack([column.present for column in some_columns(tokens, keys).values()], dim=1)
    assert not bool((after & ~before).any()), "nothing appears"
    there, retained = before.sum(dim=1), after.sum(dim=1)
    assert torch.equal(retained[there < 2], there[there < 2])
    assert bool((retained[there >= 2] >= 1).all())
    assert bool((retained[there >= 2] < there[there >= 2]).all())


def test_every_size_of_a_subset_and_every_column_occurs() -> None:
    tokens = {name: Tokens(torch.ones(3000, 1, 2), torch.ones(3000, 1, dtype=torch.bool), (1,)) for name in "abc"}
    retained = torch.stack([column.present for column in some_columns(tokens, torch.arange(3000)).values()], dim=1)
    sizes = retained.sum(dim=1).bincount(minlength=4) / 3000
    # Four standard errors of a share of a half are 0.037.
    assert sizes.tolist() == pytest.approx([0.0, 0.5, 0.5, 0.0], abs=0.037)
    assert retained.float().mean(dim=0).tolist() == pytest.approx([0.5, 0.5, 0.5], abs=0.037)


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
    assert all(
        torch.equal(value, outputs_of(learned, batch)[name]) for name, value in outputs_of(masked, batch).items()
    )


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
        assert bool(gradients[f"fusion.missing.{index}"].any()) == (name == absent), name
    _, gradients = trained(model, batch)
    assert not any(gradients[f"fusion.missing.{index}"].any() for index in range(len(schema.names)))


def test_a_token_stands_in_once_and_only_where_all_is_absent() -> None:
    tokens = Tokens(torch.zeros(3, 2, 4), torch.tensor([[True, True], [False, True], [False, False]]), (2,))
    stood_in = stand_in(tokens, torch.arange(4.0))
    assert stood_in.mask.tolist() == [[True, True], [False, True], [True, False]]
    assert not stood_in.values[:2].any()
    assert stood_in.values[2, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


# --- each loss apart -------------------------------------------------------------------------------------------------


def without_ages(batch: Batch) -> tuple[Batch, Tensor]:
    """Three rows have a photo, none an age."""
    keep = torch.tensor([True, False, True, True])
    masked = dataclasses.replace(
        batch, columns={n: c.masked(keep) if n == "photo" else c for n, c in batch.columns.items()}
    )
    return masked.only([name for name in batch.columns if name != "age"]), keep


@pytest.mark.parametrize("ensemble", [False, True])
def test_each_column_has_a_loss_of_its_own(schema: Schema, make_batch: Callable[..., Batch], ensemble: bool) -> None:
    model = build(schema, unimodal=0.5, ensemble=ensemble).train()
    batch, keep = without_ages(make_batch())
    with torch.no_grad():
        losses = model.losses(batch).losses
    for target, named in model.unimodal_losses().items():
        assert set(named.columns) == set(schema.names)
        assert named.together in losses
        photo, age = (losses[named.columns[name]].total for name in ("photo", "age"))
        assert bool((photo[~keep] == 0).all()), target
        assert bool((photo[keep] > 0).all())
        assert not age.any()


def test_scores_are_probabilities_of_what_is_right(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model = build(schema, unimodal=0.5).eval()
    batch, keep = without_ages(make_batch())
    losses = model.losses(batch).losses
    sums, counts = unimodal_scores(model, losses, batch)
    assert counts.tolist() == [9.0, 12.0, 12.0, 0.0, 12.0], "of three targets, and three rows have a photo"
    expected = torch.zeros(())
    for target, num in (("label", 1), ("tags", 1), ("size", 2)):
        loss = losses[model.unimodal_losses()[target].columns["photo"]].total.detach()
        expected = expected + (torch.exp(-loss / num) * keep).sum()
    torch.testing.assert_close(sums[0], expected)
    assert bool((sums[counts > 0] <= counts[counts > 0]).all())
