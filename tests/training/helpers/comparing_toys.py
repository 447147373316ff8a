"""Two linear encoders and the real contrastive head beside an ordinary one, for the tests of whole batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.random import permutation, uniforms
from polysense.core.rows import ModelOutput, RowContext, RowLoss
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig
from polysense.tasks.retrieval.record import RetrievalTarget

WIDTH, HIDDEN = 6, 32
COLUMNS = ("a", "b")


class SpaceModel(nn.Module):
    """A joint embedding space of two columns and a regression from one of them."""

    def __init__(self, loss: Any = "infonce", dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoders = nn.ModuleList(
                nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Dropout(dropout)) for _ in COLUMNS
            )
            target = RetrievalTarget(name="space", columns=COLUMNS, members=COLUMNS)
            self.head = ContrastiveHeadConfig(dropout=0.0, size=8, loss=loss, chunk=5).build(target, HIDDEN)
            self.age = nn.Linear(HIDDEN, 1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: Tensor
        self.loss_weights = {"space": 1.0, "age": 0.5}

    def forward(self, batch: Batch, only: Any = None, deferred: Any = ()) -> ModelOutput:
        if self.training:
            self.seen += 1
        columns = {}
        for name, encoder in zip(COLUMNS, self.encoders, strict=True):
            column = batch.columns[name]
            summary = encoder(column.values[:, 0]) * column.present[:, None]
            tokens = Tokens(summary[:, None], column.present[:, None], (1,))
            columns[name] = FusedColumn(tokens, summary, column.present, column.lengths)
        fused = Fused(columns["a"].summary + columns["b"].summary, columns)
        space = self.head(fused, RowContext(batch.rows, batch.rows))
        outputs = {"space": space, "age": self.age(columns["a"].summary)[:, 0]}
        if only is not None:
            return ModelOutput({name: outputs[name] for name in only}, {})
        age, weights = batch.truths["age"], batch.weights
        losses = {"age": RowLoss((outputs["age"] - age.values) ** 2 * weights, weights)}
        if "space" not in deferred:
            losses["space"] = self.head.loss(space, batch.truths["space"])["loss"].weighted(weights)
        return ModelOutput(outputs, losses)

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        space = self.head.count(batch.truths["space"])["loss"]
        return {"space": (space * batch.weights).sum(), "age": batch.weights.sum()}

    def parameter_groups(self) -> list[Any]:
        return []

    def contrasting(self) -> dict[str, Any]:
        return {"space": self.head}


def pairs_batch(rows: np.ndarray) -> Batch:
    """The rows' batch, a pure function of the rows: some lack a column, and some hold the same."""
    rows = np.asarray(rows, dtype=np.int64)
    draws = torch.from_numpy(uniforms(2 * WIDTH + 4, 11, rows)).float()
    shared = draws[:, :WIDTH]
    values = {"a": shared, "b": 1 - shared + 0.1 * draws[:, WIDTH : 2 * WIDTH]}
    there = {name: draws[:, 2 * WIDTH + i] > 0.15 for i, name in enumerate(COLUMNS)}
    keys = torch.stack([1 + torch.from_numpy(rows), 1001 + torch.from_numpy(rows) // 2], dim=1)
    keys = keys * torch.stack([there[name] for name in COLUMNS], dim=1)
    return Batch(
        rows=torch.from_numpy(rows),
        columns={
            name: ColumnBatch(values=values[name][:, None], lengths=there[name].long()[:, None]) for name in COLUMNS
        },
        truths={
            "space": ValueTruth(values=keys, present=(keys != 0).all(dim=1)),
            "age": ValueTruth(values=shared[:, 0], present=torch.ones(len(rows), dtype=torch.bool)),
        },
        weights=0.5 + draws[:, -1],
    )


class SpaceLoader:
    """Batches in an order that is a pure function of the epoch; a rank has every world_size-th row of a batch."""

    def __init__(self, num_rows: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self.num_rows, self.batch_size, self.rank, self.world_size = num_rows, batch_size, rank, world_size

    def num_batches(self, epoch: int) -> int:
        return -(-self.num_rows // self.batch_size)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        order = permutation(self.num_rows, 0, epoch)
        for step in range(start_step, self.num_batches(epoch)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size][self.rank :: self.world_size]
            yield pairs_batch(rows)
