from __future__ import annotations

import torch

from polysense.modalities.image.record import ImageColumn
from polysense.nn.layers.pixels import Standardize


def test_pixels_get_the_columns_statistics() -> None:
    column = ImageColumn(name="photo", image_size=(4, 5), num_channels=2, mean=(0.5, 0.2), std=(0.1, 0.4))
    standardize = Standardize(column.mean, column.std)
    pixels = torch.randint(0, 256, (3, 2, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = standardize(pixels)
    for channel, (mean, std) in enumerate(((0.5, 0.1), (0.2, 0.4))):
        torch.testing.assert_close(found[:, channel], (pixels[:, channel] / 255 - mean) / std)
    assert found.is_contiguous()
    last = Standardize(column.mean, column.std, channels_last=True)(pixels)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert last.equal(found)
    assert not standardize.state_dict()  # the column says it; a checkpoint need not
