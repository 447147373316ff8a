"""Cleaning of time series: steps that were not measured, between steps that were, by interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.data.cleaning import CleaningConfig, MediaCleaning
from polysense.data.imputation import ImputationConfig

__all__ = ["InterpolateConfig", "InterpolateStepsConfig", "Steps"]


class Steps(NamedTuple):
    """A series: float64 [steps, channels], NaN where not measured."""

    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class InterpolateStepsConfig(CleaningConfig):
    """Fills steps that were not measured on the straight line between the measured ones beside them.

    Each channel by itself, by the number of the step. Before the first and after the last measured step nothing is
    known, and nothing is filled; a channel that was not measured stays so, as does a cell that is missing.

    Attributes:
        longest: Steps of the longest gap that is filled; null fills all.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["interpolate_steps"] = "interpolate_steps"
    longest: PositiveInt | None = None


class InterpolateSteps(MediaCleaning, config=InterpolateStepsConfig):
    """See `InterpolateStepsConfig`."""

    def __init__(self, config: InterpolateStepsConfig) -> None:
        super().__init__(config)
        self._longest = config.longest

    def clean(self, value: object) -> object:
        """See `Cleaning`."""
        if not isinstance(value, Steps) or not np.isnan(value.values).any():
            return value
        filled = value.values.copy()
        for channel in filled.T:  # views
            measured = np.flatnonzero(~np.isnan(channel))
            if len(measured) < 2:
                continue
            gaps = np.arange(measured[0], measured[-1] + 1)
            gaps = gaps[np.isnan(channel[gaps])]
            after = np.searchsorted(measured, gaps)
            left, right = measured[after - 1], measured[after]
            if self._longest is not None:
                chosen = right - left - 1 <= self._longest
                gaps, left, right = gaps[chosen], left[chosen], right[chosen]
            share = (gaps - left) / (right - left)
            channel[gaps] = channel[left] * (1 - share) + channel[right] * share
        return value if np.array_equal(filled, value.values, equal_nan=True) else Steps(filled)


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(ImputationConfig):
    """A line between the measured steps beside a gap, for steps of a time series that were not measured.

    The same as the cleaning `interpolate_steps`. A cell that is missing stays masked, since no other step tells of it.

    Attributes:
        longest: Steps of the longest gap that is filled; null fills all.
    """

    type: Literal["interpolate"] = "interpolate"
    longest: PositiveInt | None = None

    def within_cells(self) -> InterpolateStepsConfig:
        """See `ImputationConfig`."""
        return InterpolateStepsConfig(longest=self.longest)
