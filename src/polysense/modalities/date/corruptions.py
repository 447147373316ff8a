"""Damage to dates: another day, or another time where a column has nothing but times."""

from __future__ import annotations

import math

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.schema import Column
from polysense.modalities.date.column import date_features
from polysense.modalities.date.record import DateColumn
from polysense.modalities.date.spelling import moment_at

__all__ = ["CORRUPTIONS"]

_DAYS = (1, 7, 30, 182, 730)
_HOURS = (0.25, 1, 3, 6, 12)
_DAY, _HOUR, _MINUTE = 86_400.0, 3_600.0, 60.0


def _shift(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    """Earlier or later by up to so many days, by whole ones; of a time of day by up to so many hours."""
    column, draw = DateColumn.of(column), draws.uniform(-1, 1)
    if column.has_dates:
        days = math.copysign(math.ceil(abs(draw) * _DAYS[severity - 1]), draw)
        # What float32 has lost of the seconds is less than a minute.
        seconds = round((float(item[0]) * column.std + column.mean) / _MINUTE) * _MINUTE + days * _DAY
    else:
        angle = math.atan2(float(item[0]), float(item[1])) / (2 * math.pi)
        seconds = (angle * _DAY + draw * _HOURS[severity - 1] * _HOUR) % _DAY
    moment = moment_at(seconds, has_dates=column.has_dates, has_times=column.has_times or not column.has_dates)
    if moment is None:  # before the calendar begins, or after it ends
        return item
    return date_features(moment, column.mean, column.std, has_times=column.has_times)


CORRUPTIONS = (Corruption(name="another day", of_item=_shift),)
