"""Series: noise, another scale, a part of them, faster, slower or unevenly.

Jitter, scaling and time warping as in Um et al., "Data Augmentation of Wearable Sensor Data for Parkinson's Disease
Monitoring using Convolutional Neural Networks", 2017, section 3; cropping as in Le Guennec et al., 2016. What was not
measured stays so: a step between a measured and a missing one is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from polysense.config.limits import Fraction, FractionBelowOne, Limit
from polysense.core.batch import ColumnBatch
from polysense.core.random import generator
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.data.augmentation.warp import shifted
from polysense.modalities.series.record import LENGTH_MULTIPLE, SeriesColumn

__all__ = ["SeriesTransform", "SeriesTransformConfig"]

_TABLE_SIZE = 2**16
_NUM_DRAWS = 6
_MOST_WARP = 0.2  # up to which fast is fast


@dataclass(frozen=True, kw_only=True)
class SeriesTransformConfig(TransformConfig):
    """Random jitter, scale, crops and time warps of series.

    Attributes:
        probability: How many of the series are augmented at all, from 0 to 1.
        jitter: Standard deviation of the noise that is added to each value, in the channel's own.
        scale: Each channel is multiplied by a number between 1 - scale and 1 + scale, less than 1.
        time_warp: A series may run up to this share faster or slower, and bends in between.
        min_crop: The least share of a series that a random crop keeps; 1 crops nothing.
    """

    type: Literal["series"] = "series"
    probability: Fraction = 0.8
    jitter: Annotated[float, Limit(0, 10, open_high=True)] = 0.05
    scale: FractionBelowOne = 0.1
    time_warp: FractionBelowOne = 0.1
    min_crop: Annotated[float, Limit(0, 1, open_low=True)] = 0.9

    @property
    def moves(self) -> bool:
        """Crops and warps move what a segment marks."""
        return self.probability > 0 and (self.time_warp > 0 or self.min_crop < 1)

    @property
    def untraced(self) -> tuple[str, ...]:
        """A time warp bends a series, which no matrix says; a crop cuts its beginning off, which one does."""
        return ("time_warp",) if self.probability > 0 and self.time_warp > 0 else ()

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """What labels may speak of."""
        strong = self.probability > 0 and self.time_warp > _MOST_WARP
        return {"fast and slow": {"time_warp": _MOST_WARP}} if strong else {}

    def build(self, column: Column) -> SeriesTransform:
        """The transform for a column of series."""
        return SeriesTransform(self, SeriesColumn.of(column))


class SeriesTransform(Transform):
    """See `SeriesTransformConfig`."""

    def __init__(self, config: SeriesTransformConfig, column: SeriesColumn) -> None:
        self.config = config
        self._num_channels = column.num_channels
        self._name = f"series:{column.name}"

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Augments a batch; float32 [batch, items, steps, channels]."""
        if self.config.probability == 0:
            return column
        batch, num_items = column.lengths.shape
        draws = item_uniforms(_NUM_DRAWS + self._num_channels, seed, epoch, rows, self._name, num_items)
        flat = draws.reshape(batch * num_items, -1)
        values, lengths, cut = self._vary(column.values.flatten(0, 1), column.lengths.flatten(), flat)
        moved = None if cut is None else shifted(-cut.view(batch, num_items), column.lengths)
        values, lengths = values.view(batch, num_items, *values.shape[1:]), lengths.view(batch, num_items)
        if moved is not None and self.config.untraced:
            moved = torch.full_like(moved, torch.nan)
        return replace(column, values=values, lengths=lengths, geometry=moved)

    def _vary(self, values: Tensor, lengths: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        """float32 [items, steps, channels] and int64 [items], augmented; and the steps that were cut off before."""
        config, device, cut = self.config, values.device, None
        chosen = torch.from_numpy(draws[:, 0] < config.probability).to(device) & (lengths > 0)
        uniform = torch.from_numpy(draws).to(device)
        if config.time_warp > 0 or config.min_crop < 1:
            values, lengths, cut = self._resample(values, lengths, chosen, uniform)
        valid = (torch.arange(values.shape[1], device=device) < lengths[:, None])[..., None] & chosen[:, None, None]
        if config.scale > 0:
            factor = 1 + config.scale * (2 * uniform[:, _NUM_DRAWS:] - 1)
            values = torch.where(valid, values * factor[:, None].to(values.dtype), values)
        if config.jitter > 0:
            values = torch.where(valid, values + config.jitter * _noise(uniform[:, 5], values), values)
        return values, lengths, cut

    def _resample(
        self, values: Tensor, lengths: Tensor, chosen: Tensor, uniform: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A window of each series, read at another speed, by linear interpolation; and where the window begins."""
        config = self.config
        share = torch.where(chosen, config.min_crop + (1 - config.min_crop) * uniform[:, 1], 1.0)
        window = (share * lengths).ceil().long().clamp(min=1)
        start = (uniform[:, 2] * (lengths - window + 1)).floor().long().clamp(min=0)
        start = torch.minimum(start, (lengths - window).clamp(min=0))
        speed = torch.where(chosen, (1 + config.time_warp) ** (2 * uniform[:, 3] - 1), 1.0)
        steps = torch.where(lengths > 0, (window / speed).round().long().clamp(min=1), 0)
        longest = math.ceil(values.shape[1] * (1 + config.time_warp))
        longest = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        index = torch.arange(longest, device=values.device)
        last, new_last = (window - 1)[:, None].double(), (steps - 1).clamp(min=1)[:, None].double()
        # Multiplied before it is divided: without a warp every place is a whole step, and nothing is interpolated.
        place = (index * last / new_last).minimum(last)
        # The bend fixes both ends and is monotone: its slope is below 1.
        bend = torch.where(chosen, config.time_warp * (2 * uniform[:, 4] - 1), 0.0)[:, None]
        place = place + bend / math.pi * (math.pi * (index / new_last).clamp(max=1)).sin() * last
        place = start[:, None] + place.clamp(min=0).minimum(last)
        low = place.floor()
        weight = (place - low)[..., None].to(values.dtype)
        low_index = low.long().clamp(max=values.shape[1] - 1)[..., None].expand(-1, -1, values.shape[2])
        high_index = (low_index + 1).clamp(max=values.shape[1] - 1)
        below, above = values.gather(1, low_index), values.gather(1, high_index)
        mixed = torch.where(weight > 0, below + weight * (above - below), below)
        inside = (index < steps[:, None])[..., None]
        return mixed.masked_fill(~inside, 0.0), steps, start


def _noise(place: Tensor, values: Tensor) -> Tensor:
    """Normal draws for each value, from one table that each item enters at its own place; no hash for each value."""
    table = torch.from_numpy(generator("series noise").standard_normal(_TABLE_SIZE, dtype=np.float32))
    start = (place * _TABLE_SIZE).long()
    steps = torch.arange(values.shape[1], device=values.device) * values.shape[2]
    channels = torch.arange(values.shape[2], device=values.device)
    index = (start[:, None, None] + steps[:, None] + channels) % _TABLE_SIZE
    return table.to(values.device)[index]
