"""Waveform to log-mel spectrogram, on the device, a batch at a time, each clip on its own.

`torch.stft` with a mel matrix agrees with torchaudio to 1e-5 and is faster; torchaudio itself is frozen and no longer
imports against current torch. A frame near a clip's end sees zeros beyond it, so the padding's length changes nothing.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

__all__ = [
    "FLOOR",
    "AugmentedLogMel",
    "LogMel",
    "gain_bands",
    "mel_filters",
    "spec_augment",
    "stretch_time",
    "warp_frequency",
]

FLOOR = 1e-10 * 2.0**30
"""The least power of a band; full scale is 32768."""

_LEAST_DEVIATION = 1e-3
# Which of a clip's draws each augmentation reads; spec_augment those before.
_WARP_DRAW, _STRETCH_DRAW, _GAIN_DRAWS = 8, 9, slice(10, 16)


def _hertz_to_mel(frequency: float) -> float:
    return 2595.0 * math.log10(1.0 + frequency / 700.0)


def mel_filters(num_bins: int, num_mels: int, sample_rate: int) -> Float[Tensor, "bins mels"]:
    """Triangular filters, equally spaced on the HTK mel scale (2595 log10(1 + f / 700)) from 0 Hz to half the rate."""
    points = torch.linspace(0.0, _hertz_to_mel(sample_rate / 2), num_mels + 2, dtype=torch.float64)
    centers = 700.0 * (10.0 ** (points / 2595.0) - 1.0)
    bins = torch.linspace(0.0, sample_rate / 2, num_bins, dtype=torch.float64)[:, None]
    rising = (bins - centers[:-2]) / (centers[1:-1] - centers[:-2])
    falling = (centers[2:] - bins) / (centers[2:] - centers[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


class LogMel(nn.Module):
    """Log-mel spectrogram of 25 ms windows every 10 ms, standardized per clip.

    Each clip is limited to 80 dB below its own loudest bin and standardized over its own frames and bins, which takes
    out recording level and makes quiet and loud speakers alike.

    Args:
        sample_rate: Samples per second.
        num_mels: Mel bands.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, num_mels: int) -> None:
        super().__init__()
        self.hop = max(sample_rate // 100, 1)
        self.window_size = max(sample_rate // 40, 2)
        self.fft_size = 2 ** math.ceil(math.log2(self.window_size))
        self.num_mels = num_mels
        self.register_buffer("filters", mel_filters(self.fft_size // 2 + 1, num_mels, sample_rate), persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_size), persistent=False)

    @torch.no_grad()
    def forward(
        self, waveform: Int[Tensor, "clips samples"], lengths: Int[Tensor, " clips"]
    ) -> tuple[Float[Tensor, "clips mels frames"], Bool[Tensor, "clips frames"]]:
        """Returns the spectrogram, 0 at padded frames, and which frames are valid: ceil(length / hop) of each clip."""
        centered, valid, _, deviation = self._centered(waveform, lengths)
        return (centered / deviation.clamp(min=_LEAST_DEVIATION)).transpose(1, 2), valid

    def _centered(
        self, waveform: Int[Tensor, "clips samples"], lengths: Int[Tensor, " clips"]
    ) -> tuple[
        Float[Tensor, "clips frames mels"],
        Bool[Tensor, "clips frames"],
        Float[Tensor, "clips 1 1"],
        Float[Tensor, "clips 1 1"],
    ]:
        """Log10 power above the clip's mean, 0 at padded frames; valid frames; the mean and the deviation."""
        num_frames = max(math.ceil(waveform.shape[1] / self.hop), 1)
        with torch.autocast(waveform.device.type, enabled=False):
            beyond = torch.arange(waveform.shape[1], device=waveform.device) >= lengths[:, None]
            spectrum = self.spectrum(waveform.masked_fill(beyond, 0).float(), num_frames)
            power = torch.addcmul(spectrum.real * spectrum.real, spectrum.imag, spectrum.imag)
            # [clips, frames, bins] @ [bins, mels]; full scale is 32768, whose square is taken out here at no cost.
            log_mel = (power.transpose(1, 2) @ self.filters).clamp(min=FLOOR).log10()
            frames = torch.arange(num_frames, device=waveform.device)
            valid = frames < ((lengths + self.hop - 1) // self.hop)[:, None]
            weight = valid[..., None].to(log_mel.dtype)
            loudest = log_mel.masked_fill(~valid[..., None], -1.0).amax(dim=(1, 2), keepdim=True)
            log_mel = torch.maximum(log_mel, loudest - 8.0)
            count = (weight.sum(dim=(1, 2), keepdim=True) * self.num_mels).clamp(min=1)
            mean = (log_mel * weight).sum(dim=(1, 2), keepdim=True) / count
            centered = (log_mel - mean) * weight
            deviation = (centered.square().sum(dim=(1, 2), keepdim=True) / count).sqrt()
            return centered, valid, mean, deviation

    def spectrum(
        self, signal: Float[Tensor, "clips samples"], num_frames: int
    ) -> Complex[Tensor, "clips bins {num_frames}"]:
        """The windowed Fourier transforms around every hop-th sample, the first included; zeros lie beyond the ends."""
        left = self.fft_size // 2
        needed = (num_frames - 1) * self.hop + self.fft_size
        signal = nn.functional.pad(signal, (left, max(needed - left - signal.shape[1], 0)))
        result: Tensor = torch.stft(
            signal,
            self.fft_size,
            hop_length=self.hop,
            win_length=self.window_size,
            window=self.window,
            center=False,
            return_complex=True,
        )[..., :num_frames]
        return result


class AugmentedLogMel(nn.Module):
    """Log-mel spectrogram; in training its frequency axis is warped and spans of it are masked.

    What happens to a clip is a pure function of its own draws and length. Without draws, as at prediction, nothing
    happens.

    Args:
        sample_rate: Samples per second.
        num_mels: Mel bands.
        max_time_mask: Longest SpecAugment time mask, as a fraction of the clip; 0 switches it off.
        max_frequency_mask: Widest SpecAugment frequency mask, as a fraction of the bands; 0 switches it off.
        max_frequency_warp: Largest stretch of the frequency axis, as a fraction; 0 switches it off.
        max_time_stretch: Most that time is stretched or shortened; 0 switches it off.
        max_band_gain: Largest gain of a band, in standard deviations; 0 switches it off.
    """

    def __init__(
        self,
        sample_rate: int,
        num_mels: int,
        max_time_mask: float = 0.0,
        max_frequency_mask: float = 0.0,
        max_frequency_warp: float = 0.0,
        max_time_stretch: float = 0.0,
        max_band_gain: float = 0.0,
    ) -> None:
        super().__init__()
        self.log_mel = LogMel(sample_rate, num_mels)
        self.max_time_mask = max_time_mask
        self.max_frequency_mask = max_frequency_mask
        self.max_frequency_warp = max_frequency_warp
        self.max_time_stretch = max_time_stretch
        self.max_band_gain = max_band_gain

    def forward(
        self,
        waveform: Int[Tensor, "clips samples"],
        lengths: Int[Tensor, " clips"],
        draws: Float[Tensor, "clips draws"] | None,
    ) -> tuple[Float[Tensor, "clips mels frames"], Bool[Tensor, "clips frames"]]:
        """Returns the spectrogram, 0 at padded frames, and which frames are valid, as LogMel does."""
        spectrogram, valid = self.log_mel(waveform, lengths)
        if self.training and draws is not None:
            if self.max_time_stretch > 0:
                spectrogram, valid = stretch_time(spectrogram, valid, draws[:, _STRETCH_DRAW], self.max_time_stretch)
            if self.max_frequency_warp > 0:
                spectrogram = warp_frequency(spectrogram, draws[:, _WARP_DRAW], self.max_frequency_warp)
            if self.max_band_gain > 0:
                spectrogram = gain_bands(spectrogram, draws[:, _GAIN_DRAWS], self.max_band_gain) * valid[:, None, :]
            if self.max_time_mask + self.max_frequency_mask > 0:
                num_frames = valid.sum(dim=1)
                spectrogram = spec_augment(spectrogram, num_frames, draws, self.max_time_mask, self.max_frequency_mask)
        return spectrogram, valid


def spec_augment(
    spectrogram: Float[Tensor, "clips mels frames"],
    lengths: Int[Tensor, " clips"],
    draws: Float[Tensor, "clips draws"],
    max_time: float,
    max_frequency: float,
) -> Float[Tensor, "clips mels frames"]:
    """SpecAugment: masks two time spans and two frequency bands (Park et al., "SpecAugment", 2019, section 2).

    Masked cells become 0, the clip's mean. Every mask is a pure function of the clip's own draws and length.

    Args:
        spectrogram: Standardized.
        lengths: Valid frames of each clip.
        draws: At least 8 uniforms in [0, 1) for each clip.
        max_time: Longest time mask, as a fraction of the clip.
        max_frequency: Widest frequency mask, as a fraction of the bands.
    """
    _, num_mels, num_frames = spectrogram.shape
    frames = torch.arange(num_frames, device=spectrogram.device)
    mels = torch.arange(num_mels, device=spectrogram.device)
    keep_frames = torch.ones(len(draws), num_frames, dtype=torch.bool, device=spectrogram.device)
    keep_mels = torch.ones(len(draws), num_mels, dtype=torch.bool, device=spectrogram.device)
    for index in range(2):
        size, start = draws[:, 4 * index, None], draws[:, 4 * index + 1, None]
        width = size * max_time * lengths[:, None]
        first = start * (lengths[:, None] - width)
        keep_frames &= ~((frames >= first) & (frames < first + width))
        size, start = draws[:, 4 * index + 2, None], draws[:, 4 * index + 3, None]
        width = size * max_frequency * num_mels
        first = start * (num_mels - width)
        keep_mels &= ~((mels >= first) & (mels < first + width))
    return spectrogram * keep_mels[:, :, None] * keep_frames[:, None, :]


def warp_frequency(
    spectrogram: Float[Tensor, "clips mels frames"], draw: Float[Tensor, " clips"], max_warp: float
) -> Float[Tensor, "clips mels frames"]:
    """Stretches the frequency axis of each clip, as another speaker's vocal tract would.

    Vocal tract length perturbation (Jaitly and Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech
    recognition", 2013, section 3), here as one linear stretch of the mel axis.

    Args:
        spectrogram: Standardized.
        draw: A uniform in [0, 1) for each clip.
        max_warp: Largest stretch either way, as a fraction.
    """
    num_mels = spectrogram.shape[1]
    stretch = 1 + max_warp * (2 * draw - 1)
    source = (torch.arange(num_mels, device=draw.device) * stretch[:, None]).clamp(max=num_mels - 1)
    low = source.floor()
    share = (source - low)[:, :, None].to(spectrogram.dtype)
    rows = low.long()[:, :, None].expand_as(spectrogram)
    above = (rows + 1).clamp(max=num_mels - 1)
    return torch.lerp(spectrogram.gather(1, rows), spectrogram.gather(1, above), share)


def stretch_time(
    spectrogram: Float[Tensor, "clips mels frames"],
    valid: Bool[Tensor, "clips frames"],
    draw: Float[Tensor, " clips"],
    max_stretch: float,
) -> tuple[Float[Tensor, "clips mels longer"], Bool[Tensor, "clips longer"]]:
    """Slows each clip down or speeds it up without changing its pitch.

    Tempo perturbation (Ko et al., "Audio Augmentation for Speech Recognition", 2015, section 2), on the spectrogram: a
    frame between two is their mixture, so no phases need to be made up.

    Args:
        spectrogram: Standardized, 0 beyond a clip's end.
        valid: Which frames are valid; a clip's first ones.
        draw: A uniform in [0, 1) for each clip.
        max_stretch: Most that time is stretched or shortened: by a factor of 1 / (1 + max_stretch) to 1 + max_stretch.
    """
    num_mels, num_frames = spectrogram.shape[1:]
    before = valid.sum(dim=1)
    factor = (1 + max_stretch) ** (2 * draw - 1)
    longest = math.ceil(num_frames * (1 + max_stretch))
    # A clip that is there keeps a frame at least; one that isn't gets none.
    after = (before * factor).round().clamp(min=1, max=longest) * (before > 0)
    frames = torch.arange(longest, device=spectrogram.device)
    last = (before - 1).clamp(min=0)[:, None]
    # The first frame stays the first and the last the last.
    source = frames * last / (after - 1).clamp(min=1)[:, None]
    low = source.floor().long().minimum(last)
    high = (low + 1).minimum(last)
    share = (source - low).clamp(min=0, max=1)[:, None, :].to(spectrogram.dtype)

    def at(frame: Int[Tensor, "clips longer"]) -> Float[Tensor, "clips mels longer"]:
        return spectrogram.gather(2, frame[:, None, :].expand(-1, num_mels, -1))

    valid = frames < after[:, None]
    return torch.lerp(at(low), at(high), share) * valid[:, None, :], valid


def gain_bands(
    spectrogram: Float[Tensor, "clips mels frames"], draws: Float[Tensor, "clips knots"], max_gain: float
) -> Float[Tensor, "clips mels frames"]:
    """Makes bands louder or softer, as another microphone, room or voice would.

    FilterAugment, its linear form (Nam et al., "FilterAugment: An Acoustic Environmental Data Augmentation Method",
    2022, section 2): gains drawn at a few frequencies, here equally spaced on the mel axis, and lines between them.

    Args:
        spectrogram: Standardized log-mel, so that adding is a gain.
        draws: Uniforms in [0, 1), one for each knot.
        max_gain: Largest gain either way.
    """
    knots = (2 * draws - 1)[:, None, :] * max_gain
    size = spectrogram.shape[1]
    gains = nn.functional.interpolate(knots, size=size, mode="linear", align_corners=True)[:, 0]
    return spectrogram + gains[:, :, None].to(spectrogram.dtype)
