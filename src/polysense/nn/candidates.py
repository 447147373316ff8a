"""Heads that choose among candidates: what is chosen from is encoded once, and not once for every row.

The candidates of a catalogue are rows of their own, of the columns that describe them. A head says where each lies; the
model keeps that for as long as its weights and the columns that are looked at stay the same, and hands it to the head
with the rows (`RowContext.candidates`). What a bundle keeps is the last of it, as one of the head's buffers, so that it
predicts without the catalogue's files.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.rows import RowContext
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head

__all__ = ["CandidateHead"]

O = TypeVar("O")  # noqa: E741 (as in `nn.head`)


class CandidateHead(Head[O], Generic[O]):
    """A head whose predictions are of a catalogue's candidates.

    Attributes:
        catalogue: [candidates, size], what it says of each, as it was at the end of the training.
    """

    FORWARD_METHODS = (*Head.FORWARD_METHODS, "candidates")

    catalogue: Tensor

    def __init__(self, target: Target, loss_weight: float, num_candidates: int, size: int) -> None:
        super().__init__(target, loss_weight)
        self.register_buffer("catalogue", Tensor(num_candidates, size).zero_())

    @property
    @abstractmethod
    def candidate_columns(self) -> Collection[str]:
        """The input columns that describe candidates."""

    @abstractmethod
    def candidates(self, fused: Fused, context: RowContext, truth: Truth) -> Float[Tensor, "batch size"]:
        """What it has to know of candidates.

        Args:
            fused: Of rows of the catalogue.
            context: What is known of the rows.
            truth: Which candidates they are.
        """

    @abstractmethod
    def fit_counts(self, counts: Mapping[str, np.ndarray]) -> None:
        """Takes what its target counts of the training rows (`TargetProcessor.counted`)."""
