"""A small U-Net that predicts a velocity: residual convolutions at two resolutions, attention at the coarser one.

Ronneberger et al., "U-Net", 2015; time and condition scale and shift each block's features (adaptive group
normalization, Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021, section 3.1), and the
coarsest map attends to the condition's tokens (Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion
Models", CVPR 2022, section 3.3). Patches of pixels are the channels of a map of at most 16 x 16 cells, so that
an image of 64 pixels costs no more than one of 16 (Hoogeboom et al., "Simpler Diffusion", CVPR 2025, section 4).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.nn.layers.transformer import CrossAttentionBlock, TransformerBlock
from polysense.tasks.image_generation.heads.condition import Condition

__all__ = ["UNet"]

_GROUP = 8
_HEAD = 32  # channels of an attention head


class UNet(nn.Module):
    """From maps of patches to maps of the same shape, 0 before training.

    Args:
        num_patch_values: Channels of the maps.
        grid: (height, width) of the maps, at least 2.
        channels: Of the finer maps, a multiple of 8; the coarser ones have twice as many.
        num_layers: Residual blocks at each resolution, on the way down and on the way up.
        size: Of the condition's vectors.
        dropout: Within each block.
    """

    def __init__(
        self, num_patch_values: int, grid: tuple[int, int], channels: int, num_layers: int, size: int, dropout: float
    ) -> None:
        super().__init__()
        coarse = 2 * channels
        self.coarse_grid = tuple(-(-side // 2) for side in grid)
        self.enter = nn.Conv2d(num_patch_values, channels, 3, padding=1)
        self.fine_down = _blocks(channels, channels, num_layers, size, dropout)
        self.down = nn.Conv2d(channels, coarse, 3, stride=2, padding=1)
        self.coarse_down = _blocks(coarse, coarse, num_layers, size, dropout)
        self.positions = nn.Parameter(torch.randn(self.coarse_grid[0] * self.coarse_grid[1], coarse) * 0.02)
        num_heads = max(1, coarse // _HEAD)
        while coarse % num_heads:
            num_heads -= 1
        self.context = nn.Linear(size, coarse)
        self.attend = TransformerBlock(coarse, num_heads, expansion=2, dropout=dropout)
        self.read = CrossAttentionBlock(coarse, num_heads, expansion=2, dropout=dropout)
        self.middle = _Block(coarse, coarse, size, dropout)
        self.coarse_up = _blocks(2 * coarse, coarse, num_layers, size, dropout)
        self.up = nn.Conv2d(coarse, channels, 1)
        self.fine_up = _blocks(2 * channels, channels, num_layers, size, dropout)
        self.leave = nn.Sequential(nn.GroupNorm(channels // _GROUP, channels), nn.SiLU())
        self.readout = nn.Conv2d(channels, num_patch_values, 3, padding=1)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)  # type: ignore[arg-type]

    def forward(
        self, x: Float[Tensor, "batch values height width"], moment: Float[Tensor, "batch size"], condition: Condition
    ) -> Float[Tensor, "batch values height width"]:
        """`moment` says when, and what the columns' summary is."""
        fine = _through(self.fine_down, self.enter(x), moment)
        coarse = _through(self.coarse_down, self.down(fine), moment)
        tokens = coarse.flatten(2).transpose(1, 2) + self.positions
        tokens = self.read(self.attend(tokens, None), self.context(condition.tokens), condition.mask)
        middle = self.middle(tokens.transpose(1, 2).reshape(coarse.shape), moment)
        coarse = _through(self.coarse_up, torch.cat([middle, coarse], dim=1), moment)
        height, width = fine.shape[2:]
        raised = self.up(coarse).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[:, :, :height, :width]
        out: Tensor = self.readout(self.leave(_through(self.fine_up, torch.cat([raised, fine], dim=1), moment)))
        return out


class _Block(nn.Module):
    """Two 3x3 convolutions and a residual connection; the second is scaled and shifted by when and what."""

    def __init__(self, num_inputs: int, num_outputs: int, size: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.GroupNorm(num_inputs // _GROUP, num_inputs), nn.SiLU())
        self.conv_1 = nn.Conv2d(num_inputs, num_outputs, 3, padding=1)
        self.norm = nn.GroupNorm(num_outputs // _GROUP, num_outputs)
        self.modulation = nn.Linear(size, 2 * num_outputs)
        self.leave = nn.Sequential(nn.SiLU(), nn.Dropout(dropout))
        self.conv_2 = nn.Conv2d(num_outputs, num_outputs, 3, padding=1)
        self.shortcut = nn.Identity() if num_inputs == num_outputs else nn.Conv2d(num_inputs, num_outputs, 1)
        nn.init.zeros_(self.conv_2.weight)
        nn.init.zeros_(self.conv_2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, moment: Float[Tensor, "batch size"]) -> Tensor:
        scale, shift = self.modulation(moment)[:, :, None, None].chunk(2, dim=1)
        hidden = self.norm(self.conv_1(self.enter(x))) * (1 + scale) + shift
        out: Tensor = self.shortcut(x) + self.conv_2(self.leave(hidden))
        return out


def _blocks(num_inputs: int, num_outputs: int, num_layers: int, size: int, dropout: float) -> nn.ModuleList:
    return nn.ModuleList(
        _Block(num_inputs if layer == 0 else num_outputs, num_outputs, size, dropout) for layer in range(num_layers)
    )


def _through(blocks: nn.ModuleList, x: Tensor, moment: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, moment)
    return x
