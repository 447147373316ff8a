"""What a damaged bundle says of a column of images is refused before a network is built for it."""

from __future__ import annotations

from typing import Any

import pytest

from polysense.modalities.image.record import ImageColumn


@pytest.mark.parametrize(("name", "values"), [("mean", (0.5, 0.5)), ("std", (0.2,)), ("std", ())])
def test_statistics_are_those_of_the_channels(name: str, values: tuple[float, ...]) -> None:
    statistics: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.2,) * 3, name: values}
    with pytest.raises(ValueError, match=f"{name}: found {len(values)} values for 3 channels"):
        ImageColumn(name="photo", image_size=(8, 8), num_channels=3, **statistics)
