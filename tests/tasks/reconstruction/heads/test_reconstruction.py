"""The reconstruction head: every kind of column restored, hidden and counted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from model_helpers import predictions, totals

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.pytree import tensors
from polysense.core.random import fold
from polysense.core.schema import Column, Schema, Target
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.date.encoders.mlp import DateMLPConfig
from polysense.modalities.date.record import DateColumn
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.ranking import RankingConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.reconstruction.heads.reconstruction import ReconstructionHeadConfig
from polysense.tasks.reconstruction.record import ReconstructionTarget

WIDTH = 32
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "denoising": {"noise": 0.2, "replace": 0.2},
    "masked": {"mask": 0.4, "memory": "tokens"},
    "hiding": {"cell_mask_rate": 0.4, "mask": 0.3},
    "variational": {"variational": True, "cell_mask_rate": 0.2},
}


NAMES = ("photo", "speech", "note.of day", "age", "type", "day")


@pytest.fixture
def columns(schema: Schema) -> tuple[Column, ...]:
    """Every kind of column; the text's padding is no token of it."""
    found = [
        dataclasses.replace(column, padding_id=50, mask_id=51, vocabulary_size=52)
        if column.modality == "text"
        else column
        for column in schema
    ]
    return (*found, DateColumn(name="day", num_values=12, mean=1.7e9, std=1e7))


@pytest.fixture
def batch(make_batch: Callable[..., Batch]) -> Batch:
    """Six rows; each column is absent in a row of its own, and in the last row all are."""
    whole = make_batch(6)
    given = dict(whole.columns)
    # As the table's tokens run up to 49 and categories from 1 on, 0 is the unknown one.
    given["day"] = ColumnBatch(
        values=torch.randn(6, 1, 12, generator=torch.Generator().manual_seed(0)),
        lengths=torch.ones(6, 1, dtype=torch.int64),
    )
    for index, name in enumerate(given):
        keep = torch.ones(6, dtype=torch.bool)
        keep[index % 5] = False
        keep[5] = False
        given[name] = given[name].masked(keep)
    return Batch(rows=torch.arange(6), columns=given)


def keyed(batch: Batch, epoch: int = 0) -> Batch:
    """The batch as training gives it."""
    return dataclasses.replace(batch, keys=torch.from_numpy(fold(0, epoch, batch.rows.numpy()).astype("int64")))


def encoders(columns: tuple[Column, ...]) -> dict[str, Any]:
    kinds: Mapping[str, Any] = {
        "image": ResNetConfig(channels=8),
        "audio": AudioCNNConfig(channels=4),
        "text": TextTransformerConfig(num_layers=1, num_heads=2),
        "number": NumberMLPConfig(),
        "category": CategoryEmbeddingConfig(),
        "date": DateMLPConfig(),
    }
    return {column.name: kinds[column.modality] for column in columns}


def target_of(columns: tuple[Column, ...], *names: str) -> Target:
    members = names or tuple(column.name for column in columns)
    return ReconstructionTarget(name="all", columns=members, members=members, num_rows=10)


def reconstructed(prediction: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What each column holds, of a model that reconstructs all."""
    return {name: prediction[f"column_{index}"] for index, name in enumerate(NAMES)}


def build(columns: tuple[Column, ...], *members: str, fusion: Any = None, **settings: Any) -> MultimodalModel:
    torch.manual_seed(0)
    config = ModelConfig(
        width=WIDTH,
        encoders=encoders(columns),
        fusion=fusion or ConcatFusionConfig(),
        heads={"all": ReconstructionHeadConfig(**{"code_size": 16, "num_layers": 1, **settings})},
    )
    model = config.build(Schema(columns=columns, targets=(target_of(columns, *members),)))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # nothing but keys is to be drawn from
    return model


def gradients(model: MultimodalModel, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Of the summed loss over the summed count, piece by piece."""
    count = torch.stack([model.counts(batch)["all"] for batch in batches]).sum()
    model.zero_grad()
    for batch in batches:
        (totals(model, batch)["all"] / count).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def rows(batch: Batch, chosen: slice) -> Batch:
    return Batch(
        rows=batch.rows[chosen],
        columns={
            name: ColumnBatch(values=column.values[chosen], lengths=column.lengths[chosen])
            for name, column in batch.columns.items()
        },
        keys=None if batch.keys is None else batch.keys[chosen],
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_gets_a_gradient_and_accumulation_changes_nothing(
    mode: str, columns: tuple[Column, ...], batch: Batch
) -> None:
    model = build(columns, **MODES[mode]).train()
    whole = gradients(model, [keyed(batch)])
    assert set(whole) == {name for name, _ in model.named_parameters()}
    pieces = gradients(model, [keyed(rows(batch, part)) for part in (slice(0, 2), slice(2, 3), slice(3, 6))])
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    # A batch without a column, and one without anything.
    for each in (batch.only(["age"]), batch.only([])):
        assert set(gradients(model, [keyed(each)])) == set(whole)


@pytest.mark.parametrize("mode", MODES)
def test_prediction_is_in_the_tables_terms(mode: str, columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns, **MODES[mode]).eval()
    found = predictions(model, keyed(batch))["all"]
    assert found["values"].shape == (6, WIDTH if mode == "masked" else 16)
    photo, speech, note = (
        reconstructed(found)["photo"],
        reconstructed(found)["speech"],
        reconstructed(found)["note.of day"],
    )
    assert photo.shape == (6, 3, 16, 24)
    assert photo.min() >= 0
    assert photo.max() <= 1
    assert speech.shape == (6, 64, 20)
    assert note.shape == (6, 8)
    assert (note[:, 0] != 50).all()
    ended = (note == 50).long()
    assert (ended.cummax(dim=1).values == ended).all()
    assert reconstructed(found)["age"].shape == (6,)
    assert (reconstructed(found)["type"] > 0).all()
    assert reconstructed(found)["day"].dtype == torch.float64
    assert all(values.isfinite().all() for values in reconstructed(found).values())
    known = torch.stack([batch.columns[column.name].present for column in columns], dim=1)
    known[:, 4] &= batch.columns["type"].values[:, 0, 0] > 0  # the unknown category is no truth
    assert (found["errors"].isnan() == ~known).all()
    assert not torch.equal(known.all(), torch.tensor(True))
    # Corruption is of training alone: keys change nothing here.
    again = predictions(model, batch)["all"]
    assert torch.equal(again["values"], found["values"])
    torch.testing.assert_close(again["errors"], found["errors"], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_depends_on_itself_alone(mode: str, columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns, **MODES[mode]).eval()
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    moved = Batch(
        rows=batch.rows[order],
        columns={
            name: ColumnBatch(values=column.values[order], lengths=column.lengths[order])
            for name, column in batch.columns.items()
        },
    )
    one, other = predictions(model, batch)["all"], predictions(model, moved)["all"]
    assert torch.equal(one["values"][order], other["values"])
    for name, values in reconstructed(one).items():
        assert torch.equal(values[order], reconstructed(other)[name]), name
    torch.testing.assert_close(one["errors"][order], other["errors"], rtol=0, atol=0, equal_nan=True)


def test_an_absent_columns_storage_changes_nothing(columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns).train()
    junk = {
        name: ColumnBatch(
            values=torch.where(
                column.present.view(-1, *[1] * (column.values.dim() - 1)), column.values, torch.ones_like(column.values)
            ),
            lengths=column.lengths,
        )
        for name, column in batch.columns.items()
    }
    losses = [totals(model, each)["all"] for each in (batch, dataclasses.replace(batch, columns=junk))]
    assert losses[0] == losses[1]


def test_without_any_corruption_a_ratio_of_0_is_bit_identical(columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns, mask=0.0, cell_mask_rate=0.0, noise=0.0, replace=0.0).train()
    one, other = (tensors(model(each).outputs["all"]) for each in (keyed(batch), batch))
    assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))
    total = totals(model, keyed(batch))["all"]
    assert total == totals(model, batch)["all"]


def test_the_loss_is_on_hidden_places_alone(columns: tuple[Column, ...], batch: Batch) -> None:
    """Changing what was not hidden changes nothing, once the outputs are given."""
    model = build(columns, mask=0.3, memory="tokens").train()
    head: Any = model.head("all")
    batch = keyed(batch)
    output = model(batch).outputs["all"]

    def total(given: Batch) -> torch.Tensor:
        return head.loss(output, head.truth(given))["loss"].total.sum()

    masked_cells = head.corruption.masked_cells(list(head.decoders), batch.columns, batch.keys)
    assert masked_cells["photo"].positions[1].sum() == round(0.3 * 24)
    before = total(batch)
    other = dict(batch.columns)
    pixels = (
        masked_cells["photo"].positions.view(6, 4, 6).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None, None]
    )
    photo = torch.where(pixels, other["photo"].values, 255 - other["photo"].values)
    other["photo"] = ColumnBatch(values=photo, lengths=other["photo"].lengths)
    words = masked_cells["note.of day"].positions[:, None, :6]
    note = torch.where(words, other["note.of day"].values, (other["note.of day"].values + 1) % 50)
    other["note.of day"] = ColumnBatch(values=note, lengths=other["note.of day"].lengths)
    age = torch.where(masked_cells["age"].absent[:, None, None], other["age"].values, other["age"].values + 1)
    other["age"] = ColumnBatch(values=age, lengths=other["age"].lengths)
    unhidden = dataclasses.replace(batch, columns=other)
    assert total(unhidden) == before
    other["photo"] = ColumnBatch(values=255 - photo, lengths=other["photo"].lengths)
    assert total(unhidden) != before


@pytest.mark.parametrize("mode", ["denoising", "masked", "hiding"])
def test_corruption_is_a_function_of_seed_epoch_and_row(mode: str, columns: tuple[Column, ...], batch: Batch) -> None:
    head = build(columns, **MODES[mode]).train().head("all")
    one = head.corrupt(keyed(batch)).columns
    part = head.corrupt(keyed(rows(batch, slice(2, 4)))).columns
    later = head.corrupt(keyed(batch, epoch=1)).columns
    changed = 0
    for name, column in one.items():
        assert torch.equal(column.values[2:4], part[name].values), name
        assert torch.equal(column.lengths[2:4], part[name].lengths), name
        changed += not (
            torch.equal(column.values, later[name].values) and torch.equal(column.lengths, later[name].lengths)
        )
    assert changed >= 3
    assert head.corrupt(batch) is batch


def test_one_cell_of_a_row_always_stays(columns: tuple[Column, ...], batch: Batch) -> None:
    head = build(columns, cell_mask_rate=0.9, mask=0.9).train().head("all")
    for epoch in range(20):
        left = head.corrupt(keyed(batch, epoch)).columns
        there = torch.stack([left[name].present for name in left], dim=1)
        assert there[:5].any(dim=1).all()
        assert not there[5].any()
    # Where other columns are read too, what is restored may go altogether.
    head = build(columns, "photo", cell_mask_rate=0.9).train().head("all")
    left = head.corrupt(keyed(batch)).columns
    assert left["photo"].present.sum() < batch.columns["photo"].present.sum()
    assert torch.equal(left["age"].lengths, batch.columns["age"].lengths)


def test_weights_and_counts(columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns, column_weights={"photo": 2.0, "speech": 0.0}).eval()
    known = torch.stack([batch.columns[column.name].present for column in columns], dim=1)
    known[:, 4] &= batch.columns["type"].values[:, 0, 0] > 0
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    loss = model.losses(batch).losses["all"]
    assert loss.count.sum() == (known * weights).sum()
    assert model.counts(batch)["all"] == loss.count.sum()
    errors = predictions(model, batch)["all"]["errors"]
    torch.testing.assert_close(loss.total.sum(), (errors.nan_to_num() * weights).sum())


def test_the_first_columns_restore_another(columns: tuple[Column, ...], batch: Batch) -> None:
    found = predictions(build(columns, "age").eval(), batch)["all"]
    assert sorted(found) == ["column_0", "errors", "hits", "mean_errors", "mean_hits", "values"]
    assert found["errors"].shape == (6, 1)


def test_the_divergence_weighs_in_as_the_training_goes_on(columns: tuple[Column, ...], batch: Batch) -> None:
    def model(beta: float, warmup: float) -> MultimodalModel:
        return build(columns, variational=True, beta=beta, beta_warmup=warmup).train()

    def loss(model: MultimodalModel, progress: float | None) -> torch.Tensor:
        given = dataclasses.replace(keyed(batch), progress=None if progress is None else torch.tensor(progress))
        return totals(model, given)["all"]

    whole, slow = model(0.5, 0.0), model(0.5, 0.4)
    none, full = loss(model(0.0, 0.0), 0.3), loss(whole, 0.3)
    assert full > none
    for progress, share in ((0.1, 0.25), (0.2, 0.5), (0.4, 1.0), (0.9, 1.0)):
        torch.testing.assert_close(loss(slow, progress), none + share * (full - none))
    assert loss(slow, None) == full  # nobody says how far the training is
    # Judged, a model is judged by the whole of it.
    assert loss(slow.eval(), 0.1) == loss(whole.eval(), 0.1)
    with pytest.raises(ConfigError, match=r"beta_warmup\b.*found"):
        ReconstructionHeadConfig(beta_warmup=1.5)


def test_a_warm_up_changes_nothing_of_accumulation(columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns, variational=True, beta=0.5, beta_warmup=0.5).train()
    told = dataclasses.replace(keyed(batch), progress=torch.tensor(0.2))
    whole = gradients(model, [told])
    pieces = [dataclasses.replace(rows(told, part), progress=told.progress) for part in (slice(0, 2), slice(2, 6))]
    found = gradients(model, pieces)
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


# --- learning ---------------------------------------------------------------------------------------------------------


def _overfit(model: MultimodalModel, batch: Batch, steps: int, lr: float = 3e-3) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr)
    model.train()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(steps):
        given = keyed(batch, epoch)
        optimizer.zero_grad()
        loss = model.losses(given).losses["all"]
        (loss.total.sum() / loss.count.sum()).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        loss = model.losses(batch).losses["all"]
    return float(loss.total.sum() / loss.count.sum())


def _stripes(each: torch.Tensor) -> torch.Tensor:
    """Pictures of as many colors and widths as rows."""
    positions = torch.arange(24.0) // 6
    colors = torch.stack([torch.sin(each * (channel + 1) + positions * (each % 3)) for channel in range(3)], dim=1)
    return (127 + 100 * colors).to(torch.uint8)[:, None, :, None].expand(-1, -1, -1, 16, -1).clone()


@pytest.mark.slow
def test_a_tiny_mixed_table_is_learned_by_heart(columns: tuple[Column, ...], batch: Batch) -> None:
    """Image, text, sound, number, category and date to near 0; the mean predictor has 1 per column, a token 4 nats."""
    given = dict(batch.columns)
    each = torch.arange(6.0)[:, None]
    given["photo"] = dataclasses.replace(given["photo"], values=_stripes(each))
    tones = 6000 * torch.sin(2 * math.pi * (300 + 500 * each) * torch.arange(1600) / 8000)
    given["speech"] = dataclasses.replace(given["speech"], values=tones.to(torch.int16)[:, None])
    batch = dataclasses.replace(batch, columns=given)
    model = build(columns, num_mels=8, code_size=32)
    assert _overfit(model, batch, 200, lr=1e-2) < 0.05
    found = predictions(model, batch)["all"]
    age, there = batch.columns["age"].values[:, 0, 0], batch.columns["age"].present
    torch.testing.assert_close(reconstructed(found)["age"][there], age[there], rtol=0, atol=0.3)
    note = batch.columns["note.of day"]
    for row in range(5):
        if note.present[row]:
            length = int(note.lengths[row, 0])
            assert reconstructed(found)["note.of day"][row, :length].tolist() == note.values[row, 0, :length].tolist()
            assert (reconstructed(found)["note.of day"][row, length:] == 50).all()


# --- variational ------------------------------------------------------------------------------------------------------


def test_without_divergence_and_noise_the_variational_loss_is_the_deterministic_one(
    columns: tuple[Column, ...], batch: Batch
) -> None:
    model = build(columns, variational=True, beta=0.0)
    model.train()
    trained = totals(model, batch)["all"]
    model.eval()
    torch.testing.assert_close(trained, totals(model, batch)["all"], rtol=0, atol=0)
    errors = predictions(model, batch)["all"]["errors"]
    torch.testing.assert_close(errors.nan_to_num().sum(), trained)


def test_the_divergence_counts_by_beta(columns: tuple[Column, ...], batch: Batch) -> None:
    losses = []
    for beta in (0.0, 1.0, 2.0):
        model = build(columns, variational=True, beta=beta).eval()
        losses.append(totals(model, batch)["all"])
    assert losses[1] > losses[0]
    torch.testing.assert_close(losses[2] - losses[1], losses[1] - losses[0], rtol=1e-3, atol=1e-3)


def test_an_absent_column_is_the_product_without_it(columns: tuple[Column, ...], batch: Batch) -> None:
    """Whatever the absent column's expert would say."""
    model = build(columns, variational=True).eval()
    fewer = batch.only([name for name in batch.columns if name != "photo"])
    one = predictions(model, fewer)["all"]["values"]
    with torch.no_grad():
        for parameter in model.head("all").experts[0].parameters():
            parameter.mul_(100.0)
    other = predictions(model, fewer)["all"]["values"]
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert not torch.allclose(predictions(model, batch)["all"]["values"][1], other[1])
    # The row with nothing has the prior's mean.
    assert (other[5] == 0).all()


def test_terms_are_the_joint_each_column_alone_and_a_subset(columns: tuple[Column, ...], batch: Batch) -> None:
    model = build(columns, variational=True).train()
    head: Any = model.head("all")
    output: Any = model(keyed(batch)).outputs["all"]
    assert len(output.terms) == 2 + len(columns)
    assert [tokens.shape[1] for tokens in output.terms[0].tokens] == [d.num_positions for d in head.decoders]
    assert output.terms[1].sources.sum(dim=1).max() == 1
    alone: Any = model(batch).outputs["all"]
    assert len(alone.terms) == 1
    again, later = (model(each).outputs["all"] for each in (keyed(batch), keyed(batch, epoch=1)))
    assert all(torch.equal(one, other) for one, other in zip(tensors(output), tensors(again), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(tensors(output), tensors(later), strict=True))


# --- what makes no sense ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"mask": 1.0},
        {"cell_mask_rate": -0.1},
        {"replace": 1.5},
        {"noise": -1.0},
        {"code_size": 0},
        {"hidden": 8},
        {"max_seconds": 0.0},
        {"patch_size": 0},
        {"variational": True, "memory": "tokens"},
        {"column_weights": {"photo": -1.0}},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ReconstructionHeadConfig(**settings)


def test_columns_that_can_not_be_restored_are_refused(columns: tuple[Column, ...]) -> None:
    with pytest.raises(ConfigError, match="is none of the reconstructed columns"):
        build(columns, column_weights={"nobody": 1.0})
    with pytest.raises(ConfigError, match="nothing would be learned"):
        build(columns, "age", column_weights={"age": 0.0})
    hashed = tuple(
        dataclasses.replace(column, collision_rate=0.1) if column.name == "type" else column for column in columns
    )
    with pytest.raises(ConfigError, match="its categories are hashed"):
        build(hashed)
    build(hashed, "age", "photo")
    with pytest.raises(ConfigError, match="is no input column"):
        build(columns, "nobody")


def test_columns_heads_of_their_own_serve_the_other_targets(columns: tuple[Column, ...], batch: Batch) -> None:
    """With a classification beside it, hidden cells are absent for all."""
    label = ClassificationTarget(name="label", columns=("label",), classes=("a", "b"), class_counts=(3, 3))
    schema = Schema(columns=columns, targets=(target_of(columns), label))
    heads = {
        "all": ReconstructionHeadConfig(code_size=8, num_layers=1, cell_mask_rate=0.5),
        "label": ClassificationHeadConfig(),
    }
    config = ModelConfig(
        width=WIDTH, encoders=encoders(columns), fusion=TransformerFusionConfig(), heads=heads,
        objectives={"unimodal": UnimodalConfig(), "ranking": RankingConfig(weight=0.1)},
    )  # fmt: skip
    model = config.build(schema).train()
    truth = ValueTruth(values=torch.tensor([0, 1, 0, 1, 0, 1]), present=torch.ones(6, dtype=torch.bool))
    given = keyed(dataclasses.replace(batch, truths={"label": truth}))
    losses = totals(model, given)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in model.parameters())
