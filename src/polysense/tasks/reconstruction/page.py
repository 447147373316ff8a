"""reconstructions.html: held-out rows, each cell beside what the model restores it as.

Two restorations stand beside each cell: from all of the row's columns, the cell itself among them, and from the others
alone, as a missing one would be filled. What is the same in both has been understood from the others; what only the
first one has was copied through the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.evaluation.cells import Input, shown_input_html
from polysense.evaluation.page import document, number, table, text

__all__ = ["RestoredCell", "RestoredRow", "render_reconstructions"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RestoredCell:
    """A cell and what it is restored as.

    Attributes:
        truth: What stands in the table.
        restored: From all of the row's columns; None where there is nothing to show.
        filled: From the others alone; None where there are no others.
        error: Of `restored`, NaN where the cell is absent.
        filled_error: Of `filled`.
        mean_error: Of saying the training mean.
    """

    truth: Input
    restored: Input | None
    filled: Input | None
    error: float
    filled_error: float
    mean_error: float


@dataclass(frozen=True, eq=False, kw_only=True)
class RestoredRow:
    """A row of the page.

    Attributes:
        row: Its number in the table.
        cells: The restored columns'.
    """

    row: int
    cells: Sequence[RestoredCell]


def render_reconstructions(title: str, rows: Sequence[RestoredRow], split: str) -> str:
    """The whole page as HTML.

    Args:
        title: Of the run.
        rows: In the order in which they are shown.
        split: What they are of: "test".
    """
    head = (
        f'<header><h1>{text(title)}</h1><p class="lead">{len(rows)} {text(split)} rows, restored</p>'
        '<p class="mute small">Chosen by chance, not by how well they go. Beside each cell stand what the model '
        "restores from all of the row's columns, and what it fills in from the others alone. Errors: mean squared, "
        "in the column's standard deviations, or nats per token or category; less is better.</p></header>"
    )
    return document(title + ": reconstructions", "\n".join([head, *map(_row, rows)]), media=True)


def _row(row: RestoredRow) -> str:
    lines = []
    for cell in row.cells:
        errors = " / ".join(number(one) for one in (cell.error, cell.filled_error, cell.mean_error))
        lines.append(
            [text(cell.truth.column), shown_input_html(cell.truth), _shown(cell.restored), _shown(cell.filled), errors]
        )
    heads = ["column", "in the table", "restored from all", "filled from the others", "errors: all / filled / mean"]
    body = table(heads, lines, classes=["", "", "", "", "n"])
    return f'<section class="restored"><h2>Row {row.row}</h2>{body}</section>'


def _shown(found: Input | None) -> str:
    return '<span class="mute small">–</span>' if found is None else shown_input_html(found)
