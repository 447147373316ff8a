"""From a column's tokens to a language model's embedding space.

Three ways, by what they do to the number of tokens, which is what a language model's time and context go to:

- MLP: each token becomes one (Liu et al., "Improved Baselines with Visual Instruction Tuning", 2023, section 3.2).
- Pixel shuffle: r x r neighboring tokens of an image are laid side by side and become one (space to depth, which is
  Shi et al., 2016, backwards; Laurençon et al., "Building and better understanding vision-language models", 2024,
  section 3). Nothing is averaged away. Where there is one dimension (sound, text), r^2 consecutive tokens become one.
- Perceiver: learned latents read the tokens; there are as many as one asks for, however long the column (Alayrac et
  al., "Flamingo", 2022, section 3.1.1). Cheapest for long columns, and slowest to learn where things are.

All work on items (one image, one clip), so the items of a cell stay apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.nn.layers.transformer import CrossAttentionBlock

__all__ = [
    "Connector",
    "ConnectorKind",
    "MLPConnector",
    "PerceiverConnector",
    "PixelShuffleConnector",
    "SummaryConnector",
    "connector",
]

ConnectorKind: TypeAlias = Literal["mlp", "pixel_shuffle", "perceiver"]


class Connector(nn.Module, ABC):
    """Tokens of items to embeddings of a language model."""

    @abstractmethod
    def forward(
        self,
        values: Float[Tensor, "items length width"],
        mask: Bool[Tensor, "items length"],
        grid: tuple[int, ...],
    ) -> tuple[Float[Tensor, "items new_length embedding"], Bool[Tensor, "items new_length"]]:
        """Embeddings and which of them are valid.

        Args:
            values: What is masked out may be anything.
            mask: An absent item's is all False, before and after.
            grid: The shape that the length unfolds to.
        """


def connector(kind: ConnectorKind, width: int, embedding: int, *, shuffle: int, latents: int) -> Connector:
    """A connector.

    Args:
        kind: Which.
        width: Width of the tokens.
        embedding: Width of the language model's embeddings.
        shuffle: Of a pixel shuffle, r.
        latents: Of a perceiver, how many.
    """
    match kind:
        case "mlp":
            return MLPConnector(width, embedding)
        case "pixel_shuffle":
            return PixelShuffleConnector(width, embedding, shuffle)
        case "perceiver":
            return PerceiverConnector(width, embedding, latents)


def _mlp(width: int, embedding: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embedding), nn.GELU(), nn.Linear(embedding, embedding))


class SummaryConnector(nn.Module):
    """A summary as several tokens, each as long as the language model's own embeddings are on average.

    A token of another length is either lost among them or drowns them out, until training has found the scale.

    Args:
        width: Width of the summary.
        embedding: Width of the tokens.
        slots: How many.
        scale: Root mean square of the numbers of an embedding.
    """

    def __init__(self, width: int, embedding: int, slots: int, scale: float) -> None:
        super().__init__()
        self.slots, self.embedding = slots, embedding
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, slots * embedding)
        )
        self.scale = nn.Parameter(torch.full((embedding,), scale))

    def forward(
        self, summary: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch slots embedding"], Float[Tensor, "batch slots embedding"]]:
        """The tokens, and their directions, of a root mean square of 1."""
        made = self.layers(summary).view(-1, self.slots, self.embedding)
        directions = F.rms_norm(made, (self.embedding,))
        return directions * self.scale, directions


class MLPConnector(Connector):
    """Each token by itself, through two layers."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.layers = _mlp(width, embedding)

    def forward(
        self,
        values: Float[Tensor, "items length width"],
        mask: Bool[Tensor, "items length"],
        grid: tuple[int, ...],
    ) -> tuple[Float[Tensor, "items new_length embedding"], Bool[Tensor, "items new_length"]]:
        return self.layers(values), mask


class PixelShuffleConnector(Connector):
    """factor x factor tokens of a grid side by side, through two layers."""

    def __init__(self, width: int, embedding: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.layers = _mlp(factor * factor * width, embedding)

    def forward(
        self,
        values: Float[Tensor, "items length width"],
        mask: Bool[Tensor, "items length"],
        grid: tuple[int, ...],
    ) -> tuple[Float[Tensor, "items new_length embedding"], Bool[Tensor, "items new_length"]]:
        # A neighborhood may reach over an image's edge or a clip's end: what is not there is 0 within its token.
        joined = torch.cat([values * mask[:, :, None], mask[:, :, None].to(values.dtype)], dim=2)
        shuffled = space_to_depth(joined, grid, self.factor)
        parts = shuffled.reshape(*shuffled.shape[:2], self.factor**2, values.shape[2] + 1)
        return self.layers(parts[..., :-1].flatten(2)), (parts[..., -1] > 0).any(dim=2)


def space_to_depth(
    values: Float[Tensor, "items length width"], grid: tuple[int, ...], factor: int
) -> Float[Tensor, "items new_length deep"]:
    """factor^2 neighbors of the last two dimensions of a grid side by side, row by row; zeros beyond the edge.

    A grid of one dimension is cut into stretches of factor^2.
    """
    items, _, width = values.shape
    if sum(size > 1 for size in grid) < 2:
        values = F.pad(values, (0, 0, 0, -values.shape[1] % factor**2))
        return values.reshape(items, -1, factor**2 * width)
    height, breadth = grid[-2:]
    unfolded = values.reshape(items, -1, height, breadth, width)
    unfolded = F.pad(unfolded, (0, 0, 0, -breadth % factor, 0, -height % factor))
    times, height, breadth = (unfolded.shape[1], unfolded.shape[2] // factor, unfolded.shape[3] // factor)
    blocks = unfolded.reshape(items, times, height, factor, breadth, factor, width).transpose(3, 4)
    return blocks.reshape(items, times * height * breadth, factor**2 * width)


class PerceiverConnector(Connector):
    """A fixed number of learned latents that read the tokens, twice."""

    def __init__(self, width: int, embedding: int, latents: int, num_layers: int = 2) -> None:
        super().__init__()
        num_heads = next(heads for heads in (8, 4, 2, 1) if width % heads == 0)
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.blocks = nn.ModuleList(CrossAttentionBlock(width, num_heads) for _ in range(num_layers))
        self.layers = _mlp(width, embedding)

    def forward(
        self,
        values: Float[Tensor, "items length width"],
        mask: Bool[Tensor, "items length"],
        grid: tuple[int, ...],
    ) -> tuple[Float[Tensor, "items new_length embedding"], Bool[Tensor, "items new_length"]]:
        latents = self.latents.to(values.dtype).expand(len(values), -1, -1)
        for block in self.blocks:
            # Keys and values are the tokens and the latents themselves, as in Flamingo: an item is never without keys.
            context = torch.cat([values, latents], dim=1)
            latents = block(latents, context, torch.cat([mask, mask.new_ones(latents.shape[:2])], dim=1))
        return self.layers(latents), mask.any(dim=1, keepdim=True).expand(-1, self.latents.shape[0])
