"""A small model of three number columns that differ in how soon they are learned, and rows of it.

A module of its own, so that a test's subprocess can import it as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.random import permutation, uniforms
from polysense.core.schema import Schema
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget
from polysense.training.balance import BalanceConfig
from polysense.training.balance.gradient_blending import GradientBlendingConfig
from polysense.training.balance.ogm_ge import OGMGEConfig
from polysense.training.balance.staged_freezing import StagedFreezingConfig
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.trainer import Trainer

NAMES = ("clear", "vague", "noise")
BALANCES: dict[str, BalanceConfig] = {
    "gradient_blending": GradientBlendingConfig(),
    "ogm_ge": OGMGEConfig(alpha=0.8),
    "staged_freezing": StagedFreezingConfig(),
    "staged_by_order": StagedFreezingConfig(order=("noise", "vague", "clear"), stage_epochs=1),
}
SCHEMA = Schema(
    columns=tuple(NumberColumn(name=name, mean=0.0, std=1.0) for name in NAMES),
    targets=(
        ClassificationTarget(
            name="label",
            columns=("label",),
            classes=("no", "yes"),
            class_counts=(50, 50),
            num_rows=100,
        ),
        RegressionTarget(name="size", columns=("size",), mean=(0.0,), std=(1.0,), num_rows=100),
    ),
)


def make_model(
    seed: int = 0, *, dropout: float = 0.1, ensemble: Any = None, names: tuple[str, ...] = NAMES, **config: Any
) -> MultimodalModel:
    heads: dict[str, Any] = {
        "label": ClassificationHeadConfig(dropout=dropout),
        "size": RegressionHeadConfig(dropout=dropout, loss_weight=0.5),
    }
    if ensemble is not None:
        heads = {name: EnsembleHeadConfig(head=head, **ensemble) for name, head in heads.items()}
    schema = Schema(columns=tuple(c for c in SCHEMA.columns if c.name in names), targets=SCHEMA.targets)
    settings = ModelConfig(
        **{
            "width": 8,
            "encoders": {name: NumberMLPConfig(hidden=8) for name in names},
            "fusion": ConcatFusionConfig(dropout=dropout),
            "heads": heads,
            "objectives": {"unimodal": UnimodalConfig()},
            **config,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return settings.build(schema)


def rows_batch(rows: np.ndarray, *, columns: tuple[str, ...] = NAMES) -> Batch:
    """The rows' batch, a pure function of the rows; a fifth of the cells is absent."""
    rows = np.asarray(rows, dtype=np.int64)
    draws = torch.from_numpy(uniforms(9, 3, rows)).float()
    label = (draws[:, 0] > 0.5).long()
    sign = 2.0 * label - 1
    values = torch.stack([sign + 0.2 * draws[:, 1], sign + 4 * (draws[:, 2] - 0.5), 2 * draws[:, 3] - 1], dim=1)
    present = draws[:, 4:7] > 0.2
    return Batch(
        rows=torch.from_numpy(rows),
        columns={
            name: ColumnBatch(
                values=values[:, i : i + 1, None], lengths=present[:, i : i + 1].long() * (name in columns)
            )
            for i, name in enumerate(NAMES)
        },
        truths={
            "label": ValueTruth(values=label, present=draws[:, 7] > 0.1),
            "size": ValueTruth(values=(sign * draws[:, 8])[:, None], present=draws[:, 8] > 0.3),
        },
        weights=0.5 + draws[:, 7],
    )


class Loader:
    """Batches in an order that is a pure function of (seed, epoch); a rank has every world_size-th row of a batch."""

    def __init__(
        self, num_rows: int, batch_size: int, *, rank: int = 0, world_size: int = 1, columns: tuple[str, ...] = NAMES
    ) -> None:
        self.num_rows, self.batch_size = num_rows, batch_size
        self.rank, self.world_size, self.columns = rank, world_size, columns

    def num_batches(self, epoch: int) -> int:
        return -(-self.num_rows // self.batch_size)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        order = permutation(self.num_rows, 0, epoch)
        for step in range(start_step, self.num_batches(epoch)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            # Every other batch has no cell of the last column at all.
            columns = self.columns[: 2 + step % 2]
            yield rows_batch(rows[self.rank :: self.world_size], columns=columns)


def measured(splits: tuple[str, ...] = ("train", "validation")) -> dict[str, list[Batch]]:
    starts = {"train": 0, "validation": 1000}
    return {name: [rows_batch(np.arange(starts[name] + k, starts[name] + k + 20)) for k in (0, 20)] for name in splits}


def make_trainer(
    folder: Path,
    model: MultimodalModel,
    balance: BalanceConfig | None,
    *,
    splits: tuple[str, ...] = ("train", "validation"),
    distributed: Distributed | None = None,
    num_rows: int = 14,
    callbacks: Any = (),
    **config: Any,
) -> Trainer:
    peers = distributed or Distributed()
    settings = TrainingConfig(
        **{"epochs": 4, "batch_size": 8, "accumulate": 2, "device": "cpu", "log_every": 3, **config}, balance=balance
    )
    return Trainer(
        settings,
        model,
        Loader(
            num_rows,
            settings.micro_batch_size,
            rank=peers.rank,
            world_size=peers.world_size,
            columns=model.schema.names,
        ),
        folder=folder,
        measured=measured(splits),
        distributed=distributed,
        callbacks=[Checkpointing(), *callbacks],
    )
