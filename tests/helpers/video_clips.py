"""Clips and columns of videos for the tests of their encoders, and what all of these promise."""

from __future__ import annotations

import torch
from torch import nn

from polysense.core.batch import ColumnBatch
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.video.record import VideoColumn
from polysense.nn.encoder import Encoder

__all__ = ["check_promises", "clips", "video_column"]


def video_column(frames: int = 6, side: int = 16, channels: int = 3) -> VideoColumn:
    frame = ImageColumn(
        name="clip",
        image_size=(side, side),
        num_channels=channels,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    return VideoColumn(name="clip", multiple=frames > 1, max_items=frames, frame=frame)


def clips(rows: int = 3, frames: int = 6, side: int = 16, channels: int = 3, seed: int = 0) -> ColumnBatch:
    draws = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (rows, frames, channels, side, side), generator=draws).to(torch.uint8)
    return ColumnBatch(values=values, lengths=torch.ones(rows, frames, dtype=torch.int64))


def check_promises(encoder: Encoder, *, per_frame: bool = True) -> None:
    """Rows apart, absent frames without influence, absent rows masked, every parameter reached, order heard."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    batch = clips()
    batch.lengths[1, 4:] = 0  # a shorter video
    batch.lengths[2] = 0  # none at all
    encoder.eval()
    with torch.no_grad():
        tokens = encoder(batch)
        assert tokens.values.isfinite().all()
        assert not tokens.mask[2].any()
        assert not tokens.values[2].any()
        if per_frame:
            assert tokens.mask.tolist() == (batch.lengths > 0).tolist()
        # What lies in absent frames is never seen, and how many of them a batch has is all the same.
        spoiled = ColumnBatch(values=batch.values.clone(), lengths=batch.lengths)
        spoiled.values[1, 4:] = 255 - spoiled.values[1, 4:]
        torch.testing.assert_close(encoder(spoiled).values, tokens.values)
        alone = encoder(ColumnBatch(values=batch.values[1:2, :4], lengths=batch.lengths[1:2, :4]))
        torch.testing.assert_close(alone.values[0], tokens.values[1, : alone.values.shape[1]], rtol=1e-4, atol=1e-5)
        # The order of frames is heard: that is what a video has over its frames.
        flipped = encoder(ColumnBatch(values=batch.values.flip(1), lengths=batch.lengths.flip(1)))
        assert (flipped.values[0].mean(dim=0) - tokens.values[0].mean(dim=0)).abs().max() > 1e-4
    encoder.train()
    encoder(batch).values.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name
