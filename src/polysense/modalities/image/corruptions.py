"""Damage to pictures: noise, blur, compression, light, contrast, and a part covered.

The strengths are those of ImageNet-C (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", ICLR 2019); what is measured in pixels goes with the picture's size.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from polysense.core.corruption import Corruption
from polysense.core.schema import Column

__all__ = ["CORRUPTIONS"]

_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation, of full white
_BLUR = (1.0, 2.0, 3.0, 4.0, 6.0)  # pixels of a picture of `_SIDE`
_SIDE = 128
_QUALITY = (25, 18, 15, 10, 7)
_LIGHT = (0.1, 0.2, 0.3, 0.4, 0.5)  # of full white
_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
_COVERED = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the area


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _noise(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    return _pixels(item + 255 * _NOISE[severity - 1] * draws.standard_normal(item.shape, dtype=np.float32))


def _blur(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    radius = _BLUR[severity - 1] * min(item.shape[1:]) / _SIDE
    kernel = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(channel).filter(kernel)) for channel in item])


def _jpeg(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    image = Image.fromarray(item[0] if len(item) == 1 else np.ascontiguousarray(item.transpose(1, 2, 0)))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY[severity - 1])
    values = np.asarray(Image.open(file))
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def _light(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    return _pixels(item + 255 * np.float32(_LIGHT[severity - 1]))


def _contrast(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column, draws
    mean = item.mean(axis=(1, 2), keepdims=True)
    return _pixels(mean + (item - mean) * _CONTRAST[severity - 1])


def _cover(column: Column, item: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
    del column
    _, height, width = item.shape
    share = _COVERED[severity - 1] ** 0.5
    tall, wide = max(1, round(share * height)), max(1, round(share * width))
    top, left = (
        int(draw * (size + 1)) for draw, size in zip(draws.random(2), (height - tall, width - wide), strict=True)
    )
    result = item.copy()
    result[:, top : top + tall, left : left + wide] = 128
    return result


CORRUPTIONS = (
    Corruption(name="Gaussian noise", of_item=_noise),
    Corruption(name="blur", of_item=_blur),
    Corruption(name="JPEG compression", of_item=_jpeg),
    Corruption(name="too much light", of_item=_light),
    Corruption(name="low contrast", of_item=_contrast),
    Corruption(name="a covered part", of_item=_cover),
)
