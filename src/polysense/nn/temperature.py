"""Temperature: one number that divides all logits, fitted on rows that were not trained on.

It changes no decision, and takes most of a network's overconfidence away (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017, section 4.2). A Gaussian prior of deviation 1/2 around log 1, in nats over all rows, keeps a
handful of rows from moving it far.

A model is not as sure of itself, or not as rightly, where columns are missing: rows that have a subset of the columns
have a factor of their own, with a prior of half that deviation, so that few rows leave it near the temperature of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Truth
from polysense.core.random import fold
from polysense.core.tokens import Fused

__all__ = ["MOST_SUBSETS", "SubsetFactors", "SubsetRows", "Temperature", "fit_temperature"]

O = TypeVar("O")  # noqa: E741  # a head's output

_DEVIATION = 0.5
_FARTHEST = 3.0  # of the logarithm: a factor of 20

MOST_SUBSETS = 64
"""Of the columns that have a factor of their own: all of six columns."""


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What was fitted.

    Attributes:
        value: The temperature.
        before: The mean loss of the rows that fitted it, in nats, at temperature 1.
        after: The same at this one.
    """

    value: float
    before: float
    after: float

    def __str__(self) -> str:
        return (
            f"temperature {self.value:.2f}, with which their log loss is {self.after:.3f} in place of {self.before:.3f}"
        )


def fit_temperature(
    loss: Callable[[Float[Tensor, "rows outputs"]], Float[Tensor, " rows"]],
    logits: Float[Tensor, "rows outputs"],
    weights: Float[Tensor, " rows"],
    *,
    deviation: float = _DEVIATION,
) -> Temperature | None:
    """The temperature where the loss is least; None where no row counts.

    Args:
        loss: Of logits each row's loss, in nats.
        logits: Of rows that were not trained on.
        weights: How much each row counts; 0 where the truth is unknown.
        deviation: Of the prior of its logarithm.
    """
    from scipy.optimize import minimize_scalar

    logits, weights = logits.double(), weights.double()
    if not float(weights.sum()):
        return None

    def total(logarithm: float) -> float:
        with torch.no_grad():
            return float((loss(logits / math.exp(logarithm)) * weights).sum())

    def objective(logarithm: float) -> float:
        return total(logarithm) + 0.5 * (logarithm / deviation) ** 2

    best = float(minimize_scalar(objective, bounds=(-_FARTHEST, _FARTHEST), method="bounded").x)
    # What is kept has 32 bits. Where the search ends above its start, the rows are no better for it.
    value = float(np.float32(math.exp(best)))
    if objective(math.log(value)) > objective(0.0):
        value = 1.0
    rows = float(weights.sum())
    return Temperature(value=value, before=total(0.0) / rows, after=total(math.log(value)) / rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class SubsetRows(Generic[O]):
    """Rows that have some columns and no others, as they are or with the rest masked.

    Attributes:
        columns: Those that they have.
        output: What `read` gave for them, in evaluation mode.
        truth: Of the same rows.
        weights: Of the rows; 0 of those that do not count.
    """

    columns: frozenset[str]
    output: O
    truth: Truth
    weights: Float[Tensor, " rows"]


class SubsetFactors(nn.Module):
    """Factors of the temperature by the columns that a row has; 1 where none was fitted.

    A subset is known by the sum of its columns' hashes: of the same shape however many columns a model has, and the
    same in a model of other columns beside them.
    """

    codes: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(MOST_SUBSETS, dtype=torch.int64))  # 0: not used
        self.register_buffer("values", torch.ones(MOST_SUBSETS))

    def forward(self, fused: Fused) -> Float[Tensor, " batch"]:
        """Each row's factor, by the columns that it has."""
        present = torch.stack([each.present for each in fused.columns.values()], dim=1)
        # Sums of integers wrap around and are the same in any order.
        codes = (present * torch.tensor(_hashes(tuple(fused.columns)), device=present.device)).sum(dim=1)
        matches = codes[:, None] == self.codes
        return torch.where(matches.any(dim=1), self.values[matches.long().argmax(dim=1)], 1.0)

    def set(self, factors: Mapping[frozenset[str], float]) -> None:
        """Puts factors by subset in the place of all that were there; at most `MOST_SUBSETS`."""
        assert len(factors) <= MOST_SUBSETS, f"{len(factors)} subsets, and there is room for {MOST_SUBSETS}"
        self.codes.zero_()
        self.values.fill_(1.0)
        for i, (columns, factor) in enumerate(factors.items()):
            self.codes[i], self.values[i] = _code(columns), factor

    def of(self, columns: Collection[str]) -> float:
        """The factor of rows that have these columns and no others."""
        factors: dict[int, float] = dict(zip(self.codes.tolist(), self.values.tolist(), strict=True))
        return factors.get(_code(columns), 1.0)


@lru_cache(maxsize=64)
def _hashes(columns: tuple[str, ...]) -> tuple[int, ...]:
    """One number for each column; a wide table asks at every prediction."""
    return tuple(int(fold("subset", column).astype(np.int64)) for column in columns)


def _code(columns: Collection[str]) -> int:
    with np.errstate(over="ignore"):
        return int(np.array(_hashes(tuple(columns)), dtype=np.int64).sum())
