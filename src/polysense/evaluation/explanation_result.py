"""Explanations of rows: the numbers that pages, texts and JSON files are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from polysense.core.cell_parts import Place
from polysense.core.sample import Sample
from polysense.escaping import visible
from polysense.evaluation.part_attribution import MapTest

__all__ = ["CellMap", "ColumnExplanation", "RowExplanation", "TargetExplanation"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CellMap:
    """The parts' shares of one cell.

    Attributes:
        places: Where each part lies.
        shares: float64 [parts], in the explained number's units.
        removed: What stands in the place of a removed part.
        without: The number with every part removed; None where parts were removed one by one.
        test: How well the map says what happens; None where it was not tested.
        texts: The cell's items, where they are texts.
    """

    places: Sequence[Place]
    shares: np.ndarray
    removed: str
    without: float | None
    test: MapTest | None
    texts: Sequence[str] = ()

    def record(self) -> dict[str, object]:
        """For a JSON file."""
        return {
            "removed_parts_are": self.removed,
            "without_any_part": self.without,
            "test": None if self.test is None else asdict(self.test) | {"holds": self.test.holds},
            "parts": [
                {
                    "name": place.name,
                    "item": place.item,
                    **({} if place.box is None else {"box": [round(edge, 6) for edge in place.box]}),
                    **({} if place.span is None else {"span": list(place.span)}),
                    "share": float(share),
                }
                for place, share in zip(self.places, self.shares, strict=True)
            ],
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnExplanation:
    """One column's part in a prediction.

    Attributes:
        name: The column's.
        modality: Its modality.
        is_present: Whether the row has it; what it lacks has no share.
        share: Its Shapley value of the explained number.
        without: The number with the column masked; None where the row lacks it.
        answer_without: The answer then, where it is another one.
        swapped: The number with another row's cell in its place, per donor.
        num_flipped: Donors whose cell changes the answer; None where there is no telling.
        map: Its cell in parts; None where there is none.
        no_map: Why not.
    """

    name: str
    modality: str
    is_present: bool
    share: float
    without: float | None = None
    answer_without: str | None = None
    swapped: Sequence[float] = ()
    num_flipped: int | None = None
    map: CellMap | None = None
    no_map: str = ""

    def record(self) -> dict[str, object]:
        """For a JSON file."""
        return {
            "name": self.name,
            "modality": self.modality,
            "present": self.is_present,
            "share": self.share,
            "without": self.without,
            "answer_without": self.answer_without,
            "swapped": list(self.swapped),
            "flipped_by_swap": self.num_flipped,
            "map": None if self.map is None else self.map.record(),
            "no_map": self.no_map or None,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetExplanation:
    """One prediction of a row.

    Attributes:
        target: The target's name.
        title: What is explained, in words.
        answer: The prediction in words; None where it is the explained number itself.
        value: The explained number.
        prior: The number for a row with nothing in it.
        columns: Its columns, in the schema's order.
        is_exact: Whether every subset of the columns was tried.
    """

    target: str
    title: str
    answer: str | None
    value: float
    prior: float
    columns: Sequence[ColumnExplanation]
    is_exact: bool

    @property
    def ranked(self) -> list[ColumnExplanation]:
        """The columns that are there, the largest share first, whichever way it goes; then the others."""
        return sorted(self.columns, key=lambda column: (not column.is_present, -abs(column.share)))

    def record(self) -> dict[str, object]:
        """For a JSON file."""
        return {
            "target": self.target,
            "explains": self.title,
            "answer": self.answer,
            "value": self.value,
            "prior": self.prior,
            "exact": self.is_exact,
            "columns": [column.record() for column in self.columns],
        }


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RowExplanation:
    """One row's predictions, explained.

    Attributes:
        position: Of the row in the data set.
        row: Its number in the table as it was read.
        sample: The preprocessed row, for previews.
        targets: Those that can be explained.
        refused: Per other target why not.
    """

    position: int
    row: int
    sample: Sample
    targets: Sequence[TargetExplanation]
    refused: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        said = "; ".join(f"{each.target}: {each.title} {each.value:.3f}" for each in self.targets)
        return visible(f"RowExplanation(row {self.row}: {said or 'nothing explained'})")

    def record(self) -> dict[str, object]:
        """For a JSON file."""
        return {
            "row": self.row,
            "targets": [target.record() for target in self.targets],
            "refused": dict(self.refused),
            "unreadable": [cell.as_dict() for cell in self.sample.unreadable],
        }
