"""Videos varied in time: stretches, frames left out, rows apart, and what the frames' own transform adds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transforms import transform_of
from video_clips import clips, video_column

from polysense.config.codec import from_dict
from polysense.data.augmentation.base import TransformConfig
from polysense.errors import ConfigError
from polysense.modalities.video.augment import VideoTransformConfig


def kept(config: VideoTransformConfig, counts: list[int], rows: list[int], seed: int, epoch: int) -> list[list[bool]]:
    batch = clips(rows=len(counts), frames=8, side=2)
    batch.lengths[:] = (torch.arange(8) < torch.tensor(counts)[:, None]).long()
    result = transform_of(config, video_column(8, side=2))(batch, np.array(rows), seed, epoch)
    assert torch.equal(result.values, batch.values)
    assert not (result.lengths > batch.lengths).any()
    return (result.lengths > 0).tolist()


@given(
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    shortest=st.floats(0, 1),
    dropout=st.floats(0, 0.99),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 9),
)
def test_each_video_keeps_a_frame_and_none_is_invented(
    counts: list[int], shortest: float, dropout: float, seed: int, epoch: int
) -> None:
    config = VideoTransformConfig(shortest=shortest, frame_dropout=dropout)
    rows = list(range(len(counts)))
    masks = kept(config, counts, rows, seed, epoch)
    assert [any(mask) for mask in masks] == [count > 0 for count in counts]
    # A row's draws are its own: backwards, and alone.
    assert kept(config, counts[::-1], rows[::-1], seed, epoch) == masks[::-1]
    assert kept(config, counts[-1:], rows[-1:], seed, epoch) == masks[-1:]


def test_a_stretch_is_consecutive_and_of_the_length_asked_for() -> None:
    config = VideoTransformConfig(shortest=0.5, frame_dropout=0.0)
    masks = np.array(kept(config, [8] * 400, list(range(400)), 0, 0))
    lengths = masks.sum(axis=1)
    assert set(lengths.tolist()) == {5, 6, 7, 8}
    assert (np.abs(np.diff(masks.astype(int), axis=1)).sum(axis=1) <= 2).all()
    assert masks[:, 0].any()
    assert not masks[:, 0].all()
    assert np.array(kept(VideoTransformConfig(shortest=1.0, frame_dropout=0.0), [8, 3], [0, 1], 0, 0)).sum() == 11


def test_the_share_of_frames_left_out_is_the_probability() -> None:
    config = VideoTransformConfig(shortest=1.0, frame_dropout=0.3)
    masks = np.array(kept(config, [8] * 1000, list(range(1000)), 0, 0))
    assert masks.mean() == pytest.approx(0.7, abs=0.02)
    assert not np.array_equal(masks, kept(config, [8] * 1000, list(range(1000)), 0, 1))


def test_frames_vary_as_their_own_transform_says() -> None:
    plain = {"type": "video", "shortest": 1.0, "frame_dropout": 0.0, "frames": {"type": "image", "together": True}}
    both = from_dict(TransformConfig, plain, where="test")  # type: ignore[type-abstract]
    alone = from_dict(TransformConfig, plain["frames"], where="test")  # type: ignore[type-abstract]
    batch, rows = clips(side=8), np.arange(3)
    one, other = (transform_of(each, video_column(side=8))(batch, rows, 3, 1) for each in (both, alone))
    assert torch.equal(one.values, other.values)
    assert one.geometry is not None
    assert other.geometry is not None
    assert torch.equal(one.geometry, other.geometry)
    assert both.moves
    assert not dataclasses.replace(both, frames=None).moves  # type: ignore[call-arg]


def test_a_video_within_a_video_is_refused() -> None:
    with pytest.raises(ConfigError, match="frames: video varies whole videos"):
        VideoTransformConfig(frames=VideoTransformConfig())
