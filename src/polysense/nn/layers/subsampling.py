"""From sound to a token for every 40 ms: a log-mel spectrogram under two convolutions of stride 2.

Four frames of 10 ms become one token, which makes attention over time 16 times as cheap, and speech still has several
tokens for each of its audio clips (Gulati et al., "Conformer", 2020, section 2.1).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.nn.layers.spectrogram import AugmentedLogMel

__all__ = ["SECONDS_PER_TOKEN", "Subsampling"]

SECONDS_PER_TOKEN = 0.04


class Subsampling(nn.Module):
    """Log-mel, two strided convolutions, all bands joined into each time step.

    Args:
        spectrogram: The layer that makes the spectrogram.
        num_mels: Its bands.
        channels: Channels of the two convolutions.
        width: Width of the tokens.
    """

    def __init__(self, spectrogram: AugmentedLogMel, num_mels: int, channels: int, width: int) -> None:
        super().__init__()
        self.spectrogram = spectrogram
        self.conv_1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.embed = nn.Linear(channels * -(-num_mels // 4), width)

    def forward(
        self,
        values: Shaped[Tensor, "items samples"],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> tuple[Float[Tensor, "items length width"], Bool[Tensor, "items length"]]:
        """Embedded frames without positions, and which of them are valid; arguments as of `Encoder.encode_items`."""
        spectrogram, valid = self.spectrogram(values, lengths, draws)
        keep = valid[:, None, None, ::2].to(spectrogram.dtype)
        x = spectrogram[:, None].contiguous(memory_format=torch.channels_last)
        # What lies beyond a clip's end must not reach its last frames through the second convolution.
        x = F.relu(self.conv_1(x), inplace=True) * keep
        x = F.relu(self.conv_2(x), inplace=True)
        return self.embed(x.permute(0, 3, 1, 2).flatten(2)), valid[:, ::4]
