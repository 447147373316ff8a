"""The model's promises: absence is a mask, rows and padding don't meet, every combination trains."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import torch
from model_helpers import counts, outputs, predictions, totals

from polysense.config.base import members
from polysense.core.batch import Batch, ValueTruth
from polysense.core.schema import Schema
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.multilabel.heads.multilabel import MultilabelHeadConfig
from polysense.tasks.regression.heads.regression import RegressionHeadConfig

FUSIONS = list(members("fusion"))


def build(schema: Schema, fusion: str = "gated", unimodal: float = 0.0) -> MultimodalModel:
    torch.manual_seed(0)
    config = ModelConfig(
        width=32,
        encoders={
            "photo": ResNetConfig(channels=4),
            "speech": AudioCNNConfig(channels=4, num_mels=32),
            "note.of day": TextTransformerConfig(num_layers=1),
            "age": NumberMLPConfig(hidden=8),
            "type": CategoryEmbeddingConfig(size=4),
        },
        fusion=members("fusion")[fusion](),  # type: ignore[arg-type,call-arg]
        heads={
            "label": ClassificationHeadConfig(),
            "tags": MultilabelHeadConfig(hidden=8),
            "size": RegressionHeadConfig(),
        },
        objectives={"unimodal": UnimodalConfig(weight=unimodal)},
    )
    model = config.build(schema)
    # Zero-initialized residual branches and summaries would hide what flows through them.
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return model.eval()


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 1e-6) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_absent_column_is_the_forward_on_the_others_alone(
    schema: Schema, make_batch: Callable[..., Batch], fusion: str
) -> None:
    model, batch = build(schema, fusion), make_batch()
    for absent in schema.names:
        left_out = batch.only([name for name in schema.names if name != absent])
        hidden = dataclasses.replace(
            batch,
            columns={
                n: c.masked(torch.zeros(4, dtype=torch.bool)) if n == absent else c for n, c in batch.columns.items()
            },
        )
        close(outputs(model, left_out), outputs(model, hidden))
        names = [name for name in schema.names if name != absent]
        (subset,) = model.predict(batch, [names])
        alone = predictions(model, left_out)
        close({n: p["values"].float() for n, p in subset.items()}, {n: p["values"].float() for n, p in alone.items()})
        assert not torch.allclose(outputs(model, left_out)["label"], outputs(model, batch)["label"], atol=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_an_absent_cell_stores_changes_nothing(
    schema: Schema, make_batch: Callable[..., Batch], fusion: str
) -> None:
    model = build(schema, fusion)
    keep = torch.tensor([True, False, True, False])
    each = []
    for seed in (0, 1):
        batch, other = make_batch(seed=0), make_batch(seed=seed)
        columns = {}
        for name, column in batch.columns.items():
            shape = (slice(None), *[None] * (column.values.dim() - 1))
            values = torch.where(keep[shape], column.values, other.columns[name].values)
            columns[name] = dataclasses.replace(column, values=values).masked(keep)
        each.append(outputs(model, dataclasses.replace(batch, columns=columns)))
    close(*each, tolerance=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_with_nothing_at_all_gives_finite_outputs_and_gradients(
    schema: Schema, make_batch: Callable[..., Batch], fusion: str
) -> None:
    model, batch = build(schema, fusion).train(), make_batch()
    keep = torch.tensor([True, False, True, True])
    batch = dataclasses.replace(batch, columns={n: c.masked(keep) for n, c in batch.columns.items()})
    sum(totals(model, batch).values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    assert all(output.isfinite().all() for output in outputs(model, batch.only([])).values())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_does_not_depend_on_its_batch_mates_or_their_lengths(
    schema: Schema, make_batch: Callable[..., Batch], fusion: str
) -> None:
    model, batch = build(schema, fusion), make_batch()
    whole = outputs(model, batch)
    for row in range(4):
        columns = {}
        for name, column in batch.columns.items():
            length = int(column.lengths[row].max())
            values = column.values[row : row + 1]
            columns[name] = dataclasses.replace(
                column,
                values=values[..., :length] if values.dim() == 3 and values.shape[-1] > 1 else values,
                lengths=column.lengths[row : row + 1],
            )
        alone = outputs(model, Batch(rows=torch.tensor([row]), columns=columns))
        close({n: o[row : row + 1] for n, o in whole.items()}, alone, tolerance=2e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_is_touched_when_columns_are_missing_from_the_batch(
    schema: Schema, make_batch: Callable[..., Batch], fusion: str
) -> None:
    model, batch = build(schema, fusion).train(), make_batch().only(["age"])
    sum(totals(model, batch).values()).backward()
    touched = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(gradient is not None for gradient in touched.values())
    assert all(not g.any() for n, g in touched.items() if n.startswith("encoders.0."))


def test_counts_are_known_without_a_forward(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(schema), make_batch()
    targets = dict(batch.truths)
    values = targets["size"].values.clone()
    values[0, 1] = float("nan")
    targets["size"] = ValueTruth(values=values, present=torch.tensor([True, True, False, True]))
    targets["label"] = ValueTruth(values=targets["label"].values, present=torch.tensor([True, False, True, True]))
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    batch = dataclasses.replace(batch, truths=targets, weights=weights)
    losses, expected = totals(model, batch), model.counts(batch)
    assert {name: float(count) for name, count in expected.items()} == {
        "label": 4.5,
        "tags": 6.5,
        "size": 1 + 2 * 2 + 2 * 3,
    }
    for name, count in counts(model, batch).items():
        assert float(count) == float(expected[name])
        assert losses[name].isfinite()


def test_predictions_are_in_the_tables_units(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(schema), make_batch()
    predicted = predictions(model, batch)
    torch.testing.assert_close(predicted["label"]["probabilities"].sum(1), torch.ones(4))
    expected = outputs(model, batch)["size"] * torch.tensor([2.0, 4.0]) + torch.tensor([10.0, -5.0])
    torch.testing.assert_close(predicted["size"]["values"], expected)
    assert predicted["tags"]["values"].dtype == torch.bool


def test_subsets_are_read_as_if_only_those_columns_were_there(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(schema), make_batch()
    subsets = [frozenset(s) for k in range(3) for s in itertools.combinations(schema.names, k)]
    for subset, predicted in zip(subsets, model.predict(batch, subsets), strict=True):
        alone = predictions(model, batch.only(subset))
        torch.testing.assert_close(
            predicted["label"]["probabilities"], alone["label"]["probabilities"], rtol=1e-5, atol=1e-6
        )


def test_a_column_without_an_encoder_or_with_the_wrong_one_is_named(schema: Schema) -> None:
    with pytest.raises(ConfigError, match="'photo' has no encoder"):
        ModelConfig(heads={}).build(schema)
    encoders = {name: TextTransformerConfig() for name in schema.names}
    heads = {target.name: ClassificationHeadConfig() for target in schema.targets}
    with pytest.raises(ConfigError, match="takes text; column 'photo' is image"):
        ModelConfig(encoders=encoders, heads=heads).build(schema)


def test_an_objective_changes_no_bit_of_the_rest(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    torch.manual_seed(0)
    without, batch = build(schema).train(), make_batch()
    torch.manual_seed(0)
    joint = totals(without, batch)
    with_heads = build(schema, unimodal=0.5).train()
    with_heads.load_state_dict(without.state_dict(), strict=False)
    torch.manual_seed(0)
    beside = totals(with_heads, batch)
    assert {n: loss.item() for n, loss in joint.items()} == {n: beside[n].item() for n in joint}
    assert len(beside) == 3 + 3 * len(schema.names)
    assert not any("objectives" in name for name in without.state_dict())
    assert not build(schema, unimodal=0.0).objectives


def test_losses_come_out_of_forward_in_training_alone(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(schema, unimodal=0.5), make_batch()
    assert model(batch).losses == {}
    assert list(model.train()(batch).losses) == list(model.loss_weights)


def test_a_columns_own_loss_reaches_its_encoder_and_only_where_it_is_present(
    schema: Schema, make_batch: Callable[..., Batch]
) -> None:
    model, batch = build(schema, unimodal=0.5).train(), make_batch()
    keep = torch.tensor([True, False, True, True])
    columns = {n: c.masked(keep) if n == "photo" else c for n, c in batch.columns.items()}
    batch = dataclasses.replace(batch, columns=columns)
    losses = model(batch).losses
    loss = losses["unimodal/label/photo"]
    assert loss.total.gt(0).tolist() == [True, False, True, True]
    assert {n: float(loss.count.sum()) for n, loss in losses.items()} == {
        n: float(count) for n, count in model.counts(batch).items()
    }
    gradients = torch.autograd.grad(
        loss.total.sum(),
        [p for name in schema.names for p in model.column_encoders[name].parameters()],
        allow_unused=True,
    )
    reached = dict.fromkeys(schema.names, 0.0)
    every = iter(gradients)
    for name in schema.names:
        for _ in model.column_encoders[name].parameters():
            gradient = next(every)
            reached[name] += 0.0 if gradient is None else float(gradient.abs().sum())
    assert {name for name, size in reached.items() if size} == {"photo"}
