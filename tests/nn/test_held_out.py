"""Losses of held-out rows: what training adds up, without dropout, over all batches together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn.ensemble_head import EnsembleHeadConfig, Experts
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.held_out import read_held_out
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget

NAMES = ("a", "b")


def build() -> MultimodalModel:
    torch.manual_seed(0)
    target = ClassificationTarget(name="label", columns=("label",), classes=("x", "y"), class_counts=(1, 1), num_rows=2)
    schema = Schema(columns=tuple(NumberColumn(name=n, mean=0.0, std=1.0) for n in NAMES), targets=(target,))
    head = EnsembleHeadConfig(head=ClassificationHeadConfig(dropout=0.5), weights="validation", joint=True)
    encoders = {name: NumberMLPConfig(hidden=8) for name in NAMES}
    config = ModelConfig(width=16, encoders=encoders, fusion=ConcatFusionConfig(dropout=0.5), heads={"label": head})
    return config.build(schema).eval()


def batch(rows: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.ones(rows, 1, dtype=torch.int64)
    columns = {n: ColumnBatch(values=torch.randn(rows, 1, 1, generator=generator), lengths=lengths) for n in NAMES}
    truth = ValueTruth(
        values=torch.randint(0, 2, (rows,), generator=generator), present=torch.ones(rows, dtype=torch.bool)
    )
    return Batch(rows=torch.arange(rows), columns=columns, truths={"label": truth})


def test_losses_are_means_over_all_rows_without_dropout() -> None:
    model, batches = build(), [batch(5, 1), batch(2, 2)]
    held_out = read_held_out(model, batches)
    assert set(held_out.losses) == {"label/expert a", "label/expert b", "label/joint expert"}
    losses = []
    for one in batches:
        experts, truth = model(one).outputs["label"], one.truths["label"]
        assert isinstance(experts, Experts)
        assert isinstance(truth, ValueTruth)
        losses.append(F.cross_entropy(experts.each[-1].values, truth.values, reduction="none"))  # type: ignore[attr-defined]
    assert held_out.losses["label/joint expert"] == pytest.approx(torch.cat(losses).mean().item())
    assert len(held_out.experts["label"]) == 2


def test_rows_that_only_fill_the_shape_count_for_nothing() -> None:
    model, one = build(), batch(6, 3)
    part = replace(one, rows=torch.tensor([0, 1, 2, -1, -1, -1]))
    kept = Batch(
        rows=one.rows[:3],
        columns={n: ColumnBatch(values=c.values[:3], lengths=c.lengths[:3]) for n, c in one.columns.items()},
        truths={"label": ValueTruth(values=one.truths["label"].values[:3], present=one.truths["label"].present[:3])},  # type: ignore[attr-defined]
    )
    assert read_held_out(model, [part]).losses == pytest.approx(read_held_out(model, [kept]).losses)


def test_without_losses_the_experts_alone_are_read() -> None:
    held_out = read_held_out(build(), [batch(4, 4)], losses=False)
    assert held_out.losses == {}
    assert set(held_out.experts) == {"label"}
