"""The number modality: quantities, centered and scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.modality_spec import (
    Claim,
    Corruption,
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
from polysense.data.numbers import parse_number
from polysense.errors import DecodeError
from polysense.modalities.number.record import NumberColumn

__all__ = ["SPEC", "NumberSpec"]

_MAJORITY = 0.9  # of the cells; the others will be missing
_FEW = 20  # integers with at most so many values may be codes


class NumberSpec(ModalitySpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "number", 50, ("a number", "numbers")
    record, column_type = NumberColumn, "number"
    extensions: ClassVar[frozenset[str]] = frozenset()
    is_numeric, is_textual, is_discrete = True, False, True
    dtype, length_multiple = np.float32, None

    def claim(self, profile: Profile) -> Claim | None:
        num_cells = len(profile.cells)
        if profile.are_lists or all(isinstance(cell, bool) for cell in profile.cells):
            return None
        if profile.num_numbers < _MAJORITY * num_cells:
            return None
        low, high, is_whole = profile.range_of_numbers()
        odd = num_cells - profile.num_numbers
        rest = f"; {odd:,} of {num_cells:,} looked at are no numbers and will be missing" if odd else ""
        if not is_whole and profile.code is None:
            return Claim(confidence=Claim.SURE, evidence=f"from {low} to {high}, {profile.counts()}{rest}")
        few = profile.num_distinct() <= _FEW
        hint = "; if they are codes without an order, its type is category" if few else ""
        return Claim(confidence=0.6, evidence=f"integers from {low} to {high}, {profile.counts()}{rest}{hint}")

    def recognizes(self, head: bytes) -> bool:
        return False

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "number_mlp"}

    def default_augmentation(self, cells: Sequence[object], root: Path) -> None:
        return None

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (1,)

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
        column = NumberColumn.of(column)
        return {"center": f"{column.mean:.6g}", "scale": f"{column.std:.6g}"}

    def identity(self, cell: object) -> str:
        try:
            return repr(parse_number(cell))
        except DecodeError:
            return str(cell)

    @property
    def estimate(self) -> Unsupported:
        return Unsupported("a number counts as one token")

    @property
    def corruptions(self) -> Mapping[str, Corruption]:
        return {"noise": _noise}

    def locate(
        self, fitted: FittedColumn, cell: object, root: Path, item: int, position: tuple[int, ...]
    ) -> Place | Unsupported:
        return Place(unit="value", item=item)

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.number.decoder.NumberDecoder"

    def backbones(self, cells: Sequence[object]) -> Unsupported:
        return Unsupported("number columns have no pretrained backbones")

    @property
    def pretrained(self) -> Unsupported:
        return Unsupported("number columns have no pretrained backbones")


def _noise(item: np.ndarray, column: Column, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Noise of a tenth to twice the column's scale."""
    noise: np.ndarray = generator.normal(0, (0.1, 0.25, 0.5, 1.0, 2.0)[severity - 1], item.shape).astype(item.dtype)
    return np.asarray(item + noise, dtype=item.dtype)


SPEC = NumberSpec()
