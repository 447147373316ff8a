"""One row on its way from the table to a batch, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from polysense.core.geometry import Placement
from polysense.core.stored import StoredCell

__all__ = ["Sample", "SourceInfo", "Unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """Where a value came from. Rows count from 0, as in a data frame; `key` is a row's name where it has one."""

    table: str
    row: int
    column: str
    file: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        key = "" if self.key is None else f" ({self.key})"
        where = f"{self.table}, row {self.row}{key}, column {self.column!r}"
        return f"{where} ({self.file})" if self.file else where


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A cell that became missing because it could not be read, and why."""

    source: SourceInfo
    reason: str

    def as_dict(self) -> dict[str, object]:
        """For a line of unreadable.jsonl."""
        source = {name: value for name, value in asdict(self.source).items() if name != "key" or value is not None}
        return {**source, "reason": self.reason}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Unreadable:
        """What `as_dict` gave."""
        source = {name: value for name, value in plain.items() if name != "reason"}
        return Unreadable(source=SourceInfo(**source), reason=plain["reason"])

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(slots=True, kw_only=True)
class Sample:
    """One preprocessed row.

    Attributes:
        row: The row's index in its table.
        values: Per column a list of items: int32 [tokens] (text), uint8 [channels, height, width] (image), int16
            [samples] (audio), float32 [1] (number), int64 [hashes]
            (category), float32 [features] (date). An absent column is simply not there.
        stored: Per column whose frozen backbone ran over this cell before what it gave; its items are then not among
            `values`, for nobody decoded them.
        features: Per column that has a feature vector, float32 [features] of its cell; an absent column is not there.
            None where nobody asked for them.
        placements: Per column of images where a cell's items lie, unless each lies in a way of its own.
        targets: Per target an int64 scalar (classification), float32 [classes] of 0 and 1 (multilabel) or float32
            [columns] with NaN where unknown (regression), or int32 [tokens], the references one after another, each
            with its begin token first (generation), or float32 [1 + segments, 3], see ValueTruth (tagging). A target
            that the row lacks is not there.
        prompts: Per target whose text is conditioned on a prompt, int32 [tokens] of the prompt.
        trained: Per target whose prompt holds earlier answers (a chat), bool [tokens of the prompt]: which of them are
            trained on. Only where targets are read.
        weight: The row's weight in the loss.
        unreadable: Cells of this row that could not be read.
    """

    row: int
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    stored: dict[str, StoredCell] = field(default_factory=dict)
    features: dict[str, np.ndarray] | None = None
    placements: dict[str, Placement] = field(default_factory=dict)
    targets: dict[str, np.ndarray] = field(default_factory=dict)
    prompts: dict[str, np.ndarray] = field(default_factory=dict)
    trained: dict[str, np.ndarray] = field(default_factory=dict)
    weight: float = 1.0
    unreadable: tuple[Unreadable, ...] = ()

    def item_lengths(self, column: str) -> list[int]:
        """The lengths of a cell's items; what has no length may count as anything."""
        cell = self.stored.get(column)
        return list(map(len, self.values.get(column, ()))) if cell is None else [item.length for item in cell.items]
