"""Categories: ids by frequency, 0 for what training did not hold.

One value may be spelled in several ways by the containers that a table comes in: 1, 1.0, "1" and "1.0" are the same
category, True, "True" and "true" too. "007" is not 7, and "1.50" is not 1.5: a code is not a number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polysense.core.modality import Modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column, Requirements
from polysense.data.columns.base import ColumnConfig, ColumnProcessor, TrainingCells
from polysense.data.decode.media import short
from polysense.errors import DecodeError

__all__ = ["CategoryColumnConfig", "CategoryProcessor", "category_key"]

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")


def category_key(value: object) -> str | None:
    """The one spelling of a category or a class; None if the cell is missing.

    Raises:
        DecodeError: The cell is no category: bytes, a list or a dict.
    """
    if isinstance(value, str):
        text = value.strip()
        whole = _WHOLE.fullmatch(text)
        if whole:
            return "0" if whole[1] == "-0" else whole[1]
        lower = text.lower()
        return lower if lower in ("true", "false") else text or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if value is None:
        return None
    raise DecodeError(
        f"found {short(value)} ({type(value).__name__}), expected one category: text, a number or a boolean"
    )


@dataclass(frozen=True, kw_only=True)
class CategoryColumnConfig(ColumnConfig):
    """A category out of a limited set, such as a country or a product code.

    Attributes:
        min_count: A category seen less often than this in training counts as unknown.
    """

    type: Literal["category"] = "category"
    min_count: int = 1

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ValueError("min_count: expected at least 1")

    def build(self, name: str) -> CategoryProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return CategoryProcessor(name, self)


class CategoryProcessor(ColumnProcessor):
    """Looks up categories; each item is int64 [1].

    Attributes:
        categories: In id order; the first, id 0, is None, the unknown one.
        num_unknown: Cells read so far whose category training did not hold. They are not unreadable.
    """

    config: CategoryColumnConfig
    _modality = Modality.CATEGORY

    def __init__(self, name: str, config: CategoryColumnConfig) -> None:
        super().__init__(name, config)
        self.categories: tuple[str | None, ...] = (None,)
        self.num_unknown = 0
        self._ids: dict[str, int] = {}

    def _fit(self, guess: Column, cells: TrainingCells, root: Path, requirements: Requirements) -> Column:
        keys = cells.read(self.name, "categories", lambda cell, _: category_key(cell))
        counts = Counter(key for key in keys if key is not None)
        kept = [key for key, count in counts.items() if count >= self.config.min_count]
        self._know(sorted(kept, key=lambda key: (-counts[key], key)))
        return guess.replace(num_categories=len(self.categories))

    def _know(self, names: list[str]) -> None:
        self.categories = (None, *names)
        self._ids = {name: position for position, name in enumerate(names, start=1)}

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        key = category_key(value)
        if key is None:
            return None
        position = self._ids.get(key, 0)
        self.num_unknown += position == 0
        return np.array([position], dtype=np.int64)

    def _state(self, folder: Path) -> dict[str, Any]:
        return {"categories": list(self.categories[1:])}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self._know(list(state["categories"]))
