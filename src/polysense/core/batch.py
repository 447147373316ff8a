"""Rows made rectangular. Presence is a length: an item of length 0 is absent, whatever its storage holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.utils import _pytree as pytree

from polysense.core.sample import Unreadable

__all__ = ["Batch", "ColumnBatch", "TargetBatch"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnBatch:
    """One column of a batch.

    Attributes:
        values: [batch, items, *item], padded: int32 tokens, uint8 pixels, int16 samples, float32 numbers, int64
            categories. What lies beyond an item's length is padding and must not reach a result.
        lengths: [batch, items]: tokens, samples, or 1 for what has no length. 0 = absent.
        draws: [batch, draws] uniforms in [0, 1), a pure function of (seed, epoch, row), for augmentations that only
            an encoder can apply (SpecAugment on its own spectrogram); None outside training.
    """

    values: Shaped[Tensor, "batch items ..."]
    lengths: Int[Tensor, "batch items"]
    draws: Float[Tensor, "batch draws"] | None = None

    @property
    def present(self) -> Bool[Tensor, " batch"]:
        """Which rows have at least one item."""
        return (self.lengths > 0).any(dim=1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ColumnBatch:
        """A copy on another device."""
        return ColumnBatch(
            values=self.values.to(device, non_blocking=non_blocking),
            lengths=self.lengths.to(device, non_blocking=non_blocking),
            draws=None if self.draws is None else self.draws.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> ColumnBatch:
        """A copy in page-locked memory."""
        return replace(self, values=self.values.pin_memory(), lengths=self.lengths.pin_memory())

    def masked(self, keep: Bool[Tensor, " batch"]) -> ColumnBatch:
        """The same values, absent in the rows where `keep` is False."""
        return replace(self, lengths=self.lengths * keep[:, None])


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetBatch:
    """One target of a batch.

    Attributes:
        values: int64 [batch] (classification), float32 [batch, outputs] (multilabel; regression, NaN = unknown), or
            int64 [batch, keys] what each cell is, 0 = missing (contrastive: equal keys are the same thing), or
            int64 [batch, length] token ids from the begin token to the end token, padded (generation). As collated for
            training, texts may be [batch, references, length]: one of a row's references is drawn before each use.
            Segments are float32 [batch, 1 + segments, 3], each (start, end, class) in steps of their column; the first
            is the whole column, (0, its length, -1), and (0, 0, -1) is padding (tagging).
        present: [batch]; a row whose target is absent is counted out of the loss and of the metrics.
        lengths: [batch] tokens of each text, begin and end among them; 0 where absent (generation). As collated for
            training [batch, references]. None for other tasks.
        earlier: int64 [batch, prompt_length], the prompt's token ids where they are earlier answers that are trained
            on too (a chat), the padding id everywhere else (generation). None where no row has any.
        columns: The input columns as they are before anything of them is hidden, where these are the truth
            (reconstruction). The model hands them over; no loader does.
        keys: Likewise `Batch.keys`.
        progress: Likewise `Batch.progress`.
    """

    values: Shaped[Tensor, "batch ..."]
    present: Bool[Tensor, " batch"]
    lengths: Int[Tensor, "batch ..."] | None = None
    earlier: Int[Tensor, "batch prompt_length"] | None = None
    columns: Mapping[str, ColumnBatch] = field(default_factory=dict)
    keys: Int[Tensor, " batch"] | None = None
    progress: Float[Tensor, ""] | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TargetBatch:
        """A copy on another device."""
        return TargetBatch(
            values=self.values.to(device, non_blocking=non_blocking),
            present=self.present.to(device, non_blocking=non_blocking),
            lengths=None if self.lengths is None else self.lengths.to(device, non_blocking=non_blocking),
            earlier=None if self.earlier is None else self.earlier.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> TargetBatch:
        """A copy in page-locked memory."""
        return TargetBatch(
            values=self.values.pin_memory(),
            present=self.present.pin_memory(),
            lengths=None if self.lengths is None else self.lengths.pin_memory(),
            earlier=None if self.earlier is None else self.earlier.pin_memory(),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Rows of one table, collated.

    Attributes:
        rows: [batch] row indices in the table; -1 = a row that only fills the shape (nothing present, no target).
        columns: Per input column. A column that no row of the batch has may be left out.
        targets: Per target; empty at prediction.
        prompts: Per target whose text goes on from a prompt, the prompt's token ids: values [batch, 1, length], lengths
            [batch, 1]. An input, so it is there at prediction too.
        weights: [batch] weight of each row in the loss.
        keys: int64 [batch], in training a hash of (seed, epoch, row), which the parts of the model that draw at random
            for a row draw from (`nn.layers.draws`). None elsewhere: nothing is to be drawn.
        progress: float32, in training the share of the run's epochs that is done when this one is, above 0 and at most
            1, for a loss whose terms change as training goes on. A function of the epoch alone, so cutting a batch up
            and resuming change nothing. None elsewhere.
        unreadable: Cells of these rows that became missing.
    """

    rows: Int[Tensor, " batch"]
    columns: Mapping[str, ColumnBatch]
    targets: Mapping[str, TargetBatch] = field(default_factory=dict)
    prompts: Mapping[str, ColumnBatch] = field(default_factory=dict)
    weights: Float[Tensor, " batch"] = field(default=None)  # type: ignore[assignment]
    keys: Int[Tensor, " batch"] | None = None
    progress: Float[Tensor, ""] | None = None
    unreadable: tuple[Unreadable, ...] = ()

    def __post_init__(self) -> None:
        if self.weights is None:
            ones = torch.ones(len(self.rows), device=self.rows.device)  # type: ignore[unreachable]
            object.__setattr__(self, "weights", ones)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where the batch lies."""
        return self.rows.device

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """A copy on another device."""
        return Batch(
            rows=self.rows.to(device, non_blocking=non_blocking),
            columns={name: column.to(device, non_blocking) for name, column in self.columns.items()},
            targets={name: target.to(device, non_blocking) for name, target in self.targets.items()},
            prompts={name: prompt.to(device, non_blocking) for name, prompt in self.prompts.items()},
            weights=self.weights.to(device, non_blocking=non_blocking),
            keys=None if self.keys is None else self.keys.to(device, non_blocking=non_blocking),
            progress=None if self.progress is None else self.progress.to(device, non_blocking=non_blocking),
            unreadable=self.unreadable,
        )

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory (torch's DataLoader calls this)."""
        return Batch(
            rows=self.rows.pin_memory(),
            columns={name: column.pin_memory() for name, column in self.columns.items()},
            targets={name: target.pin_memory() for name, target in self.targets.items()},
            prompts={name: prompt.pin_memory() for name, prompt in self.prompts.items()},
            weights=self.weights.pin_memory(),
            keys=None if self.keys is None else self.keys.pin_memory(),
            progress=None if self.progress is None else self.progress.pin_memory(),
            unreadable=self.unreadable,
        )

    def only(self, names: Collection[str]) -> Batch:
        """The batch with every other column absent."""
        return replace(self, columns={name: column for name, column in self.columns.items() if name in names})


pytree.register_pytree_node(
    ColumnBatch,
    lambda column: ([column.values, column.lengths, column.draws], None),
    lambda leaves, _: ColumnBatch(**dict(zip(("values", "lengths", "draws"), leaves, strict=True))),
    serialized_type_name="polysense.core.batch.ColumnBatch",
)
