"""Facts learned of a column of time series."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column

__all__ = ["LENGTH_MULTIPLE", "SeriesColumn"]

LENGTH_MULTIPLE = 16  # of padded steps


@dataclass(frozen=True, kw_only=True)
class SeriesColumn(Column):
    """A column of time series.

    Attributes:
        channels: The channels' names, in order.
        mean: Per channel, the center that is subtracted.
        std: Per channel, the scale that is divided by.
        steps_per_second: The median sampling rate of the training series; None where no clock stands beside them.
    """

    modality: str = "series"
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    steps_per_second: float | None = None

    @property
    def num_channels(self) -> int:
        """Values at a step."""
        return len(self.channels)

    @property
    def rate(self) -> float | None:
        """See `Column`."""
        return self.steps_per_second
