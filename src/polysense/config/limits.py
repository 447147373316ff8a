"""Limits of the numbers in a config, which stand in their annotations: `rank: PositiveInt = 64`.

So each limit is said once, where the number is declared, and a config says the same of a bad one wherever it was made.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from polysense.errors import ConfigError

__all__ = [
    "Fraction",
    "FractionBelowOne",
    "Limit",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PositiveFloat",
    "PositiveInt",
    "Seed",
    "check_limits",
]


@dataclass(frozen=True)
class Limit:
    """The numbers that are allowed; no infinite one is.

    Attributes:
        low: The lowest.
        high: The highest; None: any.
        open_low: Whether `low` itself is too low.
        open_high: Likewise `high`.
    """

    low: int | float
    high: int | float | None = None
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: int | float) -> bool:
        """Whether a number is allowed."""
        high = float("inf") if self.high is None else self.high
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < high if self.open_high or self.high is None else value <= high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        if self.high is None:
            return low
        return f"{low} and {'below' if self.open_high else 'at most'} {self.high:g}"


PositiveInt: TypeAlias = Annotated[int, Limit(1)]
NonNegativeInt: TypeAlias = Annotated[int, Limit(0)]
PositiveFloat: TypeAlias = Annotated[float, Limit(0, open_low=True)]
NonNegativeFloat: TypeAlias = Annotated[float, Limit(0)]
Fraction: TypeAlias = Annotated[float, Limit(0, 1)]
FractionBelowOne: TypeAlias = Annotated[float, Limit(0, 1, open_high=True)]
Seed: TypeAlias = Annotated[int, Limit(-(2**63), 2**63 - 1)]


def check_limits(config: object) -> None:
    """Raises ConfigError where a number of a config is beyond its limit."""
    for name, (limit, others) in _limits(typing.cast("Hashable", type(config))).items():
        value = getattr(config, name)
        if isinstance(value, (int, float)) and not limit.holds(value):
            raise ConfigError(f"{name} must be {limit}{others}; found {value}")


@functools.cache
def _limits(config: Hashable) -> dict[str, tuple[Limit, str]]:
    """Per field with a limit that limit, and what else may stand there, for the message (", or null").

    A field that a subclass declares anew, for another default, keeps the limit of its base.
    """
    result = {}
    for each in reversed(typing.cast("type", config).__mro__):
        hints = typing.get_type_hints(each, include_extras=True)
        for name in inspect.get_annotations(each):
            limit, others = None, ""
            union = typing.get_origin(hints[name]) in (typing.Union, types.UnionType)
            for option in typing.get_args(hints[name]) if union else (hints[name],):
                limit = next(
                    (extra for extra in getattr(option, "__metadata__", ()) if isinstance(extra, Limit)), limit
                )
                if option is types.NoneType:
                    others += ", or null"
                elif typing.get_origin(option) is Literal:
                    others += "".join(f", or {word}" for word in typing.get_args(option))
            if limit is not None:
                result[name] = limit, others
    return result
