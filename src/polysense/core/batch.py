"""Rows made rectangular. Presence is a length: an item of length 0 is absent, whatever its storage holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from polysense.core.geometry import Geometry
from polysense.core.pytree import map_tensors, pytree_node, static
from polysense.core.sample import Unreadable

__all__ = ["Batch", "ColumnBatch", "StoredItems", "Truth", "ValueTruth"]

AnyTruth = TypeVar("AnyTruth", bound="Truth")


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class StoredItems:
    """What a frozen backbone gave for items before.

    Attributes:
        layers: [batch, items, tokens, width] by depth, padded with zeros; each layer has a width of its own. Then the
            levels of a pyramid where there is one, each of a number of tokens of its own.
        counts: [batch, items], valid tokens of each item's layers by depth; 0 = nothing is stored of it, and its values
            are in the batch.
        shelf: The network that they come from, see `data.feature_store`.
    """

    layers: tuple[Float[Tensor, "*items tokens _width"], ...]
    counts: Int[Tensor, "*items"]
    shelf: str = field(default="", metadata=static())


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnBatch:
    """One column of a batch. It is always there: an absent column has no length above 0.

    Attributes:
        values: [batch, items, *item], padded: int32 tokens, uint8 pixels, int16 samples, float32 numbers, int64
            categories. What lies beyond an item's length is padding and must not reach a result.
        lengths: [batch, items]: tokens, samples, or 1 for what has no length. 0 = absent.
        keys: [batch] RNG keys, a hash of (seed, epoch, row, column), for augmentations that only an encoder can apply
            (SpecAugment on its own spectrogram); None where nothing is to be sampled, as outside training.
        geometry: [batch, 3, 3], the affine map from the original's pixels to `values`' own, see `core.geometry`; NaN
            where a row's items lie in no one way. None where nothing is moved, as in a column of numbers.
        sizes: [batch, 2], (height, width) of the original; 0 where it is absent. None where items have no places.
        features: [batch, features], the feature vector of the whole cell, see `Column.num_features`; whatever it holds
            in a row without the column must not reach a result. None where nobody reads it.
        stored: What the column's frozen backbone gave for items before; `values` are padding where it has them. None
            where nothing is stored.
    """

    values: Shaped[Tensor, "batch items ..."]
    lengths: Int[Tensor, "batch items"]
    keys: Int[Tensor, " batch"] | None = None
    geometry: Float[Tensor, "batch 3 3"] | None = None
    sizes: Int[Tensor, "batch 2"] | None = None
    features: Float[Tensor, "batch features"] | None = None
    stored: StoredItems | None = None

    @property
    def present(self) -> Bool[Tensor, " batch"]:
        """Which rows have at least one item."""
        return (self.lengths > 0).any(dim=1)

    def located(self, rows: Bool[Tensor, " batch"]) -> Geometry | None:
        """Where some rows' cells lie, in main memory; None where items have no places in an original."""
        if self.geometry is None or self.sizes is None:
            return None
        return Geometry(self.geometry.cpu()[rows].double().numpy(), self.sizes.cpu()[rows].numpy())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ColumnBatch:
        """A copy on another device."""
        return map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking), self)

    def pin_memory(self) -> ColumnBatch:
        """A copy in page-locked memory."""
        return map_tensors(lambda tensor: tensor.pin_memory(), self)

    def masked(self, keep: Bool[Tensor, " batch"]) -> ColumnBatch:
        """The same values, absent in the rows where `keep` is False."""
        return replace(self, lengths=self.lengths * keep[:, None])

    def absent(self) -> ColumnBatch:
        """The column without any item: nothing is left of it, not even how many items a cell has."""
        return replace(self, values=self.values[:, :0], lengths=self.lengths[:, :0], stored=None)


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """The truth of one target for the rows of a batch; each task adds its own fields, tensors with rows first.

    Attributes:
        present: [batch]; a row whose target is absent is counted out of the loss and of the metrics.
    """

    present: Bool[Tensor, " batch"]

    @classmethod
    def of(cls: type[AnyTruth], truth: Truth) -> AnyTruth:
        """The truth as a record of this class."""
        assert isinstance(truth, cls), f"found {type(truth).__name__}, expected {cls.__name__}"
        return truth

    def token_counts(self) -> tuple[int, int, int]:
        """Tokens that are predicted one by one, those that are there, and padded ones too; 0 where there are none."""
        return 0, 0, 0

    def drawn(self: AnyTruth, draws: Float[Tensor, " batch"]) -> AnyTruth:
        """One of each row's references, where it may have several, by uniforms in [0, 1)."""
        del draws
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Its fields by name, those that are there."""
        each = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in each.items() if isinstance(value, Tensor)}

    def to(self: AnyTruth, device: torch.device | str, non_blocking: bool = False) -> AnyTruth:
        """A copy on another device."""
        return map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking), self)

    def pin_memory(self: AnyTruth) -> AnyTruth:
        """A copy in page-locked memory."""
        return map_tensors(lambda tensor: tensor.pin_memory(), self)

    def rows(self: AnyTruth, chosen: Shaped[Tensor, " rows"] | slice) -> AnyTruth:
        """Some of the rows."""
        return map_tensors(lambda tensor: tensor[chosen] if tensor.dim() else tensor, self)

    def masked(self: AnyTruth, keep: Bool[Tensor, " batch"]) -> AnyTruth:
        """The same truth, absent in the rows where `keep` is False."""
        return replace(self, present=self.present & keep)


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class ValueTruth(Truth):
    """A truth that is one array.

    Attributes:
        values: [batch, ...], see the task's `collate`.
    """

    values: Shaped[Tensor, "batch ..."]


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Rows of one table, collated.

    Attributes:
        rows: [batch] row indices in the table; -1 = a row that only fills the shape (nothing present, no target).
        columns: Per input column of the schema; each is there, if only as absent in every row.
        truths: Per target its task's truth; empty at prediction.
        prompts: Per target whose text is conditioned on a prompt, the prompt's token ids: values [batch, 1, length],
            lengths [batch, 1]. An input, so it is there at prediction too.
        weights: [batch] weight of each row in the loss; 1 by default.
        keys: int64 [batch], in training a hash of (seed, epoch, row), which the parts of the model that draw at random
            for a row draw from (`nn.layers.draws`). None elsewhere: nothing is to be drawn.
        progress: float32, in training the share of the run's epochs that is done when this one is, above 0 and at most
            1, for a loss whose terms change as training goes on. A function of the epoch alone, so cutting a batch up
            and resuming change nothing. None elsewhere.
        draws: int64 [batch], in training how many times the epoch has drawn the row before, where it may draw it
            several times; None: every row is drawn once.
        mixed: In training the rows that these are mixed with; None: nothing is mixed.
        tiled: In training, before a batch is varied, the rows whose images are to stand beside these; None: none are.
        unreadable: Cells of these rows that became missing.
    """

    rows: Int[Tensor, " batch"]
    columns: Mapping[str, ColumnBatch]
    truths: Mapping[str, Truth] = field(default_factory=dict)
    prompts: Mapping[str, ColumnBatch] = field(default_factory=dict)
    weights: Float[Tensor, " batch"] = field(default_factory=lambda: torch.empty(0))
    keys: Int[Tensor, " batch"] | None = None
    progress: Float[Tensor, ""] | None = None
    draws: Int[Tensor, " batch"] | None = None
    mixed: MixedRows | None = None
    tiled: TiledRows | None = None
    unreadable: tuple[Unreadable, ...] = field(default=(), metadata=static())

    def __post_init__(self) -> None:
        # Under pytree's unflattening the leaves may be placeholders.
        if isinstance(self.weights, Tensor) and isinstance(self.rows, Tensor) and len(self.weights) < len(self.rows):
            object.__setattr__(self, "weights", torch.ones(len(self.rows), device=self.rows.device))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where the batch lies."""
        return self.rows.device

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """A copy on another device; the batch itself where it lies there already."""
        if self.device == torch.device(device):
            return self
        return map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking), self)

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory (torch's DataLoader calls this)."""
        return map_tensors(lambda tensor: tensor.pin_memory(), self)

    def located(self, rows: Bool[Tensor, " batch"]) -> dict[str, Geometry]:
        """Where some rows' cells lie, in main memory, for each column whose items have places in an original."""
        each = {name: column.located(rows) for name, column in self.columns.items()}
        return {name: geometry for name, geometry in each.items() if geometry is not None}

    def coordinates(self) -> np.ndarray:
        """int64 [batch], in main memory, what stands for each row in draws at random: the row, and which draw it is.

        A row's first draw in an epoch is the row itself, so a table whose rows are drawn once is varied as ever.
        """
        rows: np.ndarray = self.rows.cpu().numpy()
        return rows if self.draws is None else rows + (self.draws.cpu().numpy() << 40)

    def renumbered(self, numbers: np.ndarray) -> Batch:
        """The batch with other numbers of its rows, by those that they have; rows that fill the shape stay below 0.

        Args:
            numbers: int64, the new number of each.
        """
        rows = torch.where(self.rows >= 0, torch.from_numpy(numbers)[self.rows.clamp(min=0)], self.rows)
        return replace(self, rows=rows)

    def presence(self, names: Collection[str]) -> Bool[Tensor, "batch columns"]:
        """Which rows have which of some columns; none has one that the batch lacks."""
        absent = torch.zeros_like(self.rows, dtype=torch.bool)
        there = [self.columns[name].present if name in self.columns else absent for name in names]
        return torch.stack(there, dim=1) if there else absent[:, None][:, :0]

    def only(self, names: Collection[str]) -> Batch:
        """The batch with every other column absent: the same as one in which each of its cells is missing."""
        none = torch.zeros_like(self.rows, dtype=torch.bool)
        return replace(
            self,
            columns={name: column if name in names else column.masked(none) for name, column in self.columns.items()},
        )


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class MixedRows:
    """A partner for each row of a batch, and how far they are mixed.

    Attributes:
        batch: The partners, as many rows as the batch has, in its order; a filler's is a filler.
        share: The row's own part, from 0 to 1; the partner's is the rest.
        own_presence: Whether the mixture has what the row has; else what the partner has.
        boxes: [batch, 4], left, top, right and bottom of what is cut out of the partner's images and pasted into the
            row's, as fractions of their width and height; None: nothing is pasted.
        pasted: The columns whose images are, where both have one; their tokens are not mixed there once more.
    """

    batch: Batch
    share: Float[Tensor, " batch"]
    own_presence: Bool[Tensor, " batch"]
    boxes: Float[Tensor, "batch 4"] | None = None
    pasted: tuple[str, ...] = field(default=(), metadata=static())


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class TiledRows:
    """Rows whose images stand beside a batch's own (mosaic).

    Attributes:
        others: Batches of as many rows as the batch has, in its order; a row that is left alone has fillers in them.
        column: The images.
        matrices: [batch, 1 + others, 3, 3], where the pixels of the row's own image and of the others' come to lie.
    """

    others: tuple[Batch, ...]
    column: str = field(metadata=static())
    matrices: Float[Tensor, "batch tiles 3 3"]
