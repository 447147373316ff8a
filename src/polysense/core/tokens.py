"""Tokens, the only thing that passes from an encoder to a fusion, and Fused, the only thing that a head reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils import _pytree as pytree

from polysense.core.batch import ColumnBatch
from polysense.core.pytree import pytree_node, static

__all__ = ["Features", "Fused", "Tokens"]


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
        pyramid: The same column at other resolutions, from fine to coarse, for heads that predict densely. Each level
            has a grid of its own, and none has a pyramid.
    """

    values: Float[Tensor, "batch length width"]
    mask: Bool[Tensor, "batch length"]
    grid: tuple[int, ...] = field(metadata=static())
    pyramid: tuple[Tokens, ...] = ()

    def __post_init__(self) -> None:
        # Shapes only, which costs nothing: values would force a device synchronisation. Under pytree's
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
        values = self.values.masked_fill(~self.mask[:, :, None], 0.0)
        return Tokens(values, self.mask, self.grid, tuple(level.cleared() for level in self.pyramid))

    def masked(self, keep: Bool[Tensor, " batch"]) -> Tokens:
        """The same tokens, absent in the rows where `keep` is False."""
        levels = tuple(level.masked(keep) for level in self.pyramid)
        values = self.values.masked_fill(~keep[:, None, None], 0.0)
        return Tokens(values, self.mask & keep[:, None], self.grid, levels)

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


@dataclass(frozen=True, eq=False)
class Fused:
    """What the fusion makes of all columns.

    Attributes:
        tokens: The fused sequence of all columns, for heads that attend or unfold.
        pooled: [batch, width], its summary. A row with nothing present gets a learned summary, never NaN.
        spans: Which slice of `tokens` came from which column.
        unimodal: Each column's own summary, [batch, width].
        losses: In training, the fusion's own losses per row, by name.
        votes: [batch, experts], of a decision-level fusion: how much each column's own head counts, and last the head
            of `pooled` where there is one more; 0 where the column is absent. None: heads read `pooled` alone.
        rows: [batch] row indices in the table, for heads that draw at random at prediction; -1 = filler. None where
            nobody knows them.
        lengths: Per column [batch, items], the lengths of what was encoded (tokens, samples; 0 = absent), for heads
            that say where in a column something is. A column that the batch lacks is not there.
        prompts: Per target what its text is to go on from (`Batch.prompts`).
        grids: Per column the shape that its span unfolds to (`Tokens.grid`).
        views: What heads that don't read all columns see, by target: fused as if the others had never been there.
    """

    tokens: Tokens
    pooled: Float[Tensor, "batch width"]
    spans: Mapping[str, tuple[int, int]]
    unimodal: Mapping[str, Float[Tensor, "batch width"]]
    losses: Mapping[str, Float[Tensor, " batch"]] = field(default_factory=dict)
    votes: Float[Tensor, "batch experts"] | None = None
    rows: Int[Tensor, " batch"] | None = None
    lengths: Mapping[str, Int[Tensor, "batch items"]] = field(default_factory=dict)
    prompts: Mapping[str, ColumnBatch] = field(default_factory=dict)
    grids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    views: Mapping[str, Fused] = field(default_factory=dict)

    def of(self, target: str) -> Fused:
        """What the head of a target reads."""
        return self.views.get(target, self)


def _fused_from(leaves: Iterable[Any], shapes: Any) -> Fused:
    tokens, pooled, unimodal, losses, votes, rows, lengths, prompts, views = leaves
    spans, grids = shapes
    return Fused(tokens, pooled, spans, unimodal, losses, votes, rows, lengths, prompts, grids, views)


pytree.register_pytree_node(
    Fused,
    lambda fused: (
        [
            fused.tokens,
            fused.pooled,
            dict(fused.unimodal),
            dict(fused.losses),
            fused.votes,
            fused.rows,
            dict(fused.lengths),
            dict(fused.prompts),
            dict(fused.views),
        ],
        (dict(fused.spans), dict(fused.grids)),
    ),
    _fused_from,
    serialized_type_name="polysense.core.tokens.Fused",
)
