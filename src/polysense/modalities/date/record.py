"""What was learned of a column of dates."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column

__all__ = ["DateColumn"]


@dataclass(frozen=True, kw_only=True)
class DateColumn(Column):
    """A column of dates.

    Attributes:
        mean: The middle of the training range, in seconds since 1970.
        std: Half its width, in seconds.
        num_features: Values in one item, see `date_features`.
    """

    modality: str = "date"
    mean: float
    std: float
    num_features: int
