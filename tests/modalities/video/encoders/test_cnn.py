"""(2+1)-dimensional convolutions: sizes, gaps, and a motion that single frames do not tell."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from video_clips import check_promises, clips, video_column

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.video.encoders.cnn import Block, VideoCNN, VideoCNNConfig


def build(side: int = 16, **options: object) -> VideoCNN:
    torch.manual_seed(0)
    encoder = VideoCNNConfig(channels=4, **options).create(video_column(side=side), 8)  # type: ignore[arg-type]
    assert isinstance(encoder, VideoCNN)
    for module in encoder.modules():  # blocks begin as the identity, and would hide what they do
        if isinstance(module, Block):
            nn.init.ones_(module.norm_2.weight)
    return encoder


@pytest.mark.parametrize("positions", ["own", "shared"])
def test_promises(positions: str) -> None:
    check_promises(build(positions=positions))


@pytest.mark.parametrize("side", [8, 16, 33, 70])
def test_frames_of_any_size_become_one_token_each(side: int) -> None:
    tokens = build(side, positions="own").eval()(clips(side=side))
    assert tokens.values.shape == (3, 6, 8)
    assert tokens.grid == (6,)


def test_a_convolution_over_time_is_torchs_own_in_three_dimensions() -> None:
    block = build().last
    conv = block.conv_1
    x = torch.randn(2 * 5, conv.space.in_channels, 4, 4)
    got = conv(x, 5, torch.ones(10, 1, 1, 1))
    between = torch.relu(conv.norm(conv.space(x))).view(2, 5, -1, 4, 4).transpose(1, 2)
    weight = conv.time.weight.view(conv.time.out_channels, 3, -1).transpose(1, 2)[..., None, None]
    expected = nn.functional.conv3d(between, weight, padding=(1, 0, 0))
    torch.testing.assert_close(got.view(2, 5, -1, 4, 4).transpose(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_an_absent_frame_within_a_clip_reads_as_an_end() -> None:
    encoder, batch = build().eval(), clips(rows=1)
    batch.lengths[0, 2:4] = 0
    other = ColumnBatch(values=batch.values.clone(), lengths=batch.lengths)
    other.values[0, 4:] = 255 - other.values[0, 4:]
    one = VideoCNNConfig(channels=4, reach=1).create(video_column(), 8).eval()
    with torch.no_grad():
        # Convolutions that reach no other frame keep frames apart altogether.
        assert torch.equal(one(other).values[0, :2], one(batch).values[0, :2])
        before, after = encoder(batch).values[0], encoder(other).values[0]
    assert not torch.equal(before[4:], after[4:])


def test_the_reach_is_odd() -> None:
    with pytest.raises((ConfigError, ValueError), match="reach: found 4, expected an odd number"):
        VideoCNNConfig(reach=4)


def test_a_direction_is_learned_that_no_frame_tells() -> None:
    """A bar that moves to the left or to the right: the same frames in the other order."""
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(0)
    values = torch.zeros(32, 6, 3, 16, 16, dtype=torch.uint8)
    labels = torch.arange(32) % 2
    for row in range(32):
        start, top = int(torch.randint(0, 6, (), generator=draws)), int(torch.randint(0, 12, (), generator=draws))
        for frame in range(6):
            place = start + (frame if labels[row] else 5 - frame)
            values[row, frame, :, top : top + 4, place : place + 3] = 255
    batch = ColumnBatch(values=values, lengths=torch.ones(32, 6, dtype=torch.int64))
    encoder, head = VideoCNNConfig(channels=4, dropout=0.0).create(video_column(), 8), nn.Linear(8, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(40):
        loss = nn.functional.cross_entropy(head(encoder(batch).values.mean(dim=1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1


def test_a_set_of_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="items: set: video_cnn reads what follows what; write sequence"):
        build(items="set")
