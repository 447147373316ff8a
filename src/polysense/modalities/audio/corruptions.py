"""Damage to sounds: white noise, a narrow band, clipping, speed, and a gap."""

from __future__ import annotations

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.schema import Column

__all__ = ["CORRUPTIONS"]

_RATIO = (30.0, 20.0, 10.0, 5.0, 0.0)  # signal to noise, in decibels
_BAND = (0.5, 0.35, 0.25, 0.15, 0.08)  # of all frequencies, from the lowest on
_UNCLIPPED = (0.99, 0.95, 0.9, 0.8, 0.6)  # of the samples
_SPEED = (1.1, 1.2, 1.35, 1.5, 2.0)
_GAP = (0.05, 0.1, 0.2, 0.35, 0.5)  # of the length


def _samples(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), -32768, 32767), dtype=np.int16)


def _noise(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    power = float(np.mean(item.astype(np.float64) ** 2)) if len(item) else 0.0
    deviation = (power / 10 ** (_RATIO[severity - 1] / 10)) ** 0.5
    return _samples(item + deviation * draws.standard_normal(item.shape, dtype=np.float32))


def _band(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    spectrum = np.fft.rfft(item.astype(np.float64))
    spectrum[int(_BAND[severity - 1] * len(spectrum)) + 1 :] = 0
    return _samples(np.fft.irfft(spectrum, n=len(item)))


def _clipping(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    limit = float(np.quantile(np.abs(item.astype(np.int32)), _UNCLIPPED[severity - 1]))
    return _samples(np.clip(item.astype(np.float64), -limit, limit))


def _faster(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    length = max(1, int(len(item) / _SPEED[severity - 1]))
    return _samples(np.interp(np.arange(length) * (len(item) / length), np.arange(len(item)), item))


def _gap(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    length = int(_GAP[severity - 1] * len(item))
    start = int(draws.random() * (len(item) - length + 1))
    result = item.copy()
    result[start : start + length] = 0
    return result


CORRUPTIONS = (
    Corruption(name="white noise", of_item=_noise),
    Corruption(name="a narrow band", of_item=_band),
    Corruption(name="clipping", of_item=_clipping),
    Corruption(name="a gap", of_item=_gap),
    Corruption(name="speed", of_item=_faster),
)
