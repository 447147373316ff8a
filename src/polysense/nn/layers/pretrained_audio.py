"""Runs transformers' models of audio so that rows stay apart and no recording is cut.

Two kinds. Models that read the waveform (wav2vec2, HuBERT, WavLM, ...) take any length, but attention's cost grows with
its square, so a long recording is run in stretches whose frames follow one another exactly as in one piece. Models that
read a spectrogram take a fixed stretch (Whisper 30 s, AST about 10 s), which their own feature extractor fills up with
silence, and silently cuts what is longer; here a longer recording is run over consecutive stretches.

Two traps for a batch of unequal lengths, both seen to change a row's result by its batch mates:

- The smaller wav2vec2 and HuBERT models (`feat_extract_norm: group`) normalize each channel of their first layer over
  the whole padded length. `ClipNorm` takes that layer's place and counts a clip's own frames only.
- Some models (data2vec-audio, SEW) carry padding into valid frames by later convolutions. Their rows are run
  together only where their lengths are equal, without padding.

And one that changes its last bits: how many clips are run together must not depend on the others' lengths. So at
prediction all rows have the same number of stretches, and what can't be padded is run clip by clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ClipNorm", "encode_spectrograms", "encode_waveforms", "is_audio", "is_waveform", "keep_rows_apart"]

_PADDED_EXACTLY = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
_WAVEFORM = (*_PADDED_EXACTLY, "data2vec-audio", "sew", "sew-d")
_SPECTROGRAM = ("whisper", "audio-spectrogram-transformer")


def is_waveform(settings: Any) -> bool:
    """Whether a transformers config is of a model that reads the waveform."""
    return settings.model_type in _WAVEFORM


def is_audio(settings: Any) -> bool:
    """Whether a transformers config is of a model of audio."""
    return is_waveform(settings) or settings.model_type in _SPECTROGRAM


class ClipNorm(nn.Module):
    """Normalizes each channel over a clip's own frames, as `nn.GroupNorm` with a group per channel does unpadded.

    Args:
        norm: The normalization to replace; its parameters are shared and keep their names.
    """

    num_frames: Tensor | None

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        assert norm.num_groups == norm.num_channels, "one group per channel is normalized over time alone"
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        # Set before each forward: transformers' layers pass nothing but the features on.
        self.num_frames = None

    def forward(self, x: Float[Tensor, "clips channels frames"]) -> Float[Tensor, "clips channels frames"]:
        """Frames beyond a clip's own come out as junk."""
        assert self.num_frames is not None, "the clips' numbers of frames were not set"
        valid = (torch.arange(x.shape[2], device=x.device) < self.num_frames[:, None])[:, None, :]
        count = self.num_frames[:, None, None]
        exact = x.float()
        mean = (exact * valid).sum(dim=2, keepdim=True) / count
        centered = exact - mean
        variance = (centered.square() * valid).sum(dim=2, keepdim=True) / count
        scaled = centered * (variance + self.eps).rsqrt() * self.weight[:, None] + self.bias[:, None]
        return scaled.to(x.dtype)


def keep_rows_apart(backbone: Any) -> None:
    """Changes a waveform model in place so that padding counts nowhere; unpadded clips give what they gave before."""
    settings = backbone.config
    if settings.model_type in _PADDED_EXACTLY and settings.feat_extract_norm == "group":
        first = backbone.feature_extractor.conv_layers[0]
        first.layer_norm = ClipNorm(first.layer_norm)


def _receptive_field(settings: Any) -> tuple[int, int]:
    """Samples that one frame reads, and samples from one frame to the next."""
    samples, stride = 1, 1
    for kernel, step in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        samples += (kernel - 1) * stride
        stride *= step
    return samples, stride


def encode_waveforms(
    backbone: Any,
    extractor: Any,
    values: Int[Tensor, "clips samples"],
    lengths: Int[Tensor, " clips"],
    max_seconds: float,
    *,
    exact: bool = False,
) -> tuple[Float[Tensor, "clips frames hidden"], Bool[Tensor, "clips frames"]]:
    """Last hidden states of a waveform model, and which of them are valid.

    Args:
        backbone: After `keep_rows_apart`.
        extractor: Its feature extractor: sample rate, and whether clips are standardized.
        values: int16.
        lengths: Samples; 0 = absent.
        max_seconds: Longest stretch heard at once.
        exact: Whether the shapes that are run must depend on those of `values` alone, as at prediction; in training
            stretches that lie beyond a clip's end cost nothing.
    """
    size, stride = _receptive_field(backbone.config)
    valid = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    signal = values.masked_fill(~valid, 0).float() / 32768.0
    if extractor.do_normalize:
        count = lengths.clamp(min=1)[:, None]
        centered = (signal - signal.sum(dim=1, keepdim=True) / count) * valid
        signal = centered / (centered.square().sum(dim=1, keepdim=True) / count + 1e-7).sqrt()
    # What is shorter than the least that the model takes is filled up with silence; so is an absent clip, but masked.
    squeezed = int(getattr(backbone.config, "squeeze_factor", 1))  # SEW joins so many frames within
    least = size + (squeezed - 1) * stride
    signal = F.pad(signal, (0, max(least - signal.shape[1], 0)))
    padded_lengths = lengths.clamp(min=least)

    per_stretch = max(round(max_seconds * extractor.sampling_rate) // (stride * squeezed), 1) * squeezed
    step, longest = per_stretch * stride, (per_stretch - 1) * stride + size
    num_stretches = -(-((signal.shape[1] - size) // stride + 1) // per_stretch)
    if num_stretches == 1:
        hidden, num_frames = _run_padded(backbone, signal, padded_lengths, exact)
    else:
        # Each stretch begins a stride after the last frame of the one before: together they have the same frames. The
        # last one keeps the samples after its last frame, which a model may normalize over, as it does in one piece.
        room = longest + stride - 1
        signal = F.pad(signal, (0, max((num_stretches - 1) * step + room - signal.shape[1], 0)))
        stretches = signal.unfold(1, room, step)[:, :num_stretches]
        rest = padded_lengths[:, None] - torch.arange(num_stretches, device=padded_lengths.device) * step
        chosen, last = rest >= size, rest < size + step
        sizes = rest.clamp(min=least).where(last, longest)
        run = torch.ones_like(chosen) if exact else chosen
        hidden, counts = _run_padded(backbone, stretches[run], sizes[run], exact)
        hidden = _scatter(hidden, run).flatten(1, 2)
        num_frames = (_scatter(counts, run) * chosen).sum(dim=1)
    mask = torch.arange(hidden.shape[1], device=hidden.device) < (num_frames * (lengths > 0))[:, None]
    return hidden, mask


def _scatter(features: Tensor, chosen: Bool[Tensor, "clips stretches"]) -> Tensor:
    """Chosen stretches' results at their positions, zeros elsewhere."""
    return features.new_zeros(*chosen.shape, *features.shape[1:]).index_put((chosen,), features)


def _run_padded(backbone: Any, signal: Tensor, lengths: Tensor, exact: bool) -> tuple[Tensor, Tensor]:
    settings = backbone.config
    num_frames: Tensor = backbone._get_feat_extract_output_lengths(lengths)
    if settings.model_type in _PADDED_EXACTLY:
        attended = torch.arange(signal.shape[1], device=signal.device) < lengths[:, None]
        if settings.feat_extract_norm == "group":
            first = (lengths - settings.conv_kernel[0]) // settings.conv_stride[0] + 1
            backbone.feature_extractor.conv_layers[0].layer_norm.num_frames = first
        hidden: Tensor = backbone(input_values=signal, attention_mask=attended.long()).last_hidden_state
        return hidden, num_frames
    most = int(backbone._get_feat_extract_output_lengths(torch.tensor(signal.shape[1])))
    parts, rows = [], []
    each = torch.arange(len(lengths), device=lengths.device)[:, None]
    for clips in each if exact else _of_equal_length(lengths):
        part = backbone(input_values=signal[clips, : int(lengths[clips[0]])]).last_hidden_state
        parts.append(F.pad(part, (0, 0, 0, most - part.shape[1])))
        rows.append(clips)
    return torch.cat(parts)[torch.cat(rows).argsort()], num_frames


def _of_equal_length(lengths: Int[Tensor, " clips"]) -> list[Int[Tensor, " some"]]:
    return [(lengths == length).nonzero().flatten() for length in sorted(set(lengths.tolist()))]


def encode_spectrograms(
    backbone: Any,
    extractor: Any,
    values: Int[Tensor, "clips samples"],
    lengths: Int[Tensor, " clips"],
    *,
    exact: bool = False,
) -> tuple[Float[Tensor, "clips tokens hidden"], Bool[Tensor, "clips tokens"]]:
    """Last hidden states of a model that reads fixed stretches, and which of them are valid.

    Silence that fills up a stretch is heard, as the model was trained, and its tokens are masked. Of a present clip at
    least one token stays.

    Args:
        backbone: The model; of Whisper the encoder.
        extractor: Its feature extractor.
        values: int16.
        lengths: Samples; 0 = absent.
        exact: As in `encode_waveforms`.
    """
    stretch = _ast(backbone.config, extractor) if _is_ast(backbone.config) else _whisper(backbone.config, extractor)
    rate = int(extractor.sampling_rate)
    num_positions = stretch.positions(lengths) * (lengths > 0)
    heard = stretch.positions(torch.full_like(lengths, values.shape[1])) if exact else num_positions
    requested = [max(-(-positions // stretch.num_positions), 1) for positions in heard.tolist()]
    samples = values.cpu().numpy()
    clips = []
    for row, (count, length) in enumerate(zip(requested, lengths.tolist(), strict=True)):
        for start in range(0, count * stretch.step, stretch.step):
            clip = samples[row, start : min(start + stretch.longest, length)].astype(np.float32) / 32768.0
            clips.append(np.pad(clip, (0, max(rate // 40 - len(clip), 0))))  # one window of 25 ms at least
    features = extractor(clips, sampling_rate=rate, return_tensors="pt")
    name = "input_features" if "input_features" in features else "input_values"
    result = backbone(features[name].to(values.device, next(backbone.parameters()).dtype)).last_hidden_state

    chosen = torch.arange(max(requested)) < torch.tensor(requested)[:, None]
    hidden = _scatter(result, chosen.to(values.device))
    starts = torch.arange(max(requested), device=lengths.device) * stretch.num_positions
    rest = num_positions[:, None] - starts
    mask = torch.arange(stretch.num_positions, device=rest.device) < rest[..., None]
    if _is_ast(backbone.config):
        # Two class tokens, then the patches, all times of the lowest bands first.
        num_bands = (result.shape[1] - 2) // stretch.num_positions
        mask = torch.cat([mask[..., :1].expand(-1, -1, 2), mask.repeat(1, 1, num_bands)], dim=2)
    return hidden.flatten(1, 2), mask.flatten(1)


@dataclass(frozen=True)
class _Stretch:
    """What a model of fixed stretches hears at once.

    Attributes:
        step: Samples from one stretch's beginning to the next one's.
        longest: Samples that it is given.
        num_positions: Places in time of its tokens.
        positions: How many such positions clips of these lengths have.
    """

    step: int
    longest: int
    num_positions: int
    positions: Callable[[Tensor], Tensor]


def _is_ast(settings: Any) -> bool:
    return bool(settings.model_type == "audio-spectrogram-transformer")


def _whisper(settings: Any, extractor: Any) -> _Stretch:
    samples, num_positions = int(extractor.n_samples), int(settings.max_source_positions)
    return _Stretch(samples, samples, num_positions, lambda lengths: -(-lengths * num_positions // samples))


def _ast(settings: Any, extractor: Any) -> _Stretch:
    # Patches are laid every time_stride frames of 10 ms, frames are 25 ms long. The next stretch's first patch follows
    # the last one's by the same stride, so a long clip's patches lie as if there were one stretch.
    hop, window = int(extractor.sampling_rate) // 100, int(extractor.sampling_rate) // 40
    patch, stride = int(settings.patch_size), int(settings.time_stride)
    num_positions = (int(extractor.max_length) - patch) // stride + 1

    def positions(lengths: Tensor) -> Tensor:
        num_frames = (lengths.clamp(min=window) - window) // hop + 1
        return -(-(num_frames.clamp(min=patch) - patch) // stride) + 1

    return _Stretch(
        num_positions * stride * hop, (int(extractor.max_length) - 1) * hop + window, num_positions, positions
    )
