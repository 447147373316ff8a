"""Reading: what each column of a table was taken for, and all that is to be said of how its cells are read."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ColumnReading", "Reading"]


@dataclass(frozen=True, kw_only=True)
class ColumnReading:
    """What a column is.

    Attributes:
        name: The input's, the target's, or the table's column.
        role: "input", "target", "group", "split", "weight" or "ignored".
        type: What kind of input or target; None of others.
        reason: Why, and what there is to be known of its cells.
    """

    name: str
    role: str
    type: str | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a table is read.

    Attributes:
        columns: In the table's order.
        remarks: What may be read otherwise than it was meant, loses its meaning, or makes scores too good.
    """

    columns: tuple[ColumnReading, ...] = ()
    remarks: tuple[str, ...] = ()
