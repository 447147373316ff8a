"""Cleanings of numbers: one unit for cells that are in several, and shares for percentages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from polysense.data.cleaning import Cleaning, CleaningConfig
from polysense.data.values.notation import NotationEvidence
from polysense.data.values.numbers import Spelled, spell
from polysense.errors import ConfigError

__all__ = ["OneUnitConfig"]

_FACTORS: Mapping[str, Mapping[str, float]] = {
    "mass": {"kg": 1.0, "g": 1e-3, "mg": 1e-6, "\u03bcg": 1e-9, "t": 1e3, "lb": 0.45359237, "oz": 0.028349523125},
    "length": {
        "m": 1.0, "km": 1e3, "cm": 1e-2, "mm": 1e-3, "\u03bcm": 1e-6, "nm": 1e-9, "mi": 1609.344, "ft": 0.3048,
        "in": 0.0254, "yd": 0.9144, "nmi": 1852.0,
    },
    "volume": {"l": 1.0, "ml": 1e-3, "cl": 1e-2, "dl": 1e-1, "hl": 1e2, "m3": 1e3, "cm3": 1e-3},
    "time": {
        "s": 1.0, "ms": 1e-3, "\u03bcs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0, "wk": 604800.0,
    },
    "area": {"m2": 1.0, "cm2": 1e-4, "km2": 1e6, "ha": 1e4, "ft2": 0.09290304},
    "speed": {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600},
    "data": {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    "pressure": {"Pa": 1.0, "hPa": 1e2, "kPa": 1e3, "MPa": 1e6, "bar": 1e5, "mbar": 1e2},
    "energy": {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "Wh": 3600.0, "kWh": 3.6e6, "MWh": 3.6e9, "cal": 4.184, "kcal": 4184.0},
    "share": {"": 1.0, "%": 1e-2, "\u2030": 1e-3, "ppm": 1e-6, "ppb": 1e-9},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OneUnitConfig(CleaningConfig):
    """Converts numbers in several units of one quantity to one unit: `500 g` beside `2 kg`, `5%` beside `0.05`.

    Attributes:
        unit: The unit to convert to; null takes the training cells' commonest. "" is a bare number, for percentages.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"number"})
    cleans_targets: ClassVar[bool] = True
    is_proposed: ClassVar[bool] = True
    type: Literal["one_unit"] = "one_unit"
    unit: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit is not None and _quantity(self.unit) is None:
            known = ", ".join(unit for units in _FACTORS.values() for unit in units if unit)
            raise ConfigError(f"unit: found {self.unit!r}, expected one of {known}, or '' for a bare number")


class OneUnit(Cleaning, config=OneUnitConfig):
    """See `OneUnitConfig`."""

    def __init__(self, config: OneUnitConfig) -> None:
        super().__init__(config)
        self._unit = config.unit
        self._decimal = "."

    def fit(self, values: Iterable[object]) -> None:
        """See `Cleaning`."""
        values = list(values)
        self._decimal = NotationEvidence.of(values).notation.decimal or "."
        if self._unit is not None:
            return
        counts = Counter(spelled.unit for spelled in map(_spelled, values) if spelled and _quantity(spelled.unit))
        self._unit = min(counts, key=lambda unit: (-counts[unit], unit), default="")

    def clean(self, value: object) -> object:
        """See `Cleaning`."""
        spelled, to = _spelled(value), self._unit
        if spelled is None or to is None or spelled.unit == to:
            return value
        quantity = _quantity(to)
        readings = (spelled.point, spelled.comma) if self._decimal == "." else (spelled.comma, spelled.point)
        number = next((reading for reading in readings if reading is not None), None)
        if quantity is None or spelled.unit not in _FACTORS[quantity] or number is None:
            return value
        text = f"{number * (_FACTORS[quantity][spelled.unit] / _FACTORS[quantity][to]):.12g}"
        return f"{text.replace('.', self._decimal)} {to}".strip()

    def state(self) -> dict[str, Any]:
        """See `Cleaning`."""
        return {"unit": self._unit, "decimal": self._decimal}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Cleaning`."""
        self._unit, self._decimal = state["unit"], state["decimal"]


def _quantity(unit: str) -> str | None:
    return next((name for name, units in _FACTORS.items() if unit in units), None)


def _spelled(value: object) -> Spelled | None:
    """A text that is a number; None of others, and of limits and factors (`<5`, `3k`)."""
    spelled = spell(value) if isinstance(value, str) else None
    return None if spelled is None or spelled.bound or spelled.letter or spelled.factor != 1.0 else spelled
