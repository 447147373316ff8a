"""A vision transformer: the image's patches as a sequence.

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1, without the class token: what is read is the
patches themselves (Beyer et al., "Better plain ViT baselines for ImageNet-1k", 2022, find it no worse). Nothing tells
it that neighboring pixels belong together, so from scratch it needs far more images than a convolutional network; its
merit is attention over the whole image from the first layer on. Cost grows with the number of patches, and that of
attention with their square.

The patch need not divide the image: its right and lower edge are filled up with the column's mean, which is 0 after
standardizing. Every patch holds at least one true pixel, so there is no patch to mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.modalities.image.encoders.feature_map import grid_positions
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.layers.pixels import Standardize
from polysense.nn.layers.transformer import TransformerBlock

__all__ = ["ViT", "ViTConfig"]


@dataclass(frozen=True, kw_only=True)
class ViTConfig(EncoderConfig):
    """A vision transformer, trained from scratch; for pretrained weights take `type: timm` or `type: pretrained`.

    Attributes:
        patch: Side of a patch in pixels; auto: 4 if the image's shorter side is below 64 px, 8 below 128 px, else 16.
        positions: Positional embedding of the patches: "sinusoidal" (fixed, rows and columns apart) or "learned".
        width: Width of the transformer; null = model.width.
        num_layers: Transformer blocks.
        num_heads: Attention heads; must divide the width.
        dropout: On embeddings and in every block.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    type: Literal["vit"] = "vit"
    patch: PositiveInt | Literal["auto"] = "auto"
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    width: int | None = None
    num_layers: PositiveInt = 6
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class ViT(Encoder, config=ViTConfig):
    """Patches, positions, transformer blocks, a last normalization, and a projection where the widths differ."""

    def __init__(self, config: ViTConfig, column: ImageColumn, width: int) -> None:
        super().__init__(column, width)
        inner = config.width or width
        shorter = min(column.image_size)
        automatic = 4 if shorter < 64 else 8 if shorter < 128 else 16
        self.patch: int = automatic if config.patch == "auto" else config.patch
        height, columns = (-(-side // self.patch) for side in column.image_size)
        self.grid = (height, columns)
        self.standardize = Standardize(column.mean, column.std)
        self.embedding = nn.Linear(column.num_channels * self.patch**2, inner)
        self.positions = None
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.randn(height * columns, inner) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(inner, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(inner)
        self.projection = nn.Identity() if inner == width else nn.Linear(inner, width)

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """One: patches have one size throughout."""
        return (PyramidLevel(stride=(self.patch, self.patch), width=self.embedding.out_features, grid=self.grid),)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        x = self.embedding(self.patches(self.standardize(values)))
        positions = grid_positions(self.grid, x.shape[-1], x.device) if self.positions is None else self.positions
        x = self.dropout(x + positions.to(x.dtype))
        for block in self.blocks:
            # All of an image's patches are there, or it is absent and its tokens are masked.
            x = block(x, None)
        mask = (lengths > 0)[:, None].expand(-1, x.shape[1])
        x = self.norm(x)
        return Tokens(self.projection(x), mask, self.grid, (Tokens(x, mask, self.grid),) if self.gives_pyramid else ())

    def patches(self, x: Float[Tensor, "items channels height columns"]) -> Float[Tensor, "items patches pixels"]:
        """The image's patches row by row; a patch's pixels channel by channel, as a convolution orders them."""
        (height, columns), size = self.grid, self.patch
        x = F.pad(x, (0, columns * size - x.shape[3], 0, height * size - x.shape[2]))
        x = x.reshape(len(x), -1, height, size, columns, size)
        return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
