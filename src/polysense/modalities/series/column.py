"""Time series: channels picked by name and scaled each by itself; a missing step stays missing.

Channels differ in unit (degrees, g, volts), so each is centered and scaled by its own training steps: by median and
interquartile range, which a spike does not move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.cleaning import NUM_COUNTED
from polysense.data.column import NUM_SAMPLED, ColumnConfig, ColumnProcessor, TrainingCells, length_limit
from polysense.data.training_cells import cut_warning
from polysense.data.values.sentinels import Sentinels, is_any_of
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.series.cleaning import Steps
from polysense.modalities.series.decode import Series, read_series
from polysense.modalities.series.record import SeriesColumn

__all__ = ["SeriesColumnConfig", "SeriesProcessor"]

_FEWEST_STEPS = 4_096
_LARGEST = 3e38


@dataclass(frozen=True, kw_only=True)
class SeriesColumnConfig(ColumnConfig):
    """A time series: a list of numbers, a list of channels, or a .npy, .csv, .tsv or .parquet file.

    Attributes:
        channels: The channels that are used, by their names in the files ("0", "1", ... where they have none); null
            uses all of them. A file's clock (time, timestamp) is none.
        scaling: How each channel's values are brought to a common scale. robust by median and interquartile range,
            standard by mean and standard deviation, none leaves them as they are.
        missing: Numbers that stand for a step that was not measured, such as -999. Nothing is taken for one unasked;
            what may be one is warned of.
        center_each: Whether each series' own mean is taken away first, so that only what changes within it counts.
        max_steps: Longer series are cut to this many steps. auto is 4 times as many as 95% of the training series have,
            and 4096 at least, so that one long series can't slow a whole batch down; null cuts nothing.
    """

    modality: ClassVar[str] = "series"
    type: Literal["series"] = "series"
    channels: tuple[str, ...] | None = None
    scaling: Literal["robust", "standard", "none"] = "robust"
    missing: tuple[float, ...] = ()
    center_each: bool = False
    max_steps: PositiveInt | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        if self.channels is not None and len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels: expected different names, found {', '.join(self.channels)}")
        if self.channels == ():
            raise ValueError("channels: name at least one, or null for all")

    def build(self, name: str) -> SeriesProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return SeriesProcessor(name, self)


class SeriesProcessor(ColumnProcessor):
    """Reads and scales series; each item is float32 [steps, channels], NaN where not measured.

    Attributes:
        max_steps: Where series are cut; None: nowhere.
    """

    config: SeriesColumnConfig
    max_steps: int | None

    @property
    def column(self) -> SeriesColumn:
        """See `ColumnProcessor`."""
        return SeriesColumn.of(super().column)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> SeriesColumn:
        series = cells.read(self.name, "time series", lambda cell, _: read_series(cell, root), NUM_SAMPLED)
        names = self._names(series)
        self.cleaner.count_media(
            lambda: cells.read(
                self.name,
                "time series",
                lambda cell, _: self._measured(read_series(cell, root), names),
                NUM_COUNTED,
                tell=False,
            )
        )
        parts = []
        for one in series:
            try:
                parts.append(self._selected(one, names))
            except DecodeError:
                continue  # listed when its row is read
        if not parts:
            raise ColumnError(f"column {self.name!r}: no training series has the channels {', '.join(names)}")
        steps = np.concatenate(parts)
        centers, scales, warnings = [], [], []
        for name, channel in zip(names, steps.T, strict=True):
            known = channel[~np.isnan(channel)]
            center, scale = _statistics(known, self.config.scaling)
            sentinels = Sentinels.of(known)
            if sentinels.counts and not self.config.center_each:
                warnings.append((name, sentinels.warning(len(known), f"data.columns.{self.name}.missing")))
            centers.append(center)
            scales.append(scale)
        self.warnings = tuple(f"channel {name!r}: {text}" if len(names) > 1 else text for name, text in warnings)
        limit = self.config.max_steps
        lengths = [len(part) for part in parts]
        self.max_steps = length_limit(lengths, _FEWEST_STEPS) if limit == "auto" else limit
        self.warnings += cut_warning(
            lengths, self.max_steps, "max_steps", "steps", is_sample=len(cells.present) > NUM_SAMPLED
        )
        rates = [one.steps_per_second for one in series if one.steps_per_second is not None]
        return SeriesColumn(
            name=self.name,
            typical_length=max(1, round(float(np.quantile(lengths, 0.95)))),
            channels=names,
            mean=tuple(centers),
            std=tuple(scales),
            steps_per_second=float(np.median(rates)) if rates else None,
        )

    def _names(self, series: Sequence[Series]) -> tuple[str, ...]:
        """The channels: those that the recipe names, else those of most training series."""
        if self.config.channels is not None:
            return self.config.channels
        counts = Counter(_names_of(one) for one in series)
        return max(counts, key=lambda names: (counts[names], names))

    def _selected(self, series: Series, names: Sequence[str]) -> np.ndarray:
        """float64 [steps, channels] in the column's order, cleaned."""
        cleaned: Steps = self.cleaner.media(self._measured(series, names))
        values = cleaned.values
        if self.config.center_each:
            measured = ~np.isnan(values)
            sums = np.where(measured, values, 0.0).sum(axis=0)
            values = values - sums / np.maximum(measured.sum(axis=0), 1)
        return values

    def _measured(self, series: Series, names: Sequence[str]) -> Steps:
        """The channels in the column's order, as they were measured."""
        known = _names_of(series)
        lacking = [name for name in names if name not in known]
        if lacking:
            raise DecodeError(
                f"has {len(known)} channel{'' if len(known) == 1 else 's'}, expected {', '.join(names)}; "
                f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
            )
        values = series.values[:, [known.index(name) for name in names]]
        if self.config.missing:
            values = np.where(is_any_of(values, self.config.missing), np.nan, values)
        if np.isnan(values).all():
            raise DecodeError(f"holds no number in the channels {', '.join(names)}")
        return Steps(values)

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray:
        column = self.column
        values = self._selected(read_series(value, root), column.channels)
        with np.errstate(over="ignore"):
            scaled: np.ndarray = (values - np.array(column.mean)) / np.array(column.std)
        if not (np.isnan(scaled) | (np.abs(scaled) < _LARGEST)).all():
            raise DecodeError("holds a value that is too far from the training values to be scaled")
        if self.max_steps is not None and len(scaled) > self.max_steps:
            self._cut(f"max_steps={self.max_steps}", self.config.max_steps == "auto")
            scaled = scaled[: self.max_steps]
        return scaled.astype(np.float32)

    def _state(self, folder: Path) -> dict[str, Any]:
        return {"max_steps": self.max_steps}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.max_steps = state["max_steps"]

    @property
    def joins_lists(self) -> bool:
        """A list of numbers or of channels is one series; a list of files is several."""
        return True

    def _joined(self, cell: list[Any]) -> object:
        several = all(part is None or isinstance(part, (str, bytes, dict, np.ndarray)) for part in cell)
        return cell if several else tuple(cell)


def _names_of(series: Series) -> tuple[str, ...]:
    if series.channels is not None:
        return series.channels
    return tuple(str(position) for position in range(series.values.shape[1]))


def _statistics(values: np.ndarray, scaling: str) -> tuple[float, float]:
    """(center, scale) of one channel, finite, the scale positive."""
    if scaling == "none" or not len(values):
        return 0.0, 1.0
    # Values up to 1e308 would overflow in differences and squares: in units of the largest they can't.
    unit = max(1.0, float(np.abs(values).max()))
    values = values / unit
    if scaling == "standard":
        center, scale = float(values.mean()), float(values.std())
    else:
        low, center, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        scale = (high - low) / 1.349 or float(values.std())
    scale *= unit
    return center * unit, scale if scale > 0 and np.isfinite(scale) else 1.0
