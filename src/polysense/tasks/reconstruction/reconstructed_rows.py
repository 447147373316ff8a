"""What reconstructions.html shows: held-out rows, each cell beside its reconstructions.

Two reconstructions stand beside each cell: from all of the row's columns, the cell itself among them, and from the
others alone, as a missing one would be imputed. What is the same in both has been understood from the others; what only
the first one has was copied through the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.core.preview import CellPreview

__all__ = ["PAGE", "ReconstructedCell", "ReconstructedRow"]

PAGE = "polysense.tasks.reconstruction:reconstructions.html.j2"


@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructedCell:
    """A cell and its reconstructions.

    Attributes:
        truth: What stands in the table.
        reconstructed: From all of the row's columns; None where there is nothing to show.
        imputed: From the others alone; None where there are no others.
        error: Of `reconstructed`, NaN where the cell is absent.
        imputed_error: Of `imputed`.
        mean_error: Of the training mean.
    """

    truth: CellPreview
    reconstructed: CellPreview | None
    imputed: CellPreview | None
    error: float
    imputed_error: float
    mean_error: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructedRow:
    """A row of the page.

    Attributes:
        row: Its number in the table.
        cells: The reconstructed columns'.
    """

    row: int
    cells: Sequence[ReconstructedCell]
