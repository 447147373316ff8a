"""Predict a batch from subsets of its columns: encoded once, stacked where the model is small and the table narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.workflows.audit.changes import Encoded, masked
from polysense.workflows.audit.stacking import num_stacked, predict_variants

__all__ = ["encoded_batch", "from_subsets"]


def encoded_batch(bundle: Bundle, batch: Batch) -> Encoded:
    """A batch on the model's device, and its tokens."""
    moved = batch.to(bundle.device)
    with torch.no_grad():
        return moved, bundle.model.encode(moved)


def from_subsets(bundle: Bundle, encoded: Encoded, subsets: list[frozenset[str]]) -> Sequence[Mapping[str, Prediction]]:
    """Predictions by target, from each subset of the columns as if there were no others.

    Args:
        bundle: The model, in eval mode.
        encoded: A batch and its tokens.
        subsets: Of its columns' names.
    """
    batch, tokens = encoded
    if num_stacked(tokens) == 1 or bundle.model.candidates:  # candidates lack the columns too, and are not of the rows
        return bundle.model.predict(batch, subsets, tokens=tokens, write=False)
    none = np.zeros(len(batch), dtype=bool)
    absent = ({name: none for name in bundle.schema.names if name not in subset} for subset in subsets)
    variants = (masked(encoded, each) for each in absent)
    return [predictions for _, predictions in predict_variants(bundle.model, variants)]
