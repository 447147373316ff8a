"""Mixup of tokens: what is mixed, what a mixed row has, and that its loss is that of the mixed target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from polysense.core.batch import Batch, ColumnBatch, MixedRows, ValueTruth
from polysense.core.schema import Schema
from polysense.core.tokens import Tokens
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.mixing import mix
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.ranking import RankingConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.multilabel.heads.multilabel import MultilabelHeadConfig
from polysense.tasks.regression.heads.regression import RegressionHeadConfig


def tokens(values: list[list[float]], mask: list[list[int]]) -> Tokens:
    return Tokens(torch.tensor(values)[:, :, None], torch.tensor(mask, dtype=torch.bool), (len(mask[0]),)).cleared()


def column(lengths: list[list[int]]) -> ColumnBatch:
    return ColumnBatch(values=torch.zeros(len(lengths), len(lengths[0]), 1), lengths=torch.tensor(lengths))


def batch_of(lengths: list[list[int]]) -> Batch:
    return Batch(rows=torch.arange(len(lengths)), columns={"x": column(lengths)})


def test_by_hand() -> None:
    """Rows: both have two tokens; the partner is shorter; the partner lacks the column; the row lacks it."""
    own = tokens([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [9.0, 9.0]], [[1, 1], [1, 1], [1, 1], [0, 0]])
    other = tokens([[5.0, 6.0, 7.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [5.0, 6.0, 0.0]],
                   [[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])  # fmt: skip
    share = torch.tensor([0.75, 0.75, 0.75, 0.75])
    batches = batch_of([[2], [2], [2], [0]]), batch_of([[3, 0], [1, 0], [0, 0], [1, 1]])
    results = {}
    for keeps in (True, False):
        mixed = MixedRows(batch=batches[1], share=share, own_presence=torch.full((4,), keeps))
        after, result = mix(batches[0], {"x": own}, {"x": other}, mixed)
        results[keeps] = result["x"]
        assert after.columns["x"].present.tolist() == result["x"].present.tolist()
    assert results[True].mask.int().tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert results[True].values[:, :, 0].tolist() == [[2, 3, 0], [2, 2, 0], [1, 2, 0], [0, 0, 0]]
    assert results[False].mask.int().tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]]
    assert results[False].values[:, :, 0].tolist() == [[2, 3, 7], [2, 0, 0], [0, 0, 0], [5, 6, 0]]


def test_tokens_of_images_that_were_pasted_are_not_mixed_once_more() -> None:
    """Where both rows have one; where one of them lacks it, presence is that of either, as ever."""
    own = tokens([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]], [[1, 1], [1, 1], [0, 0]])
    other = tokens([[5.0, 6.0], [0.0, 0.0], [5.0, 6.0]], [[1, 1], [0, 0], [1, 1]])
    share, keeps = torch.full((3,), 0.25), torch.tensor([False, True, False])
    mixed = MixedRows(
        batch=batch_of([[2], [0], [2]]), share=share, own_presence=keeps, boxes=torch.zeros(3, 4), pasted=("x",)
    )
    _, result = mix(batch_of([[2], [2], [0]]), {"x": own}, {"x": other}, mixed)
    assert result["x"].values[:, :, 0].tolist() == [[1, 2], [1, 2], [5, 6]]


def build(schema: Schema, head: str = "plain", unimodal: bool = True) -> MultimodalModel:
    torch.manual_seed(0)
    label = ClassificationHeadConfig(class_weights="balanced", dropout=0.0)
    config = ModelConfig(
        width=16,
        encoders={
            "photo": ResNetConfig(channels=4),
            "speech": AudioCNNConfig(channels=4, num_mels=32),
            "note.of day": TextTransformerConfig(num_layers=1, dropout=0.0),
            "age": NumberMLPConfig(hidden=8),
            "type": CategoryEmbeddingConfig(size=4),
        },
        fusion=TransformerFusionConfig(num_layers=1, dropout=0.0),
        heads={
            "label": EnsembleHeadConfig(head=label, weights="uniform") if head == "ensemble" else label,
            "tags": MultilabelHeadConfig(dropout=0.0),
            "size": RegressionHeadConfig(dropout=0.0),
        },
        objectives={"unimodal": UnimodalConfig(weight=0.5)} if unimodal else {},
    )
    return config.build(schema).eval()  # without dropout and batch statistics; the losses are the training's


def with_partners(make_batch: Callable[..., Batch], share: torch.Tensor, keeps: torch.Tensor) -> Batch:
    """A batch with other rows beside it, of longer texts and sounds; some cells are missing on either side."""
    own, other = make_batch(4, seed=1), make_batch(4, seed=2, text_length=11, audio_length=2400)
    gone = torch.tensor([True, False, True, True])
    own = dataclasses.replace(own, columns={**own.columns, "age": own.columns["age"].masked(gone)})
    other = dataclasses.replace(other, columns={**other.columns, "photo": other.columns["photo"].masked(~gone)})
    other = dataclasses.replace(other, weights=torch.tensor([1.0, 2.0, 1.0, 0.5]))
    return dataclasses.replace(own, mixed=MixedRows(batch=other, share=share, own_presence=keeps))


@pytest.mark.parametrize("head", ["plain", "ensemble"])
def test_a_share_of_1_is_the_row_and_one_of_0_its_partner(
    schema: Schema, make_batch: Callable[..., Batch], head: str
) -> None:
    model = build(schema, head)
    for share, keeps in ((1.0, True), (0.0, False)):
        batch = with_partners(make_batch, torch.full((4,), share), torch.full((4,), keeps))
        assert batch.mixed is not None
        alone = dataclasses.replace(batch, mixed=None) if keeps else batch.mixed.batch
        result, expected = model.losses(batch).losses, model.losses(alone).losses
        assert result.keys() == expected.keys()
        for name, row in expected.items():
            torch.testing.assert_close(result[name].total, row.total, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(result[name].count, row.count)
        for name, count in model.counts(alone).items():
            torch.testing.assert_close(model.counts(batch)[name], count)


def test_the_loss_is_that_of_the_mixed_target(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    share, keeps = torch.tensor([0.9, 0.3, 0.5, 0.7]), torch.tensor([True, False, False, True])
    batch = with_partners(make_batch, share, keeps)
    assert batch.mixed is not None
    every = torch.ones(4, dtype=torch.bool)

    def present(one: Batch) -> Batch:
        truths = {name: dataclasses.replace(truth, present=every) for name, truth in one.truths.items()}
        return dataclasses.replace(one, truths=truths, weights=torch.ones(4))

    mixed = dataclasses.replace(batch.mixed, batch=present(batch.mixed.batch))
    batch = dataclasses.replace(present(batch), mixed=mixed)
    output = build(schema, unimodal=False).losses(batch)
    ids, others = ValueTruth.of(batch.truths["label"]).values, ValueTruth.of(mixed.batch.truths["label"]).values
    soft = share[:, None] * F.one_hot(ids, 3) + (1 - share)[:, None] * F.one_hot(others, 3)
    # torch's weighted cross entropy of soft targets: each class's part times its weight.
    weights = torch.tensor([10 / 15, 10 / 9, 10 / 6])
    logits = output.outputs["label"].values
    expected = -(soft * weights * logits.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(output.losses["label"].total, expected)
    torch.testing.assert_close(output.losses["label"].count, (soft * weights).sum(dim=1))


def test_counts_are_those_of_the_losses(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model = build(schema)
    batch = with_partners(make_batch, torch.tensor([0.9, 0.3, 0.5, 0.7]), torch.tensor([True, False, False, True]))
    losses, counts = model.losses(batch).losses, model.counts(batch)
    assert losses.keys() == counts.keys()
    for name, row in losses.items():
        torch.testing.assert_close(row.count.sum(), counts[name], msg=name)


def test_every_parameter_is_touched_and_a_batch_may_be_cut(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    """Gradients of the whole batch are the sums of those of its rows: nothing of a row depends on its neighbors."""
    model = build(schema)
    batch = with_partners(make_batch, torch.tensor([0.9, 0.3, 0.5, 0.7]), torch.tensor([True, False, False, True]))

    def gradients(parts: list[Batch]) -> list[torch.Tensor]:
        model.zero_grad()
        for part in parts:
            torch.stack([row.total.sum() for row in model.losses(part).losses.values()]).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    def row(one: Batch, i: int) -> Batch:
        columns = {n: dataclasses.replace(c, values=c.values[i : i + 1], lengths=c.lengths[i : i + 1])
                   for n, c in one.columns.items()}  # fmt: skip
        truths = {name: truth.rows(slice(i, i + 1)) for name, truth in one.truths.items()}
        return Batch(rows=one.rows[i : i + 1], columns=columns, truths=truths, weights=one.weights[i : i + 1])

    mixed = batch.mixed
    assert mixed is not None
    cut = [
        dataclasses.replace(
            row(batch, i),
            mixed=MixedRows(
                batch=row(mixed.batch, i), share=mixed.share[i : i + 1], own_presence=mixed.own_presence[i : i + 1]
            ),
        )
        for i in range(4)
    ]
    whole, pieces = gradients([batch]), gradients(cut)
    assert len(whole) == sum(1 for parameter in model.parameters() if parameter.requires_grad)
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_what_can_not_be_mixed_is_named(schema: Schema) -> None:
    assert build(schema).unmixable() is None
    assert build(schema, "ensemble").unmixable() is None
    heads = {"label": ClassificationHeadConfig(), "tags": MultilabelHeadConfig(), "size": RegressionHeadConfig()}
    encoders = {
        "photo": ResNetConfig(channels=4),
        "speech": AudioCNNConfig(channels=4, num_mels=32),
        "note.of day": TextTransformerConfig(num_layers=1),
        "age": NumberMLPConfig(hidden=8),
        "type": CategoryEmbeddingConfig(size=4),
    }
    ranked = ModelConfig(width=16, encoders=encoders, heads=heads, objectives={"order": RankingConfig()})
    assert ranked.build(schema).unmixable() == "the objective 'order'"
