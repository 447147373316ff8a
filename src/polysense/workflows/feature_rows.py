"""Feature vectors of a table's rows, and what estimators learn from them.

They come through a model, whose frozen encoders may add numbers of their own, or from preprocessing alone, for a model
that reads none. Either way as prediction gives them: in evaluation mode, without augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.core.batch import Batch, Truth
from polysense.core.pytree import concatenate
from polysense.core.random import fold, permutation
from polysense.core.schema import Schema
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.nn.estimators.examples import FitRows, folds_of
from polysense.nn.head import Head
from polysense.nn.model import MultimodalModel

__all__ = ["NUM_FOLDS", "FeatureReader", "FeatureRows", "FeatureSource", "collect_features", "groups_of"]

NUM_FOLDS = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureReader:
    """What a target's estimators read and learn.

    Attributes:
        head: A head that takes their scores (`Head.output_of`).
        columns: Whose vectors they read.
        excludes: Columns that they must never see.
    """

    head: Head[object]
    columns: tuple[str, ...]
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureSource:
    """Where vectors come from.

    Attributes:
        schema: Of the batches.
        prediction: In which blocks they are computed.
        model: Through which they go, in evaluation mode; None: preprocessing alone makes them.
    """

    schema: Schema
    prediction: PredictionConfig
    model: MultimodalModel | None = None

    def batches(self, dataset: TableDataset, progress: Callable[[int, int], None] | None = None) -> Iterator[Batch]:
        """The rows, where the model is; `progress` gets the rows that are done and the rows there are."""
        device = torch.device("cpu") if self.model is None else next(self.model.parameters()).device
        for batch in PredictLoader(dataset, self.schema, prediction=self.prediction, progress=progress):
            yield batch.to(device)

    def vectors(self, batch: Batch, reader: FeatureReader) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Per column float32 [rows, size], and which rows have it; of the reader's columns.

        Where no network has a part in them, none is computed for them.
        """
        if self.model is not None and self._needs_networks(self.model, reader):
            fused = self.model.fused(batch, reader.head.target.name).columns
            known = {name: fused[name].features for name in reader.columns}
            features = {name: vectors for name, vectors in known.items() if vectors is not None}
            return features, {name: fused[name].present for name in reader.columns}
        features, present = {}, {}
        for name in reader.columns:
            column = batch.columns[name]
            present[name], made = column.present, column.features
            if made is None:
                made = torch.zeros(len(batch.rows), self.schema.column(name).num_features, device=column.present.device)
            features[name] = made.masked_fill(~column.present[:, None], 0.0)
        return features, present

    @staticmethod
    def _needs_networks(model: MultimodalModel, reader: FeatureReader) -> bool:
        encoders = model.column_encoders
        return any(encoders[name].num_item_features or name in reader.excludes for name in reader.columns)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureRows:
    """The rows of a table for one target, in their order.

    Attributes:
        features: Per column float32 [rows, size].
        present: Which rows have which column.
        targets: As estimators learn them, see `Head.learned_values`.
        weights: How much each row counts in learning.
        truth: Of the rows.
        row_weights: As the table has them.
        groups: Per row what stays together in cross-validation; None for nothing.
    """

    features: Mapping[str, Float[np.ndarray, "rows _"]]
    present: Mapping[str, Bool[np.ndarray, " rows"]]
    targets: Float[np.ndarray, "rows _"]
    weights: Float[np.ndarray, " rows"]
    truth: Truth
    row_weights: Float[Tensor, " rows"]
    groups: Sequence[object] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def usable(self, columns: Sequence[str]) -> Int[np.ndarray, " usable"]:
        """The rows that have some of the columns, a target and a weight."""
        some = np.stack([self.present[column] for column in columns], axis=1).any(axis=1)
        return np.flatnonzero(some & (self.weights > 0) & np.isfinite(self.targets).any(axis=1))

    def num_values(self, columns: Sequence[str]) -> float:
        """How many of a row's numbers of some columns are not 0, on average."""
        return sum(np.count_nonzero(self.features[column]) for column in columns) / max(len(self), 1)

    def to_fit(
        self, columns: Sequence[str], folds: Int[np.ndarray, " rows"], num_rows: int, seed: int, name: str
    ) -> FitRows:
        """What an estimator is fitted on.

        Args:
            columns: That it reads.
            folds: Of each row.
            num_rows: That it is fitted on at most; a sample where there are more.
            seed: Of what is drawn.
            name: The estimator's.
        """
        weights, usable = self.weights, self.usable(columns)
        if num_rows < len(usable):
            chosen = usable[permutation(len(usable), seed, "simple baselines", name)[:num_rows]]
            weights = np.zeros_like(weights)
            weights[chosen] = self.weights[chosen]
        return FitRows(
            features={column: self.features[column] for column in columns},
            present=np.stack([self.present[column] for column in columns], axis=1),
            targets=self.targets,
            weights=weights,
            folds=folds,
            seed=int(fold(seed, "estimator", name)) % 2**31,
        )

    def folds(self, head: Head[object], seed: int) -> Int[np.ndarray, " rows"]:
        """The fold of each row, the same for all estimators of a target."""
        assert head.score_kind is not None
        seed = int(fold(seed, "folds")) % 2**32
        folds = folds_of(self.targets, head.score_kind, self.groups, NUM_FOLDS, seed)
        if len(np.unique(folds)) < 2:  # one group: better folds of rows than none
            folds = folds_of(self.targets, head.score_kind, None, NUM_FOLDS, seed)
        return folds


def groups_of(dataset: TableDataset, group: str | None) -> Sequence[object] | None:
    """The groups of a data set's rows; None where its table has none."""
    return None if group is None or not dataset.table.has(group) else dataset.table.cells(group)


@torch.no_grad()
def collect_features(
    source: FeatureSource, dataset: TableDataset, readers: Mapping[str, FeatureReader], group: str | None = None
) -> dict[str, FeatureRows]:
    """Per target the feature vectors of every row, and what is learned from them.

    Args:
        source: Where they come from.
        dataset: Rows with targets, at least one.
        readers: By target.
        group: The table's column whose groups stay whole in cross-validation; None for none.
    """
    parts: dict[str, list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor, Truth, Tensor]]] = {
        name: [] for name in readers
    }
    rows: list[Int[Tensor, " rows"]] = []
    for batch in source.batches(dataset):
        keep = batch.rows >= 0
        rows.append(batch.rows[keep].cpu())
        shared: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
        for name, reader in readers.items():
            key = reader.excludes, reader.columns
            if key not in shared:
                shared[key] = source.vectors(batch, reader)
            features, present = shared[key]
            head, truth = reader.head, reader.head.truth(batch)
            if truth is None:
                continue
            weights = batch.weights * (head.count(truth)["loss"] if head.score_kind == "choice" else truth.present)
            parts[name].append((
                {column: value[keep].cpu() for column, value in features.items()},
                {column: value[keep].cpu() for column, value in present.items()},
                head.learned_values(truth)[keep].cpu(),
                weights[keep].cpu(),
                truth.rows(keep).to("cpu"),
                batch.weights[keep].cpu(),
            ))  # fmt: skip
    order = torch.cat(rows).argsort()
    return {
        name: FeatureRows(
            features={c: torch.cat([part[0][c] for part in own])[order].numpy() for c in own[0][0]},
            present={c: torch.cat([part[1][c] for part in own])[order].numpy() for c in own[0][1]},
            targets=torch.cat([part[2] for part in own])[order].numpy(),
            weights=torch.cat([part[3] for part in own])[order].double().numpy(),
            truth=concatenate([part[4] for part in own]).rows(order),
            row_weights=torch.cat([part[5] for part in own])[order],
            groups=groups_of(dataset, group),
        )
        for name, own in parts.items()
        if own
    }
