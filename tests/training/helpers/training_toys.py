"""A two-layer network with two heads, and rows of unequal length with missing targets, for the trainer's tests.

A module of its own, so that a test's subprocess can import it as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.metric import Metric
from polysense.core.random import permutation, uniforms
from polysense.core.rows import ModelOutput, RowLoss

WIDTH = 6

METRICS = {
    "label": (
        Metric(name="accuracy", higher_is_better=True, bounds=(0.0, 1.0), description="Share.", is_selection=True),
        Metric(name="log_loss", higher_is_better=False, bounds=(0.0, math.inf), description="Nats.", is_finer=True),
    ),
    "age": (Metric(name="r2", higher_is_better=True, bounds=(-math.inf, 1.0), description="R2.", is_selection=True),),
}
"""What `validate` measures."""


class ToyModel(nn.Module):
    """Masked mean of a row's items, a hidden layer with dropout, one classification and one regression."""

    def __init__(self, hidden: int = 16, dropout: float = 0.2, seed: int = 0, norm: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Linear(WIDTH, hidden), *([nn.LayerNorm(hidden)] if norm else []), nn.GELU(), nn.Dropout(dropout)
            )
            self.label = nn.Linear(hidden, 3)
            self.age = nn.Linear(hidden, 1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: Tensor
        self.loss_weights = {"label": 1.0, "age": 0.5}
        self.groups: list[Any] = []

    def forward(self, batch: Batch, only: Any = None, deferred: Any = ()) -> ModelOutput:
        if self.training:
            self.seen += 1
        column = batch.columns["x"]
        valid = torch.arange(column.values.shape[2]) < column.lengths[:, :1]
        values = (column.values[:, 0] * valid[..., None]).sum(1) / column.lengths.clamp(min=1)
        hidden = self.body(values)
        outputs = {"label": self.label(hidden), "age": self.age(hidden)[:, 0]}
        return ModelOutput(outputs, self.losses(outputs, batch))

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, RowLoss]:
        weights = {name: batch.weights * target.present for name, target in batch.truths.items()}
        label, age = batch.truths["label"], batch.truths["age"]
        each = nn.functional.cross_entropy(outputs["label"], label.values, reduction="none")
        error = (outputs["age"] - torch.where(age.present, age.values, 0.0)) ** 2
        return {
            "label": RowLoss(each * weights["label"], weights["label"]),
            "age": RowLoss(error * weights["age"], weights["age"]),
        }

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {name: (batch.weights * target.present).sum() for name, target in batch.truths.items()}

    def parameter_groups(self) -> list[Any]:
        return self.groups


def rows_batch(rows: np.ndarray, *, age_present: bool = True) -> Batch:
    """The rows' batch, a pure function of the rows."""
    rows = np.asarray(rows, dtype=np.int64)
    draws = torch.from_numpy(uniforms(5 * WIDTH + 4, 7, rows)).float()
    lengths = 1 + (draws[:, -1] * 5).long()
    longest = int(lengths.max()) if len(rows) else 1
    values = draws[:, : 5 * WIDTH].reshape(-1, 5, WIDTH)[:, :longest]
    label = ((values[:, 0, 0] * 3).long()).clamp(max=2)
    age_known = (draws[:, -2] > 0.4) & torch.tensor(age_present)
    return Batch(
        rows=torch.from_numpy(rows),
        columns={"x": ColumnBatch(values=values[:, None], lengths=lengths[:, None])},
        truths={
            "label": ValueTruth(values=label, present=draws[:, -3] > 0.2),
            "age": ValueTruth(values=torch.where(age_known, values[:, 0, 1] * 2, torch.nan), present=age_known),
        },
        weights=0.5 + draws[:, -4],
    )


class ToyLoader:
    """Batches in an order that is a pure function of (seed, epoch); a rank has every world_size-th row of a batch."""

    def __init__(
        self, num_rows: int, batch_size: int, *, seed: int = 0, rank: int = 0, world_size: int = 1, age: bool = True
    ) -> None:
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self.rank, self.world_size, self.age = rank, world_size, age
        self.served: list[list[int]] = []

    def num_batches(self, epoch: int) -> int:
        return -(-self.num_rows // self.batch_size)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        order = permutation(self.num_rows, self.seed, epoch)
        for step in range(start_step, self.num_batches(epoch)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size][self.rank :: self.world_size]
            self.served.append(rows.tolist())
            yield rows_batch(rows, age_present=self.age)


def validate(model: ToyModel) -> Callable[[], dict[str, float]]:
    """A validation over 32 other rows."""

    def run() -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        batch = rows_batch(np.arange(1000, 1032))
        output = model(batch)
        losses = output.losses
        accuracy = (output.outputs["label"].argmax(1) == batch.truths["label"].values).float().mean().item()
        values = {name: (loss.total.sum() / loss.count.sum()).item() for name, loss in losses.items()}
        return {
            "label/accuracy": accuracy,
            "label/log_loss": values["label"],
            "age/r2": 1 - values["age"],
            "loss": values["label"] + 0.5 * values["age"],
        }

    return run


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
