"""Runs transformers' models of audio so that rows stay apart and no recording is cut.

Two kinds. Models that read the waveform (wav2vec2, HuBERT, WavLM, ...) take any length, but attention's cost grows with
its square, so a long recording is run in stretches whose frames follow one another exactly as in one piece. Models that
read a spectrogram take a fixed stretch (Whisper 30 s, AST about 10 s), which their own feature extractor fills up with
silence, and silently cuts what is longer. Here a longer recording is run over consecutive stretches, and a shorter one
at its own length, with the first of the model's positions: a clip of one second costs a fifteenth (Whisper is let
hear a second of silence after it), and silence enters no mean.

Two traps for a batch of unequal lengths, both seen to change a row's result by its batch mates:

- The smaller wav2vec2 and HuBERT models (`feat_extract_norm: group`) normalize each channel of their first layer over
  the whole padded length. `ClipNorm` takes that layer's place and counts a clip's own frames only.
- Some models (data2vec-audio, SEW) carry padding into valid frames by later convolutions. Their rows are run
  together only where their lengths are equal, without padding.

And one that changes its last bits: how many clips are run together must not depend on the others' lengths. So at
prediction, and wherever a frozen model's features may be kept, what can't be padded is run clip by clip; in training
clips of one length are run together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.nn.pretrained_files import layers_of

__all__ = [
    "AstEmbeddings",
    "ClipNorm",
    "encode_spectrograms",
    "encode_waveforms",
    "filled_up",
    "is_audio",
    "is_sequence",
    "is_waveform",
    "keep_rows_apart",
    "layers_of_blank",
    "samples_per_position",
]

_PADDED_EXACTLY = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
_WAVEFORM = (*_PADDED_EXACTLY, "data2vec-audio", "sew", "sew-d")
_SECONDS_OF_SILENCE = 1  # after a clip
_SPECTROGRAM = ("whisper", "audio-spectrogram-transformer")


def is_waveform(settings: Any) -> bool:
    """Whether a transformers config is of a model that reads the waveform."""
    return settings.model_type in _WAVEFORM


def is_sequence(settings: Any) -> bool:
    """Whether a model has one token for each position in time, and no others."""
    return not _is_ast(settings)


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
    """Changes a model in place so that padding counts nowhere; unpadded clips give what they gave before."""
    settings = backbone.config
    if settings.model_type in _PADDED_EXACTLY and settings.feat_extract_norm == "group":
        first = backbone.feature_extractor.conv_layers[0]
        first.layer_norm = ClipNorm(first.layer_norm)
    if _is_ast(settings):
        backbone.embeddings = AstEmbeddings(backbone.embeddings, settings)


def _receptive_field(settings: Any) -> tuple[int, int]:
    """Samples that one frame reads, and samples from one frame to the next."""
    samples, stride = 1, 1
    for kernel, step in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        samples += (kernel - 1) * stride
        stride *= step
    return samples, stride


def samples_per_position(backbone: Any, extractor: Any) -> int:
    """Samples from one position of a model's states to the next; of patches, from one time to the next."""
    settings = backbone.config
    if is_waveform(settings):
        return _receptive_field(settings)[1] * int(getattr(settings, "squeeze_factor", 1))
    if _is_ast(settings):
        return int(settings.time_stride) * int(extractor.sampling_rate) // 100
    return int(extractor.n_samples) // int(settings.max_source_positions)


def filled_up(
    backbone: Any, extractor: Any, values: Int[Tensor, "clips samples"], lengths: Int[Tensor, " clips"]
) -> tuple[Int[Tensor, "clips padded"], Int[Tensor, " clips"]]:
    """Clips with silence up to whole stretches of a model of spectrograms, as its own feature extractor hands them on.

    Args:
        backbone: A model of spectrograms.
        extractor: Its feature extractor.
        values: int16.
        lengths: Samples; 0 = absent, and stays so.
    """
    settings = backbone.config
    hop = int(extractor.sampling_rate) // 100
    whole = int(extractor.max_length) * hop if _is_ast(settings) else int(extractor.n_samples)
    room = -(-max(values.shape[1], 1) // whole) * whole
    valid = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    filled = F.pad(values.masked_fill(~valid, 0), (0, room - values.shape[1]))
    return filled, -(-lengths // whole) * whole


def encode_waveforms(
    backbone: Any,
    extractor: Any,
    values: Int[Tensor, "clips samples"],
    lengths: Int[Tensor, " clips"],
    max_seconds: float,
    chosen: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> tuple[Float[Tensor, "clips frames hidden"], Bool[Tensor, "clips frames"]]:
    """Hidden states of a waveform model, and which of them are valid.

    Args:
        backbone: After `keep_rows_apart`.
        extractor: Its feature extractor: sample rate, and whether clips are standardized.
        values: int16.
        lengths: Samples; 0 = absent.
        max_seconds: Longest stretch heard at once.
        chosen: Layers, by number from the input's embeddings on, whose features stand side by side; None: the last.
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
        hidden, num_frames = _run_padded(backbone, signal, padded_lengths, chosen, exact)
    else:
        # Each stretch begins a stride after the last frame of the one before: together they have the same frames. The
        # last one keeps the samples after its last frame, which a model may normalize over, as it does in one piece.
        room = longest + stride - 1
        signal = F.pad(signal, (0, max((num_stretches - 1) * step + room - signal.shape[1], 0)))
        stretches = signal.unfold(1, room, step)[:, :num_stretches]
        rest = padded_lengths[:, None] - torch.arange(num_stretches, device=padded_lengths.device) * step
        reached, last = rest >= size, rest < size + step
        sizes = rest.clamp(min=least).where(last, longest)
        run = torch.ones_like(reached) if exact else reached
        hidden, counts = _run_padded(backbone, stretches[run], sizes[run], chosen, exact)
        hidden = _scatter(hidden, run).flatten(1, 2)
        num_frames = (_scatter(counts, run) * reached).sum(dim=1)
    mask = torch.arange(hidden.shape[1], device=hidden.device) < (num_frames * (lengths > 0))[:, None]
    return hidden, mask


def _scatter(features: Tensor, run: Bool[Tensor, "clips stretches"]) -> Tensor:
    """The results of stretches that were run at their positions, zeros elsewhere."""
    return features.new_zeros(*run.shape, *features.shape[1:]).index_put((run,), features)


def _run_padded(
    backbone: Any, signal: Tensor, lengths: Tensor, chosen: Sequence[int] | None, exact: bool
) -> tuple[Tensor, Tensor]:
    several = chosen is not None
    num_frames: Tensor = backbone._get_feat_extract_output_lengths(lengths)
    if backbone.config.model_type in _PADDED_EXACTLY:
        output = _waveform_output(backbone, signal, lengths, several)
        return _chosen(layers_of(output), chosen), num_frames
    most = int(backbone._get_feat_extract_output_lengths(torch.tensor(signal.shape[1])))
    parts, rows = [], []
    for clips in _groups(lengths.cpu(), exact):
        length = int(lengths[clips[0]])
        output = _waveform_output(backbone, signal[clips, :length], lengths[clips], several)
        part = _chosen(layers_of(output), chosen)
        parts.append(F.pad(part, (0, 0, 0, most - part.shape[1])))
        rows.append(clips)
    return torch.cat(parts)[torch.cat(rows).argsort()], num_frames


def _waveform_output(backbone: Any, signal: Tensor, lengths: Tensor, several: bool) -> Any:
    """The model's output, with all hidden states where several are read."""
    settings = backbone.config
    if settings.model_type not in _PADDED_EXACTLY:  # all are of one length
        return backbone(input_values=signal, output_hidden_states=several)
    attended = torch.arange(signal.shape[1], device=signal.device) < lengths[:, None]
    if settings.feat_extract_norm == "group":
        first = (lengths - settings.conv_kernel[0]) // settings.conv_stride[0] + 1
        backbone.feature_extractor.conv_layers[0].layer_norm.num_frames = first
    return backbone(input_values=signal, attention_mask=attended.long(), output_hidden_states=several)


def _of_equal_length(lengths: Int[Tensor, " clips"]) -> list[Int[Tensor, " some"]]:
    return [(lengths == length).nonzero().flatten() for length in sorted(set(lengths.tolist()))]


def encode_spectrograms(
    backbone: Any,
    extractor: Any,
    values: Int[Tensor, "clips samples"],
    lengths: Int[Tensor, " clips"],
    chosen: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> tuple[Float[Tensor, "clips tokens hidden"], Bool[Tensor, "clips tokens"]]:
    """Hidden states of a model that reads fixed stretches at most, and which of them are valid.

    A clip is run at its own length: what is encoded is the extractor's spectrogram of the clip, cut to the clip's own
    frames (of Whisper a second more), with the model's first positions. So a clip costs what it lasts, and equals
    transformers' own encoder whose table of positions is cut likewise. A clip that is longer than a stretch is run in
    consecutive ones, of which only the last is cut. Of a present clip at least one token stays.

    Args:
        backbone: The model, after `keep_rows_apart`; of Whisper the encoder.
        extractor: Its feature extractor.
        values: int16.
        lengths: Samples; 0 = absent.
        chosen: As in `encode_waveforms`.
        exact: As in `encode_waveforms`.
    """
    model = _Ast(backbone, extractor) if _is_ast(backbone.config) else _Whisper(backbone, extractor)
    most = int(model.positions(torch.tensor(values.shape[1])))
    num_stretches = max(-(-most // model.num_positions), 1)
    num_positions = model.positions(lengths) * (lengths > 0)
    starts = torch.arange(num_stretches, device=lengths.device) * model.num_positions
    # [clips, stretches] positions in time. An absent clip is run too, as the shortest of all, and masked.
    rest = (num_positions[:, None] - starts).clamp(0, model.num_positions)
    sizes = rest.clone()
    sizes[:, 0].clamp_(min=1)

    room = min(most, model.num_positions)
    samples = values.cpu().numpy()
    places, parts = [], []
    every = sizes.cpu().flatten()
    for group in _groups(every, exact):
        size = int(every[group[0]])
        if size == 0:
            continue
        clips = []
        for place in group.tolist():
            row, stretch = divmod(place, num_stretches)
            start = stretch * model.step
            clip = samples[row, start : min(start + model.longest, int(lengths[row]))].astype(np.float32) / 32768.0
            clips.append(np.pad(clip, (0, max(model.samples(size) - len(clip), 0))))
        layers = model.run(clips, size, chosen)
        parts.append(model.spread(layers, size, room))
        places.append(group)
    result = torch.cat(parts)
    flat = result.new_zeros(len(every), *result.shape[1:])
    flat = flat.index_copy(0, torch.cat(places).to(result.device), result)
    mask = model.valid(rest, room)
    hidden = flat.reshape(*sizes.shape, *flat.shape[1:])
    if model.is_sequence:  # positions follow one another through the stretches, the last of which is not whole
        return hidden.flatten(1, 2)[:, :most], mask.flatten(1)[:, :most]
    return hidden.flatten(1, 2), mask.flatten(1)


def layers_of_blank(backbone: Any, extractor: Any) -> tuple[Tensor, ...]:
    """The layers that a model gives for a quarter of a second of silence, see `layers_of`."""
    config = backbone.config
    num_samples = int(extractor.sampling_rate) // 4
    if not is_waveform(config):
        model = _Ast(backbone, extractor) if _is_ast(config) else _Whisper(backbone, extractor)
        return model.layers([np.zeros(num_samples, dtype=np.float32)], int(model.positions(torch.tensor(num_samples))))
    signal = torch.zeros(1, max(num_samples, sum(_receptive_field(config)) * 4))
    return layers_of(_waveform_output(backbone, signal, torch.tensor([signal.shape[1]]), several=True))


def _groups(sizes: Int[Tensor, " clips"], exact: bool) -> list[Int[Tensor, " some"]]:
    """Which clips are run together: each alone where nothing may depend on the others, else those of one length."""
    return list(torch.arange(len(sizes))[:, None]) if exact else _of_equal_length(sizes)


class _Stretched(ABC):
    """A model that hears a fixed stretch of audio at most.

    Args:
        backbone: The model.
        extractor: Its feature extractor.

    Attributes:
        step: Samples from one stretch's beginning to the next one's.
        longest: Samples that it is given.
        num_positions: Positions in time of a whole stretch.
        is_sequence: Whether it has one token for each position in time, and no others.
    """

    is_sequence: bool
    step: int
    longest: int
    num_positions: int

    def __init__(self, backbone: Any, extractor: Any) -> None:
        self.backbone, self.extractor = backbone, extractor

    @abstractmethod
    def positions(self, lengths: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """How many positions clips of so many samples have."""

    @abstractmethod
    def samples(self, positions: int) -> int:
        """Samples, silence among them, that the extractor needs for so many positions."""

    @abstractmethod
    def layers(self, clips: list[np.ndarray], positions: int) -> tuple[Tensor, ...]:
        """The layers for clips that have so many positions, see `layers_of`."""

    def run(self, clips: list[np.ndarray], positions: int, chosen: Sequence[int] | None) -> Tensor:
        """The chosen layers' features side by side: [clips, tokens, layers * hidden]."""
        return _chosen(self.layers(clips, positions), chosen)

    def spread(self, hidden: Tensor, positions: int, room: int) -> Tensor:
        """Tokens of so many positions at their places among those of `room` positions."""
        return F.pad(hidden, (0, 0, 0, room - positions))

    def valid(self, positions: Int[Tensor, "clips stretches"], room: int) -> Bool[Tensor, "clips stretches tokens"]:
        """Which tokens of `room` positions are those of so many."""
        return torch.arange(room, device=positions.device) < positions[..., None]

    def features(self, clips: list[np.ndarray], **options: Any) -> Tensor:
        """The extractor's spectrograms, on the model's device."""
        rate = int(self.extractor.sampling_rate)
        features = self.extractor(clips, sampling_rate=rate, return_tensors="pt", **options)
        name = "input_features" if "input_features" in features else "input_values"
        parameter = next(self.backbone.parameters())
        result: Tensor = features[name].to(parameter.device, parameter.dtype)
        return result


class _Whisper(_Stretched):
    """Whisper's encoder, run block by block: its own `forward` takes 30 s and nothing else.

    It never saw a clip that was cut off: silence follows in its training. So a clip is heard with a second of it, whose
    positions are not handed on. Spoken digits of 0.4 s, a voice that was never heard: .95 without, .985 with it.
    """

    is_sequence = True

    def __init__(self, backbone: Any, extractor: Any) -> None:
        super().__init__(backbone, extractor)
        self.step = self.longest = int(extractor.n_samples)
        self.num_positions = int(backbone.config.max_source_positions)
        self.frames = backbone.conv1.stride[0] * backbone.conv2.stride[0]  # of the spectrogram, for each position
        self.silence = int(extractor.sampling_rate) * _SECONDS_OF_SILENCE * self.num_positions // self.step

    def positions(self, lengths: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        return -(-lengths * self.num_positions // self.step)

    def samples(self, positions: int) -> int:
        # The last frame's window reaches half its length beyond it, into the silence that follows a clip.
        hop, window = int(self.extractor.hop_length), int(self.extractor.n_fft)
        return min(positions * int(self.frames) * hop + 2 * window, self.step)

    def layers(self, clips: list[np.ndarray], positions: int) -> tuple[Tensor, ...]:
        network = self.backbone
        heard = min(positions + self.silence, self.num_positions)
        most = self.samples(heard)
        followed = [np.pad(clip, (0, max(most - len(clip), 0))) for clip in clips]
        features = self.features(followed, padding="longest")[..., : heard * self.frames]
        x = F.gelu(network.conv2(F.gelu(network.conv1(features)))).transpose(1, 2)
        x = x + network.embed_positions.weight[:heard]
        x = F.dropout(x, p=network.dropout, training=network.training)
        every = [x]
        for block in network.layers:
            x = block(x, None)
            x = x[0] if isinstance(x, tuple) else x
            every.append(x)
        every[-1] = network.layer_norm(x)
        return tuple(layer[:, :positions] for layer in every)


class _Ast(_Stretched):
    """The audio spectrogram transformer: two class tokens, then patches, all times of the lowest bands first.

    Patches are laid every time_stride frames of 10 ms, frames are 25 ms long. The next stretch's first patch follows
    the last one's by the same stride, so a long clip's patches lie as if there were one stretch.
    """

    is_sequence = False

    def __init__(self, backbone: Any, extractor: Any) -> None:
        super().__init__(backbone, extractor)
        config = backbone.config
        self.hop, self.window = int(extractor.sampling_rate) // 100, int(extractor.sampling_rate) // 40
        self.patch, self.stride = int(config.patch_size), int(config.time_stride)
        self.num_positions = (int(extractor.max_length) - self.patch) // self.stride + 1
        self.num_bands = (int(config.num_mel_bins) - self.patch) // int(config.frequency_stride) + 1
        self.step = self.num_positions * self.stride * self.hop
        self.longest = (int(extractor.max_length) - 1) * self.hop + self.window

    def positions(self, lengths: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        num_frames = (lengths.clamp(min=self.window) - self.window) // self.hop + 1
        return -(-(num_frames.clamp(min=self.patch) - self.patch) // self.stride) + 1

    def samples(self, positions: int) -> int:
        return self.window  # one frame; the extractor fills up the rest

    def layers(self, clips: list[np.ndarray], positions: int) -> tuple[Tensor, ...]:
        frames = (positions - 1) * self.stride + self.patch
        features = self.features(clips)[:, :frames]
        return layers_of(self.backbone(features, output_hidden_states=True))

    def spread(self, hidden: Tensor, positions: int, room: int) -> Tensor:
        first = hidden[:, :2]
        patches = hidden[:, 2:].reshape(len(hidden), self.num_bands, positions, -1)
        return torch.cat([first, F.pad(patches, (0, 0, 0, room - positions)).flatten(1, 2)], dim=1)

    def valid(self, positions: Int[Tensor, "clips stretches"], room: int) -> Bool[Tensor, "clips stretches tokens"]:
        times = super().valid(positions, room)
        return torch.cat([times[..., :1].expand(-1, -1, 2), times.repeat(1, 1, self.num_bands)], dim=2)


class AstEmbeddings(nn.Module):
    """Embeds the patches of spectrograms of any length up to the model's own, with the positions of their own times.

    Args:
        embeddings: The model's, which takes one length only; its parameters are shared and keep their names.
        config: The model's.
    """

    def __init__(self, embeddings: Any, config: Any) -> None:
        super().__init__()
        self.cls_token, self.distillation_token = embeddings.cls_token, embeddings.distillation_token
        self.patch_embeddings, self.dropout = embeddings.patch_embeddings, embeddings.dropout
        self.position_embeddings = embeddings.position_embeddings
        self.num_bands, self.num_times = embeddings.get_shape(config)

    def forward(self, input_values: Float[Tensor, "clips frames mels"]) -> Float[Tensor, "clips tokens hidden"]:
        """Class tokens and patches, all times of the lowest bands first."""
        patches = self.patch_embeddings(input_values)
        num_times = patches.shape[1] // self.num_bands
        first, grid = self.position_embeddings[:, :2], self.position_embeddings[:, 2:]
        grid = grid.reshape(1, self.num_bands, self.num_times, -1)[:, :, :num_times].flatten(1, 2)
        classes = torch.cat([self.cls_token, self.distillation_token], dim=1) + first
        tokens = torch.cat([classes.expand(len(patches), -1, -1), patches + grid], dim=1)
        result: Tensor = self.dropout(tokens)
        return result


def _chosen(layers: tuple[Tensor, ...], chosen: Sequence[int] | None) -> Tensor:
    return layers[-1] if chosen is None else torch.cat([layers[layer] for layer in chosen], dim=2)


def _is_ast(settings: Any) -> bool:
    return bool(settings.model_type == "audio-spectrogram-transformer")
