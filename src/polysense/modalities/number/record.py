"""What was learned of a column of numbers, and what an encoder can ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column, Requirements

__all__ = ["NumberColumn", "NumberRequirements"]


@dataclass(frozen=True, kw_only=True)
class NumberColumn(Column):
    """A column of numbers.

    Attributes:
        mean: The center that is subtracted.
        std: The scale that is divided by.
        quantiles: The edges of the bins that hold equal shares of the training values, ascending, scaled as the items
            are; None where no encoder asks for them.
        reading: How its cells were read, in words: marks, unit, what is missing; "" where there is nothing to say.
    """

    modality: str = "number"
    mean: float
    std: float
    quantiles: tuple[float, ...] | None = None
    reading: str = ""


@dataclass(frozen=True, kw_only=True)
class NumberRequirements(Requirements):
    """What an encoder asks of a column of numbers.

    Attributes:
        num_quantiles: Bins that hold equal shares of the training values.
    """

    num_quantiles: int | None = None
