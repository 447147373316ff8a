"""Predictions from networks alone or from columns' feature vectors alone: what has no weight in the answer is not made.

The weights of an ensemble are fitted on held-out rows. Of a small table they are often 0 for every network, since its
linear models and trees know more: what these read is made by preprocessing, so encoders and fusion are left out. Of a
large one they are 0 for every simple model, and no feature vector is made. A row's bits stay what they are: its scores
come from the same numbers by the same operations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch

from polysense.core.batch import Batch
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.nn.encoder import Encoder

__all__ = ["VectorHead", "fused_vectors"]


class VectorHead(ABC):
    """A head that may need no networks, or no feature vectors."""

    @property
    @abstractmethod
    def vectors_read(self) -> tuple[str, ...]:
        """The columns whose feature vectors a prediction reads."""

    @property
    @abstractmethod
    def read_alone(self) -> tuple[str, ...]:
        """The columns whose feature vectors are all that the prediction of a row reads that has one of them; none where
        networks are read too."""


def fused_vectors(
    head: object, excludes: tuple[str, ...], batch: Batch, encoders: Mapping[str, Encoder], width: int
) -> Fused | None:
    """What a head reads, with feature vectors and without tokens; None where it needs networks.

    Args:
        head: Any head.
        excludes: Columns that it must never see.
        batch: The rows.
        encoders: By column.
        width: Of the tokens that there are none of.
    """
    columns = head.read_alone if isinstance(head, VectorHead) else ()
    if not columns or any(encoders[name].num_item_features for name in columns):
        return None
    there = {name: batch.columns[name].present & (name not in excludes) for name in encoders}
    some = torch.stack([there[name] for name in columns]).any(dim=0)
    if bool((~some & (batch.rows >= 0)).any()):  # what only fills the shape is left out by whoever reads the rows
        return None
    nothing = Tokens.nothing(len(batch.rows), width, batch.rows.device)
    pooled = nothing.values[:, 0]
    fused = {}
    for name in encoders:
        column, vectors = batch.columns[name], None
        if name in columns:
            vectors = column.features
            if vectors is None:
                vectors = pooled.new_zeros(len(pooled), encoders[name].num_features)
            vectors = vectors.float().masked_fill(~there[name][:, None], 0.0)
        lengths = column.lengths * there[name][:, None]
        fused[name] = FusedColumn(nothing, pooled, there[name], lengths, column.geometry, vectors)
    return Fused(pooled, fused)
