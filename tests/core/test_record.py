"""A record is read back with the types that its class declares."""

from __future__ import annotations

from typing import Any

import pytest

from polysense.core.record import read_record
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.image.record import ImageColumn

IMAGE = {"name": "photo", "image_size": [8, 9], "num_channels": 1, "mean": [0.5], "std": [1]}


def test_lists_become_tuples() -> None:
    record = read_record(ImageColumn, IMAGE)
    assert record == ImageColumn(name="photo", image_size=(8, 9), num_channels=1, mean=(0.5,), std=(1.0,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "name: found 3"),
        ({"image_size": [8]}, "image_size"),
        ({"image_size": [-8, 8]}, "image_size: found -8"),
        ({"num_channels": None}, "num_channels: found None"),
        ({"num_channels": 10**30}, "num_channels: found 1000000000000000000000000000000"),
        ({"mean": ["x"]}, r"mean\.0: found 'x'"),
        ({"mean": [float("nan")]}, "mean: found nan"),
        ({"std": float("inf")}, "std: found inf"),
        ({"other": 1}, "ImageColumn has no field 'other'"),
    ],
)
def test_what_is_of_another_type_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_record(ImageColumn, IMAGE | changes)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="num_categories"):
        read_record(CategoryColumn, {"name": "a"})
