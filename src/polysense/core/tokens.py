"""Tokens, the only thing that passes from an encoder to a fusion, and Fused, the only thing that a head reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.core.pytree import pytree_node, static

__all__ = ["Features", "Fused", "FusedColumn", "PyramidLevel", "Tokens"]


@dataclass(frozen=True, kw_only=True)
class PyramidLevel:
    """A level of an encoder's pyramid, and how it lies over what the encoder reads.

    Along each axis cell i stands for the positions from i * stride up to (i + 1) * stride of the encoder's input (rows
    and columns of pixels after resizing, samples, steps). The last cell may reach beyond the input's end: an axis of n
    positions has ceil(n / stride) cells (some pretrained networks drop what their strides leave over, and have fewer).

    Attributes:
        stride: Positions of the input for each cell, along each axis.
        width: Width of its vectors, which are not normalized; that of the model's tokens does not matter.
        grid: Cells along each axis of one item; None where they follow an item's length.
    """

    stride: tuple[int, ...]
    width: int
    grid: tuple[int, ...] | None = None


@pytree_node
@dataclass(frozen=True, eq=False)
class Tokens:
    """A column's rows as sequences of vectors.

    Attributes:
        values: [batch, length, width]. What `Encoder` and `Fusion` give is 0 wherever the mask is False, so nobody who
            reads values without the mask can learn from what is not there.
        mask: [batch, length]; True = valid. A row whose modality is absent has an all-False mask.
        grid: The static shape that `length` unfolds to: (height, width) for an image, (time,) for audio and text,
            (time, height, width) for video, (1,) for a number. Several items in a cell come first: (items, ...).
        pyramid: The same column at other resolutions, from fine to coarse, where a head that predicts densely asks for
            it (`BaseHead.reads_pyramids`); `Encoder.pyramid_levels` says how they lie over the input. Each level has a
            grid and a width of its own, and none has a pyramid. Several items in a cell come first: (items, ...).
        features: [batch, features], one vector for the row, that no training moves: what preprocessing made of the
            cell, then what a frozen backbone gives, pooled; 0 where the row has none. None where nobody asks for it.
    """

    values: Float[Tensor, "batch length width"]
    mask: Bool[Tensor, "batch length"]
    grid: tuple[int, ...] = field(metadata=static())
    pyramid: tuple[Tokens, ...] = ()
    features: Float[Tensor, "batch features"] | None = None

    def __post_init__(self) -> None:
        # Shapes only, which costs nothing: values would force a device synchronization. Under pytree's
        # unflattening the leaves may be placeholders, so only tensors are looked at.
        if isinstance(self.values, Tensor) and isinstance(self.mask, Tensor):
            shape = tuple(self.values.shape)
            assert len(shape) == 3, f"Tokens.values must be [batch, length, width], is {shape}"
            assert self.mask.shape == shape[:2], f"Tokens.mask must be {shape[:2]}, is {tuple(self.mask.shape)}"
            assert self.mask.dtype == torch.bool, f"Tokens.mask must be bool, is {self.mask.dtype}"
            length = 1
            for size in self.grid:
                length *= size
            assert length == self.values.shape[1], f"Tokens.grid {self.grid} does not unfold {self.values.shape[1]}"

    @staticmethod
    def nothing(batch: int, width: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tokens:
        """One masked token for each row: a column that is absent altogether."""
        mask = torch.zeros(batch, 1, dtype=torch.bool, device=device)
        return Tokens(torch.zeros(batch, 1, width, dtype=dtype, device=device), mask, (1,))

    @property
    def present(self) -> Bool[Tensor, " batch"]:
        """Which rows have at least one valid token."""
        return self.mask.any(dim=1)

    def cleared(self) -> Tokens:
        """The same tokens, 0 wherever the mask is False, at every level of the pyramid."""
        levels = tuple(level.cleared() for level in self.pyramid)
        # Where looking costs nothing, what is valid throughout is left as it is.
        if self.mask.is_cpu and not torch.compiler.is_compiling() and bool(self.mask.all()):
            return replace(self, pyramid=levels)
        features = None if self.features is None else self.features.masked_fill(~self.present[:, None], 0.0)
        values = self.values.masked_fill(~self.mask[:, :, None], 0.0)
        return replace(self, values=values, pyramid=levels, features=features)

    def masked(self, keep: Bool[Tensor, " batch"]) -> Tokens:
        """The same tokens, absent in the rows where `keep` is False."""
        levels = tuple(level.masked(keep) for level in self.pyramid)
        values = self.values.masked_fill(~keep[:, None, None], 0.0)
        features = None if self.features is None else self.features.masked_fill(~keep[:, None], 0.0)
        return Tokens(values, self.mask & keep[:, None], self.grid, levels, features)

    def mean(self) -> Float[Tensor, "batch width"]:
        """The mean over valid tokens; zeros in a row that has none."""
        weights = self.mask.to(self.values.dtype)
        total = torch.einsum("bld,bl->bd", self.values, weights)
        return total / weights.sum(dim=1, keepdim=True).clamp(min=1)


@pytree_node
@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen backbone gives.

    Attributes:
        layers: By depth, from the input on. (`Tokens.pyramid` is resolution, not depth.)
    """

    layers: tuple[Tokens, ...]


@pytree_node
@dataclass(frozen=True, eq=False)
class FusedColumn:
    """One column after the fusion.

    Attributes:
        tokens: Its part of the fused sequence, 0 where masked.
        summary: Its own summary, from before the columns are fused; 0 where absent.
        present: Which rows have it. A learned token that stands in for an absent cell is not the column.
        lengths: Lengths of what was encoded (tokens of text, samples; 0 = absent), for heads that say where in a column
            something is.
        geometry: Per row the matrix from the original's pixels to the encoder's input, for predictions that go back
            to it; None where nothing was moved.
        features: [batch, features], as the encoder gave them (`Tokens.features`); 0 where absent.
    """

    tokens: Tokens
    summary: Float[Tensor, "batch width"]
    present: Bool[Tensor, " batch"]
    lengths: Int[Tensor, "batch items"]
    geometry: Float[Tensor, "batch 3 3"] | None = None
    features: Float[Tensor, "batch features"] | None = None


@pytree_node
@dataclass(frozen=True, eq=False)
class Fused:
    """What the fusion makes of all columns.

    Attributes:
        pooled: The summary of all columns. A row with nothing present gets a learned one, never NaN.
        columns: Per column, in the schema's order.
        related: Likewise of related tables' rows (items, histories, sampled negatives), on their own batch axis.
    """

    pooled: Float[Tensor, "batch width"]
    columns: Mapping[str, FusedColumn]
    related: Mapping[str, Fused] = field(default_factory=dict)

    def joined(self) -> Tokens:
        """All columns' tokens as one sequence, in order."""
        every = [column.tokens for column in self.columns.values()]
        values = torch.cat([tokens.values for tokens in every], dim=1)
        return Tokens(values, torch.cat([tokens.mask for tokens in every], dim=1), (values.shape[1],))

    def positions(self) -> Int[Tensor, " length"]:
        """Where in its own column each of the `joined` tokens stands, from 0."""
        each = [
            torch.arange(column.tokens.mask.shape[1], device=self.pooled.device) for column in self.columns.values()
        ]
        return torch.cat(each)

    def unimodal(self, column: str) -> Fused:
        """What a head reads that sees this column alone: its summary, and its tokens."""
        return Fused(self.columns[column].summary, {column: self.columns[column]})
