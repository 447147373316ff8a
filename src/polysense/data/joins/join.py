"""Joins of tables: every row of the main table once, in its order, with the columns of others beside its own.

Nothing is dropped or put first in silence: rows without a partner have missing cells there and are counted, a key of
several rows that differ is an error or a list. Columns that nothing uses are not joined. A joined text column costs 16
bytes a row, since polars' texts are views of one buffer; lists are counted before they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Int64

from polysense.core.logs import get_logger, warn_of_each
from polysense.data.joins.config import HowMany, JoinConfig
from polysense.data.joins.infer import infer_keys
from polysense.data.joins.keys import Comparison, KeyMatch, choose_level, key_texts, match
from polysense.data.joins.lists import list_rows, listed
from polysense.data.joins.result import JoinResult, KeyRow, spelled_duplicates
from polysense.data.tables.sources import Table
from polysense.errors import TableError

__all__ = ["Joined", "join_tables", "spelled_keys"]

_log = get_logger("polysense.data.joins")

_FEW = 0.2  # of the keys: if fewer are in several rows, these are more likely a fault than lists
_EXAMPLES = 1000


@dataclass(frozen=True, eq=False, kw_only=True)
class Joined:
    """A joined table.

    Attributes:
        table: With the joined columns.
        configs: How it was joined, nothing left to be inferred.
    """

    table: Table
    configs: Mapping[str, JoinConfig]


def join_tables(
    table: Table, configs: Mapping[str, JoinConfig], uses: Callable[[str], bool] | None = None, *, logs: bool = True
) -> Joined:
    """Joins other tables to a table's rows, one after the other.

    Args:
        table: The main one, with the others as its `sides`.
        configs: How each is joined, by name.
        uses: Whether a column, by its joined name, is used; None: all are.
        logs: Whether is logged what is joined by what, and what has no partner.

    Raises:
        TableError: A table or a key column is not there, no key can be inferred, no row has a partner although key
            columns were to be settled, a key of several different rows is to be of one, or a name is there twice.
    """
    settled = {}
    for name, config in configs.items():
        if name not in table.sides:
            raise TableError(f"{table.name}: the table {name!r}, which is to be joined, is not given")
        table, settled[name] = _join(table, table.sides[name], name, config, uses)
        result = table.joins[name]
        if logs:
            _log.info("%s", result.sentence)
            warn_of_each(_log, result.warnings())
    return Joined(table=table, configs=settled)


def _join(
    table: Table, side: Table, name: str, config: JoinConfig, uses: Callable[[str], bool] | None
) -> tuple[Table, JoinConfig]:
    pairs = config.pairs
    if pairs is None:
        _require_rows(side, name)
        pairs = infer_keys(table, side, name)
    for here, there in pairs.items():
        table.require(here, "key column")
        side.require(there, "key column")
    times = [column for column in (config.order,) if column is not None]
    for column in times:
        side.require(column, "column to order by")
    if config.before is not None:
        table.require(config.before, "column with a row's time")
    keys = (
        [key_texts(table.column(here), table.name) for here in pairs],
        [key_texts(side.column(there), side.name) for there in pairs.values()],
    )
    level: Comparison = choose_level(*keys) if config.keys == "auto" else config.keys
    matched = match(*keys, level)
    taken = set(pairs.values())  # the main table has the same cells
    columns = {
        f"{name}.{column}": column
        for column in side.names
        if column not in taken and (uses is None or uses(f"{name}.{column}"))
    }
    _require_new(table, columns, name)
    duplicates = _duplicates(matched, keys[1])
    rows: HowMany = config.rows
    if rows == "auto":
        rows = _how_many(side, name, matched, duplicates, config)
    elif rows == "one" and duplicates:
        _require_equal(side, name, matched, duplicates, [*columns.values()])
    is_settled = config.pairs is not None and config.rows != "auto" and config.keys != "auto"
    if not matched.num_joined and not is_settled:
        _require_rows(side, name)
        examples = " and ".join(
            f"{_examples(each)} in {where}" for each, where in ((keys[0], table.name), (keys[1], side.name))
        )
        raise TableError(
            f"{table.name}: no row has a key of {side.name} in {spelled_keys(pairs)}; found {examples}. Spell keys "
            f"alike, or name other columns: data.tables.{name}.on"
        )
    notes = _notes(table, side, pairs, keys, matched, level)
    most, num_cut = 1, 0
    if rows == "many":
        chosen, more = list_rows(table, side, config, matched, name)
        notes += more
        joined = [listed(side.column(there), chosen).alias(here) for here, there in columns.items()]
        most, num_cut = int(chosen.lengths.max(initial=0)), chosen.num_cut
        has_partner = chosen.lengths > 0
    else:
        positions = np.append(_first_rows(matched), -1)[matched.main]  # of no key, -1, the last one
        index = pl.Series(positions).cast(pl.Int64)
        index = index.set(index < 0, None)
        joined = [side.column(there).gather(index).alias(here) for here, there in columns.items()]
        has_partner = positions >= 0
    result = _with_partnerless(
        keys,
        matched,
        JoinResult(
            name=name,
            main=table.name,
            table=side.name,
            on=pairs,
            is_list=rows == "many",
            keys=level,
            columns=columns,
            num_rows=len(table),
            num_joined=int(has_partner.sum()),
            num_side=len(side),
            duplicates=duplicates[0] if duplicates else (),
            num_duplicates=duplicates[1] if duplicates else 0,
            num_keys=matched.num_keys,
            most=most,
            num_cut=num_cut,
            notes=notes,
        ),
    )
    new = replace(
        table,
        frame=table.frame.with_columns(joined),
        spelled=table.spelled | {here for here, there in columns.items() if rows == "one" and there in side.spelled},
        roots={**table.roots, **{here: side.root for here in columns if side.root != table.root}},
        joins={**table.joins, name: result},
        remarks=(*table.remarks, *side.remarks, *result.remarks()),
        sides={**table.sides, name: _narrowed(side, [*pairs.values(), *times, *columns.values()])},
    )
    return new, replace(config, on=pairs, rows=rows, keys=level)


def _narrowed(side: Table, columns: Sequence[str]) -> Table:
    chosen = [name for name in side.names if name in set(columns)]
    return replace(side, frame=side.frame.select(chosen), spelled=side.spelled & set(chosen), remarks=())


def _require_rows(side: Table, name: str) -> None:
    if not len(side):
        raise TableError(f"{side.name}: has no rows to join as {name!r}, only the columns {', '.join(side.names)}")


def _require_new(table: Table, columns: Mapping[str, str], name: str) -> None:
    both = [column for column in columns if table.has(column)]
    if both:
        raise TableError(
            f"{table.name}: has a column {both[0]!r} already, as the joined table's {columns[both[0]]!r} would be "
            f"called; call the joined table otherwise than {name!r}, or leave it out if it is joined already"
        )


def _duplicates(matched: KeyMatch, keys: Sequence[pl.Series]) -> tuple[list[KeyRow], int] | None:
    """Keys of several rows, those of most rows first, and how many there are; None if there are none."""
    counts = np.bincount(matched.side[matched.side >= 0], minlength=matched.num_keys)
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return None
    first = _first_rows(matched)
    order = several[np.argsort(-counts[several], kind="stable")][:_EXAMPLES]
    return [
        KeyRow(key=_key(keys, int(first[key])), row=int(first[key]), count=int(counts[key])) for key in order.tolist()
    ], len(several)


def _first_rows(matched: KeyMatch) -> Int64[np.ndarray, " keys"]:
    """The first row of each key."""
    known = np.flatnonzero(matched.side >= 0)
    first = np.full(matched.num_keys, -1, dtype=np.int64)
    first[matched.side[known][::-1]] = known[::-1]
    return first


def _how_many(
    side: Table, name: str, matched: KeyMatch, duplicates: tuple[list[KeyRow], int] | None, config: JoinConfig
) -> HowMany:
    """Whether a key is of one row or of many, by its rows."""
    if config.order is not None or config.last is not None:
        return "many"
    if duplicates is None:
        return "one"
    if duplicates[1] < _FEW * matched.num_keys:
        _require_equal(side, name, matched, duplicates, side.names)
        return "one"
    return "one" if _are_equal(side, matched, side.names) else "many"


def _are_equal(side: Table, matched: KeyMatch, columns: Sequence[str]) -> bool:
    """Whether all rows of a key are equal in some columns, whichever key it is."""
    rows = np.flatnonzero(matched.side >= 0)
    first = _first_rows(matched)[matched.side[rows]]
    return all(
        bool(side.column(column).gather(rows).eq_missing(side.column(column).gather(first)).all()) for column in columns
    )


def _require_equal(
    side: Table, name: str, matched: KeyMatch, duplicates: tuple[list[KeyRow], int], columns: Sequence[str]
) -> None:
    if _are_equal(side, matched, columns):
        return
    raise TableError(
        f"{side.name}: {duplicates[1]:,} of {matched.num_keys:,} keys are in several rows that differ "
        f"({spelled_duplicates(*duplicates)}), and one row of each key is expected; remove the others, or take all of "
        f"them as lists: data.tables.{name}.rows=many"
    )


def _with_partnerless(
    keys: tuple[Sequence[pl.Series], Sequence[pl.Series]], matched: KeyMatch, result: JoinResult
) -> JoinResult:
    """The result with the rows of either table that have no partner."""
    missing = [_is_missing(columns) for columns in keys]
    unmatched = np.flatnonzero((matched.main < 0) & ~missing[0])
    is_used = np.zeros(matched.num_keys + 1, dtype=bool)
    is_used[matched.main] = True
    orphans = np.flatnonzero(~is_used[matched.side] & (matched.side >= 0))
    return replace(
        result,
        num_without_key=int(missing[0].sum()),
        num_side_without_key=int(missing[1].sum()),
        unmatched=_key_rows(keys[0], unmatched),
        num_unmatched=len(unmatched),
        unmatched_rows=tuple(unmatched[:_EXAMPLES].tolist()),
        orphans=_key_rows(keys[1], orphans),
        num_orphans=len(orphans),
    )


def _is_missing(columns: Sequence[pl.Series]) -> np.ndarray:
    return np.asarray(np.any([column.is_null().to_numpy() for column in columns], axis=0))


def _key_rows(keys: Sequence[pl.Series], rows: np.ndarray) -> list[KeyRow]:
    """The first rows with different keys."""
    results: dict[str, KeyRow] = {}
    for row in rows[:_EXAMPLES].tolist():
        key = _key(keys, row)
        results.setdefault(key, KeyRow(key=key, row=row))
    return list(results.values())


def _key(keys: Sequence[pl.Series], row: int) -> str:
    return ", ".join(str(column[row]) for column in keys)


def _notes(
    table: Table,
    side: Table,
    pairs: Mapping[str, str],
    keys: tuple[Sequence[pl.Series], Sequence[pl.Series]],
    matched: KeyMatch,
    level: Comparison,
) -> list[str]:
    """How keys of two types were compared, and which would be the same but for their case."""
    notes = []
    loose = level != "exact"
    if loose and (more := matched.num_joined - match(*keys, "exact").num_joined) > 0:
        how = "without whitespace around" if level == "trimmed" else "as numbers"
        notes.append(
            f"{spelled_keys(pairs)}: {more:,} rows have a partner only because keys are compared {how}: "
            f"{_examples(keys[0])} in {table.name}, {_examples(keys[1])} in {side.name}"
        )
    for here, there in pairs.items():
        kinds = [_kind(table.column(here)), _kind(side.column(there))]
        if kinds[0] != kinds[1] and not loose and (matched.main < 0).any():
            notes.append(
                f"{spelled_keys({here: there})}: keys are {kinds[0]} in {table.name} and {kinds[1]} in {side.name}"
            )
    if (matched.main < 0).any():
        folded = tuple([column.str.to_lowercase() for column in columns] for columns in keys)
        if (more := match(folded[0], folded[1], level).num_joined - matched.num_joined) > 0:
            notes.append(f"{spelled_keys(pairs)}: {more:,} more rows would have a partner if keys' case were the same")
    return notes


def _kind(column: pl.Series) -> str:
    if column.dtype.is_float():
        return "floats"
    return "whole numbers" if column.dtype.is_integer() else "booleans" if column.dtype == pl.Boolean else "text"


def _examples(keys: Sequence[pl.Series]) -> str:
    rows = pl.DataFrame([column.alias(str(i)) for i, column in enumerate(keys)]).drop_nulls()
    listed = [", ".join(map(str, row)) for row in rows.unique(maintain_order=True).head(2).rows()]
    return " and ".join(map(repr, listed)) or "no key"


def spelled_keys(pairs: Mapping[str, str]) -> str:
    """ "product_id = id", or one name where both tables have it."""
    return ", ".join(here if here == there else f"{here} = {there}" for here, there in pairs.items())
