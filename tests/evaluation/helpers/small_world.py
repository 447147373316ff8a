"""A table with a known answer, its rows in batches, and models of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.prediction import Prediction
from polysense.core.sample import SourceInfo, Unreadable
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget


class World:
    """A table with a known answer: column "strong" tells the class, "weak" hints at it, "noise" knows nothing."""

    def __init__(self, num_rows: int = 120, num_classes: int = 3) -> None:
        draws = np.random.default_rng(0)
        self.label = ClassificationTarget(
            name="label",
            columns=("label",),
            classes=tuple(f"class {i}" for i in range(num_classes)),
            class_counts=(30, 20, 10, *(5,) * (num_classes - 3)),
        )
        self.price = RegressionTarget(name="price", columns=("price",), mean=(2.0,), std=(1.5,), num_rows=60)
        self.targets = (self.label, self.price)
        self.columns = (
            ImageColumn(name="strong", image_size=(8, 8), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
            TextColumn(name="weak", vocabulary_size=10),
            NumberColumn(name="noise", mean=0.0, std=1.0),
        )
        self.labels = draws.integers(0, num_classes, num_rows)
        self.prices = draws.normal(2.0, 1.5, num_rows).astype(np.float32)
        self.has_label = draws.random(num_rows) < 0.9
        onehot = np.eye(num_classes)[self.labels]
        self.evidence = {
            "strong": 3.0 * onehot + draws.normal(size=onehot.shape),
            "weak": 1.0 * onehot + 0.7 * draws.normal(size=onehot.shape),
            "noise": np.zeros_like(onehot),
        }

    def predict_subset(self, batch: Batch, subset: frozenset[str]) -> dict[str, Prediction]:
        rows = batch.rows.numpy()
        logits = sum(
            (self.evidence[name][rows] for name in sorted(subset)), np.zeros((len(rows), self.labels.max() + 1))
        )
        probabilities = torch.tensor(logits).softmax(dim=1).float()
        price = self.prices[rows] + 0.5 if "strong" in subset else np.full(len(rows), 2.0, dtype=np.float32)
        return {
            "label": {"values": probabilities.argmax(dim=1), "probabilities": probabilities},
            "price": {"values": torch.tensor(price, dtype=torch.float32)[:, None]},
        }

    def predict(self, batch: Batch) -> dict[str, Prediction]:
        return self.predict_subset(batch, frozenset(column.name for column in self.columns))

    def predict_subsets(self, batch: Batch, subsets: list[frozenset[str]]) -> list[dict[str, Prediction]]:
        return [self.predict_subset(batch, subset) for subset in subsets]

    def batches(self, size: int = 50, order: np.ndarray | None = None) -> Iterator[Batch]:
        """Batches of exactly `size` rows; the last is filled up with rows -1."""
        rows = np.arange(len(self.labels)) if order is None else order
        for start in range(0, len(rows), size):
            own = np.full(size, -1)
            part = rows[start : start + size]
            own[: len(part)] = part
            imputed, even = torch.tensor(own >= 0), torch.tensor(own % 2 == 0)
            source = SourceInfo(table="table.csv", row=int(own[0]), column="strong", file="a.png")
            yield Batch(
                rows=torch.tensor(own),
                columns={
                    "strong": ColumnBatch(values=torch.zeros(size, 1, 1), lengths=imputed[:, None].long()),
                    "weak": ColumnBatch(values=torch.zeros(size, 1, 1), lengths=(imputed & even)[:, None].long()),
                },
                truths={
                    "label": ValueTruth(
                        values=torch.tensor(np.where(own >= 0, self.labels[own], 0)),
                        present=imputed & torch.tensor(self.has_label[own]),
                    ),
                    "price": ValueTruth(values=torch.tensor(self.prices[own])[:, None], present=imputed),
                },
                unreadable=(Unreadable(source=source, reason="ends in the middle"),),
            )
