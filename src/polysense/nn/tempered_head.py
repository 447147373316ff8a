"""Tempered head: a head of logits that are divided by a temperature where they become probabilities.

One temperature is fitted on all rows, then a factor of it for each subset of the columns (`nn.temperature`). Neither
changes what is most probable, nor a loss that is trained on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Truth, ValueTruth
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused
from polysense.nn.head import Head, Logits
from polysense.nn.temperature import SubsetFactors, SubsetRows, fit_temperature

__all__ = ["TemperedHead"]

_DEVIATION = 0.25
"""Of a factor's logarithm around 0: half the temperature's own, for it is fitted on the same rows once more."""


class TemperedHead(Head[Logits]):
    """Logits with a fitted temperature.

    Attributes:
        temperature: Of all rows.
        subset_factors: What it is multiplied with, by the columns that a row has; None of an expert among others, whose
            combination has them.
    """

    temperature: Tensor

    def __init__(self, target: Target, loss_weight: float = 1.0) -> None:
        super().__init__(target, loss_weight)
        self.register_buffer("temperature", torch.ones(()))
        self.subset_factors: SubsetFactors | None = None

    def connect(self, columns: Sequence[Column]) -> None:
        del columns
        self.subset_factors = SubsetFactors()

    @abstractmethod
    def log_loss(self, logits: Float[Tensor, "rows outputs"], truth: ValueTruth) -> Float[Tensor, " rows"]:
        """Each row's log loss in nats, whatever weights or smoothing the training has."""

    @property
    def calibrates(self) -> bool:
        return True

    def calibrate(self, output: Logits, truth: Truth, weights: Float[Tensor, " batch"]) -> str | None:
        """Fits the temperature."""
        assert isinstance(truth, ValueTruth)
        temperature = fit_temperature(partial(self.log_loss, truth=truth), output.values, truth.present * weights)
        if temperature is None:
            return None
        self.temperature.fill_(temperature.value)
        if self.subset_factors is not None:
            self.subset_factors.set({})
        return str(temperature)

    def calibrate_subsets(self, subsets: Sequence[SubsetRows[Logits]]) -> str | None:
        return None if self.subset_factors is None else self.fit_factors(self.subset_factors, subsets)

    def fit_factors(self, factors: SubsetFactors, subsets: Sequence[SubsetRows[Logits]]) -> str | None:
        """Fits factors of the temperature, which may be another head's that combines such as this; in words."""
        fitted = {}
        for each in subsets:
            assert isinstance(each.truth, ValueTruth)
            temperature = fit_temperature(
                partial(self.log_loss, truth=each.truth),
                each.output.values / self.temperature,
                each.truth.present * each.weights,
                deviation=_DEVIATION,
            )
            if temperature is not None:
                fitted[each.columns] = temperature
        if not fitted:
            return None
        factors.set({columns: each.value for columns, each in fitted.items()})
        temperatures = [float(self.temperature) * each.value for each in fitted.values()]
        before, after = (
            sum(losses) / len(fitted)
            for losses in ([each.before for each in fitted.values()], [each.after for each in fitted.values()])
        )
        return (
            f"{min(temperatures):.2f} to {max(temperatures):.2f} by the columns that a row has ({len(fitted)} "
            f"subsets), with which their mean log loss is {after:.3f} in place of {before:.3f}"
        )

    def temperature_of(self, columns: Collection[str]) -> float:
        factor = 1.0 if self.subset_factors is None else self.subset_factors.of(columns)
        return float(self.temperature) * factor

    def tempered(self, output: Logits, fused: Fused) -> Logits:
        return output if self.subset_factors is None else self.divided(output, self.subset_factors(fused))

    def divided(self, output: Logits, factors: Float[Tensor, " batch"]) -> Logits:
        """The logits divided by a factor of each row."""
        return replace(output, values=output.values.float() / factors[:, None])
