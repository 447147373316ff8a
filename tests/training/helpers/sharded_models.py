"""A model with every kind of loss, and a batch in which one half of the rows lacks a column, for two processes."""

from __future__ import annotations

from dataclasses import replace

import torch

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.modalities.text.record import TextColumn
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.adversary import AdversaryConfig
from polysense.nn.objectives.ranking import RankingConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.reconstruction.heads.reconstruction import ReconstructionHeadConfig
from polysense.tasks.reconstruction.record import ReconstructionTarget
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig
from polysense.tasks.retrieval.objectives.image_text_matching import ImageTextMatchingConfig
from polysense.tasks.retrieval.record import RetrievalTarget

ROWS, WIDTH = 8, 16
NAMES = ("note", "kind", "size")
SCHEMA = Schema(
    columns=(
        TextColumn(name="note", vocabulary_size=20, padding_id=0, typical_length=6),
        CategoryColumn(name="kind", num_categories=9),
        NumberColumn(name="size", mean=0.0, std=1.0),
    ),
    targets=(
        ClassificationTarget(name="label", columns=("label",), classes=("a", "b"), class_counts=(4, 4)),
        RegressionTarget(name="age", columns=("age",), mean=(0.0,), std=(1.0,)),
        RetrievalTarget(name="space", columns=("note", "kind"), members=("note", "kind")),
        ReconstructionTarget(name="all", columns=NAMES, members=NAMES, num_rows=8),
    ),
)


def build(objectives: bool = True) -> MultimodalModel:
    """The same weights in every process."""
    torch.manual_seed(0)
    model = ModelConfig(
        width=WIDTH,
        encoders={
            "note": TextTransformerConfig(num_layers=1, num_heads=2, dropout=0.0),
            "kind": CategoryEmbeddingConfig(),
            "size": NumberMLPConfig(hidden=8),
        },
        fusion=TransformerFusionConfig(num_heads=2, dropout=0.0),
        heads={
            "label": EnsembleHeadConfig(head=ClassificationHeadConfig(dropout=0.0), weights="gate", joint=True),
            "age": RegressionHeadConfig(dropout=0.0),
            "space": ContrastiveHeadConfig(size=8, dropout=0.0),
            "all": ReconstructionHeadConfig(code_size=8, num_heads=2, mask=0.3, cell_mask_rate=0.2),
        },
        objectives={
            "unimodal": UnimodalConfig(),
            "ranking": RankingConfig(),
            "adversary": AdversaryConfig(),
            "matching": ImageTextMatchingConfig(dropout=0.0, weight=0.0 if not objectives else 0.5),
        },
        missing="learned",
    ).build(SCHEMA)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return model.train()


def batch() -> Batch:
    """Eight rows; the last four lack the text."""
    generator = torch.Generator().manual_seed(3)
    ones = torch.ones(ROWS, 1, dtype=torch.int64)
    text = torch.tensor([[3], [6], [2], [4], [0], [0], [0], [0]])
    keys = torch.arange(1, 2 * ROWS + 1).view(ROWS, 2) * torch.cat([(text > 0).long(), ones], dim=1)
    return Batch(
        rows=torch.arange(ROWS),
        columns={
            "note": ColumnBatch(
                values=torch.randint(3, 20, (ROWS, 1, 6), generator=generator, dtype=torch.int32), lengths=text
            ),
            "kind": ColumnBatch(values=torch.randint(1, 9, (ROWS, 1, 1), generator=generator), lengths=ones),
            "size": ColumnBatch(values=torch.randn(ROWS, 1, 1, generator=generator), lengths=ones),
        },
        truths={
            "label": ValueTruth(
                values=torch.randint(0, 2, (ROWS,), generator=generator),
                present=torch.tensor([True, True, False, True, True, True, True, False]),
            ),
            "age": ValueTruth(values=torch.randn(ROWS, 1, generator=generator), present=torch.ones(ROWS).bool()),
            "space": ValueTruth(values=keys, present=(keys != 0).all(dim=1)),
        },
        weights=0.5 + torch.rand(ROWS, generator=generator),
        keys=torch.arange(ROWS) * 77 + 5,
    )


def part(whole: Batch, start: int, end: int) -> Batch:
    """Some of its rows."""
    rows = slice(start, end)
    return replace(
        whole,
        rows=whole.rows[rows],
        columns={n: ColumnBatch(values=c.values[rows], lengths=c.lengths[rows]) for n, c in whole.columns.items()},
        truths={name: target.rows(rows) for name, target in whole.truths.items()},
        weights=whole.weights[rows],
        keys=None if whole.keys is None else whole.keys[rows],
    )
