"""Corruption: damage to a cell, in five severities, that a modality offers for audits.

It is a function of the cell, the severity and random draws alone; the draws are a function of the row, so an audit that
is repeated damages the same cells in the same way, and what is drawn does not depend on the severity: a higher one is
more of the same damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from polysense.core.schema import Column

__all__ = ["SEVERITIES", "Corruption", "DamageCell", "DamageItem"]

SEVERITIES = (1, 2, 3, 4, 5)
"""From what a person hardly notices to what hides most of the cell."""

DamageItem: TypeAlias = Callable[[Column, np.ndarray, int, np.random.Generator], np.ndarray]
"""(fitted column, an item, severity, draws) -> the damaged item, of the same type; the given one stays as it is."""

DamageCell: TypeAlias = Callable[[object, int, np.random.Generator], object]
"""(cell as the table has it, severity, draws) -> the damaged cell, which is then preprocessed."""


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """One kind of damage.

    Attributes:
        name: In words, lower-case: "Gaussian noise".
        of_item: Damages what preprocessing made of a cell, item by item.
        of_cell: Damages the cell itself, where features or a tokenizer read that. Exactly one of the two is there.
    """

    name: str
    of_item: DamageItem | None = None
    of_cell: DamageCell | None = None

    def __post_init__(self) -> None:
        assert (self.of_item is None) is not (self.of_cell is None), f"{self.name}: damages items or cells, one of them"
