"""A recurrence over frames: its promises, any encoder of frames, gaps, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from video_clips import check_promises, clips, video_column

from polysense.config.codec import from_dict
from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.video.encoders.frames import MovingFrames
from polysense.modalities.video.encoders.rnn import VideoRNN, VideoRNNConfig
from polysense.nn.encoder import Encoder, EncoderConfig

FRAMES = {"type": "image_cnn"}


def build(**options: object) -> Encoder:
    torch.manual_seed(0)
    config = from_dict(EncoderConfig, {"type": "video_rnn", "frames": FRAMES, **options}, where="encoder")
    return config.create(video_column(), 8)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_promises(cell: str) -> None:
    check_promises(build(cell=cell, num_layers=2))


def test_the_states_are_those_of_the_present_frames_in_their_order() -> None:
    encoder = build().eval()
    batch = clips(rows=1)
    batch.lengths[0, [1, 4]] = 0
    kept = [0, 2, 3, 5]
    with torch.no_grad():
        with_gaps = encoder(batch).values[0, kept]
        without = encoder(ColumnBatch(values=batch.values[:, kept], lengths=batch.lengths[:, kept])).values[0]
    torch.testing.assert_close(with_gaps, without, rtol=1e-4, atol=1e-5)


def test_the_usual_encoder_of_images_reads_frames_unless_another_is_named() -> None:
    encoder = VideoRNNConfig().create(video_column(), 8)
    assert isinstance(encoder, VideoRNN)
    assert encoder.of_items is encoder.frames
    assert not encoder.frames.ordered
    assert VideoRNNConfig().of_items.type == "resnet"


def test_a_video_of_one_frame_is_one_token() -> None:
    torch.manual_seed(0)
    encoder = VideoRNNConfig().create(video_column(frames=1), 8).eval()
    tokens = encoder(clips(frames=1))
    assert tokens.values.shape == (3, 1, 8)
    assert tokens.mask.all()


@pytest.mark.parametrize(
    ("frames", "message"),
    [({"type": "video_rnn"}, "reads whole videos"), ({"type": "auto"}, "chosen for whole columns")],
)
def test_encoders_that_read_no_frames_are_refused(frames: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(frames=frames)
    with pytest.raises(ConfigError, match="takes text"):
        build(frames={"type": "text_cnn"})


def test_a_frozen_encoder_of_frames_gives_its_features_and_its_resources(tmp_path: Path) -> None:
    import timm

    folder = tmp_path / "net.pt"
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=0).state_dict(), folder)
    frames = {"type": "timm", "name": "mobilenetv3_small_050", "weights": str(folder), "tune": "frozen"}
    encoder = build(frames=frames)
    config = from_dict(EncoderConfig, {"type": "video_rnn", "frames": frames}, where="encoder")
    assert config.is_frozen
    assert encoder.give_features() == encoder.of_items.num_item_features > 0
    tokens = encoder.eval()(clips())
    assert tokens.features is not None
    assert tokens.features.shape == (3, encoder.num_features)
    encoder.save_resources(tmp_path / "kept")
    again = config.create(video_column(), 8, tmp_path / "kept").eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(clips()).values, tokens.values)


def test_a_set_of_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="items: set: video_rnn reads what follows what; write sequence"):
        build(items="set")


def test_what_changes_in_a_video_counts_however_little_it_is() -> None:
    """Frames that differ by a tenth of what they have in common are told apart as others are."""
    torch.manual_seed(0)
    moving = MovingFrames(8)
    common, change = torch.randn(1, 1, 8), torch.randn(1, 5, 8)
    present = torch.ones(1, 5, dtype=torch.bool)
    small, large = (moving(common + scale * change, present) for scale in (0.1, 1.0))
    without = moving.norm(common + 0.1 * change)
    assert (small - small.mean(dim=1, keepdim=True)).norm() > 0.5 * (large - large.mean(dim=1, keepdim=True)).norm()
    assert (without - without.mean(dim=1, keepdim=True)).norm() < 0.5 * (small - small.mean(dim=1, keepdim=True)).norm()
    absent = torch.tensor([[True, True, True, False, False]])
    junk = (common + change).clone()
    junk[:, 3:] = float("nan")
    torch.testing.assert_close(moving(junk, absent)[:, :3], moving((common + change)[:, :3], absent[:, :3]))
    assert not moving(junk, absent)[:, 3:].any()
