"""The date modality: dates and times in any usual spelling, as what recurs and how long ago."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.modality_spec import (
    Claim,
    FittedColumn,
    ModalitySpec,
    ModelSize,
    Place,
    Preview,
    Profile,
)
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.data.evidence import quote
from polysense.modalities.date.parse import SPELLED, day_first
from polysense.modalities.date.record import DateColumn

__all__ = ["SPEC", "DateSpec"]

_MAJORITY = 0.9  # of the texts


class DateSpec(ModalitySpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "date", 70, ("a date", "dates")
    record, column_type = DateColumn, "date"
    extensions: ClassVar[frozenset[str]] = frozenset()
    is_numeric, is_textual, is_discrete = False, False, False
    dtype, length_multiple = np.float32, None

    def claim(self, profile: Profile) -> Claim | None:
        texts = profile.texts
        if not texts or len(texts) < _MAJORITY * len(profile.cells) or profile.num_distinct() <= 1:
            return None
        if sum(bool(SPELLED.fullmatch(text.strip())) for text in texts) < _MAJORITY * len(texts):
            return None
        # Rows lie in time, and a random split lets a model learn which day had which answer: such a model looks good
        # and knows nothing of tomorrow. Whether a date is known before the answer, and whether the split respects time,
        # no cell tells.
        order = day_first(texts)
        told = f" ({order})" if order.num_day_first or order.num_month_first or order.num_open else ""
        return Claim(
            confidence=0.95,
            is_used=False,
            evidence=f"dates or times such as {quote(texts[0])}{told}, from which a model may learn which day had "
            f"which answer; to use it, name it under columns with its type, date, and see that the test rows are later "
            f"than the rest",
        )

    def recognizes(self, head: bytes) -> bool:
        return False

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "date_mlp"}

    def default_augmentation(self, cells: Sequence[object], root: Path) -> None:
        return None

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (DateColumn.of(column).num_features,)

    def padding(self, column: Column) -> int:
        return 0

    def cost(self, column: Column, length: float | int) -> float:
        return float(length)

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        return [1 for part in (cell if isinstance(cell, list) else [cell]) if part is not None]

    def longest(self, fitted: FittedColumn) -> int | None:
        return None

    def item_column(self, column: Column) -> Column:
        return column

    @property
    def item_modality(self) -> str:
        return self.name

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        parts = [part for part in (cell if isinstance(cell, list) else [cell]) if part is not None]
        return Preview(texts=[f"{part:.6g}" if isinstance(part, float) else str(part) for part in parts[:most]])

    def preview_reconstruction(self, column: Column, value: np.ndarray) -> None:
        return None

    def summary(self, column: Column) -> Mapping[str, str]:
        column = DateColumn.of(column)
        return {"features": str(column.num_features)}

    def identity(self, cell: object) -> str:
        return str(cell).strip()

    @property
    def estimate(self) -> Unsupported:
        return Unsupported("a date counts as one token")

    @property
    def corruptions(self) -> Unsupported:
        return Unsupported("a date is right or wrong; it has no degrees")

    def locate(
        self, fitted: FittedColumn, cell: object, root: Path, item: int, position: tuple[int, ...]
    ) -> Place | Unsupported:
        return Place(unit="value", item=item)

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.date.decoder.DateDecoder"

    def backbones(self, cells: Sequence[object]) -> Unsupported:
        return Unsupported("date columns have no pretrained backbones")

    @property
    def pretrained(self) -> Unsupported:
        return Unsupported("date columns have no pretrained backbones")


SPEC = DateSpec()
