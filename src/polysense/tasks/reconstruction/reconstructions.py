"""What an evaluation needs of columns that are restored: each row's errors, beside those of the mean predictor.

Columns themselves are not kept: a table of pictures, restored, may not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np

from polysense.core.batch import Batch
from polysense.core.prediction import Prediction

__all__ = ["NAMES", "ReconstructionSource", "Reconstructions"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstructions:
    """Per row and restored column, float64 [rows, columns]; NaN where the true cell is not known.

    Attributes:
        errors: Of what is restored from all of the row's columns: the mean squared error in the column's standard
            deviations, or nats per token or category.
        hits: The share of tokens that is right, or whether the category is; NaN where neither is.
        filled_errors: The error where the cell itself is hidden and filled from the others; NaN also without others.
        filled_hits: Likewise the share that is right.
        mean_errors: The error of saying the training mean, or the training shares.
        mean_hits: The share that is right by saying the most frequent.
    """

    errors: np.ndarray
    hits: np.ndarray
    filled_errors: np.ndarray
    filled_hits: np.ndarray
    mean_errors: np.ndarray
    mean_hits: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Reconstructions:
        return Reconstructions(**{name: values[rows] for name, values in self.as_arrays().items()})

    def as_arrays(self) -> dict[str, np.ndarray]:
        """By the attributes' names."""
        return {name: getattr(self, name) for name in NAMES}

    @staticmethod
    def concatenate(parts: Sequence[Reconstructions]) -> Reconstructions:
        """The rows of several batches, in order."""
        return Reconstructions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in NAMES})

    @staticmethod
    def of_errors(errors: np.ndarray) -> Reconstructions:
        """Where nothing but the errors is known.

        Args:
            errors: [rows, columns].
        """
        unknown = np.full(errors.shape, np.nan)
        return Reconstructions(
            errors=errors.astype(np.float64),
            hits=unknown,
            filled_errors=unknown,
            filled_hits=unknown,
            mean_errors=unknown,
            mean_hits=unknown,
        )

    @property
    def by_mean(self) -> Reconstructions:
        """The same rows by the mean predictor, which says the same whatever is hidden."""
        return replace(
            self,
            errors=self.mean_errors,
            hits=self.mean_hits,
            filled_errors=np.where(np.isnan(self.filled_errors), np.nan, self.mean_errors),
            filled_hits=np.where(np.isnan(self.filled_hits), np.nan, self.mean_hits),
        )


NAMES = tuple(field.name for field in fields(Reconstructions))
"""The attributes' names."""

ReconstructionSource: TypeAlias = Callable[[Batch, Prediction], Reconstructions]
"""From a batch as it was read, and what was predicted of it, to its rows' errors."""
