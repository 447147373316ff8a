"""Lists of a joined table's rows: for each row of the main table those of its key, in order, none from its future."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from jaxtyping import Int64

from polysense.data.joins.config import JoinConfig
from polysense.data.joins.keys import KeyMatch
from polysense.data.tables.limits import TableLimits
from polysense.data.tables.sources import Table
from polysense.data.values.times import column_times
from polysense.errors import TableError

__all__ = ["ListRows", "list_rows", "listed"]

_ITEM = 24  # bytes of an item in a list, at least: a view of a text and its index


@dataclass(frozen=True, eq=False, kw_only=True)
class ListRows:
    """Which rows are in which list.

    Attributes:
        rows: Of the joined table, list after list.
        lengths: Of each row's list.
        num_cut: Lists that were longer.
    """

    rows: Int64[np.ndarray, " items"]
    lengths: Int64[np.ndarray, " rows"]
    num_cut: int


def list_rows(
    table: Table, side: Table, config: JoinConfig, matched: KeyMatch, name: str
) -> tuple[ListRows, list[str]]:
    """The rows of each list, and what is to be said of their times.

    Raises:
        TableError: A time can't be read, or the lists would take more memory than a table may.
    """
    notes: list[str] = []
    num_cut = 0
    known = np.flatnonzero(matched.side >= 0)
    ranks = np.zeros(len(side), dtype=np.int64)
    limits = None
    if config.order is not None:
        times = column_times(side.column(config.order), side.name)
        if config.before is not None:
            own = column_times(table.column(config.before), table.name)
            if own.dtype != times.dtype:
                raise TableError(
                    f"data.tables.{name}: {config.before!r} of {table.name} holds {_kind(own)}, and "
                    f"{config.order!r} of {side.name} {_kind(times)}; expected times of one kind"
                )
            both = (
                pl.concat([_ends(times, side, config.order).alias("t"), own.alias("t")])
                .rank("dense")
                .cast(pl.Int64)
                .fill_null(0)
                .to_numpy()
            )
            ranks, limits = both[: len(side)], both[len(side) :]
            if without := int((ranks[known] == 0).sum()):
                notes.append(
                    f"{name}: {without:,} rows of {side.name} have no {config.order!r}, so that nothing tells whether "
                    f"they are earlier; they are in no list"
                )
                known = known[ranks[known] > 0]
            if without := int((limits == 0).sum()):
                notes.append(f"{name}: {without:,} rows of {table.name} have no {config.before!r}, and no list")
        else:
            ranks = times.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
            if without := int((ranks[known] == 0).sum()):
                notes.append(f"{name}: {without:,} rows of {side.name} have no {config.order!r}; they come first")
    order = known[np.lexsort((known, ranks[known], matched.side[known]))]
    keys = matched.side[order]
    starts = np.searchsorted(keys, matched.main, side="left")
    if limits is None:
        ends = np.searchsorted(keys, matched.main, side="right")
    else:  # ranks are those of both tables' times, so that one search looks for key and time
        scale = int(max(ranks.max(initial=0), limits.max(initial=0))) + 2
        ends = np.searchsorted(keys * scale + ranks[order], matched.main * scale + limits, side="left")
        ends = np.where(limits > 0, np.maximum(ends, starts), starts)
    ends = np.where(matched.main >= 0, ends, starts)
    if config.last is not None:
        num_cut = int((ends - starts > config.last).sum())
        starts = np.maximum(starts, ends - config.last)
    lengths = ends - starts
    total, most = int(lengths.sum()), TableLimits.from_environment().memory
    if total * _ITEM > most:
        raise TableError(
            f"data.tables.{name}: the lists of {len(table):,} rows would hold {total:,} cells of each column (the "
            f"longest {int(lengths.max(initial=0)):,}), more than the memory that a table may take; shorten them: "
            f"data.tables.{name}.last=20"
        )
    offsets = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return ListRows(rows=order[np.arange(total) + offsets], lengths=lengths, num_cut=num_cut), notes


def listed(column: pl.Series, chosen: ListRows) -> pl.Series:
    """A column's cells as lists; null where a list is empty. Cells that are lists themselves are put together."""
    filled = np.flatnonzero(chosen.lengths)
    number = np.repeat(np.arange(len(filled)), chosen.lengths[filled])
    frame = pl.DataFrame({"list": number, "cell": column.gather(chosen.rows)})
    cells = pl.col("cell").explode() if isinstance(column.dtype, pl.List) else pl.col("cell")
    lists = frame.group_by("list", maintain_order=True).agg(cells).get_column("cell")
    position = np.full(len(chosen.lengths), -1, dtype=np.int64)
    position[filled] = np.arange(len(filled))
    index = pl.Series(position)
    return lists.gather(index.set(index < 0, None))


def _ends(times: pl.Series, table: Table, column: str) -> pl.Series:
    """When a time is over: of a date alone the day's end, for what happened on a day may be later than any hour of it.

    Args:
        times: What `column_times` gave.
        table: Of it.
        column: Of it.
    """
    if times.dtype.is_numeric():
        return times
    is_day = ~table.column(column).str.contains(":", literal=True)
    over = times + timedelta(days=1, microseconds=-1)
    return pl.select(pl.when(is_day).then(over).otherwise(times)).to_series()


def _kind(times: pl.Series) -> str:
    if times.dtype.is_numeric():
        return "numbers"
    zone = times.dtype.time_zone if isinstance(times.dtype, pl.Datetime) else None
    return "times without a time zone" if zone is None else "times with a time zone"
