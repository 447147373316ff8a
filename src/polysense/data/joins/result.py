"""JoinResult: what a join made, and which rows of either table it found no partner for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polysense.data.joins.keys import Comparison

__all__ = ["JoinResult", "KeyRow"]

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """A key, and a row where it stands.

    Attributes:
        key: As it is spelled there.
        row: From 0.
        count: Rows of the key.
    """

    key: str
    row: int
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class JoinResult:
    """One join.

    Attributes:
        name: What the joined table is called.
        main: The main table.
        table: The joined one, as messages call it.
        on: The key columns, the main table's with the joined one's.
        is_list: Whether a cell holds the cells of several rows.
        keys: How keys were compared.
        columns: The joined columns: the name here with the name there.
        num_rows: Rows of the main table.
        num_joined: Those with a partner.
        num_without_key: Those whose key is missing.
        num_side: Rows of the joined table.
        num_side_without_key: Those whose key is missing.
        unmatched: Keys of the main table that the joined one lacks, the first of them; `num_unmatched` in all.
        num_unmatched: Rows of the main table that have such a key.
        unmatched_rows: The first of these rows.
        orphans: Keys of the joined table that no row of the main one has, the first of them.
        num_orphans: Rows of the joined table that have such a key.
        duplicates: Keys of several rows of the joined table, those of most rows first.
        num_duplicates: Such keys in all.
        num_keys: Different keys of the joined table.
        most: Rows of the longest list.
        num_cut: Lists that were longer, and hold the last rows alone.
        notes: What else is to be said of how keys and times are read.
    """

    name: str
    main: str
    table: str
    on: Mapping[str, str]
    is_list: bool
    keys: Comparison
    columns: Mapping[str, str]
    num_rows: int
    num_joined: int
    num_without_key: int = 0
    num_side: int = 0
    num_side_without_key: int = 0
    unmatched: Sequence[KeyRow] = ()
    num_unmatched: int = 0
    unmatched_rows: Sequence[int] = ()
    orphans: Sequence[KeyRow] = ()
    num_orphans: int = 0
    duplicates: Sequence[KeyRow] = ()
    num_duplicates: int = 0
    num_keys: int = 0
    most: int = 1
    num_cut: int = 0
    notes: Sequence[str] = ()

    @property
    def sentence(self) -> str:
        """By which keys the tables are joined, and for how many rows."""
        keys = " and ".join(
            here if here == there else f"{here} = {self.name}.{there}" for here, there in self.on.items()
        )
        cut = f"; {self.num_cut:,} lists were longer and hold the last rows" if self.num_cut else ""
        what = f"all rows of a key as a list (at most {self.most:,}{cut})" if self.is_list else "one row of each key"
        how = {"trimmed": ", compared without whitespace around", "numbers": ", compared as numbers (007 = 7)"}
        return (
            f"{self.name} ({self.table}) is joined by {keys}{how.get(self.keys, '')}, {what}: "
            f"{self.num_joined:,} of {self.num_rows:,} rows of {self.main} have a partner"
        )

    @property
    def of_unmatched(self) -> str:
        """Rows that have a key and no partner; "" if there are none."""
        if not self.num_unmatched:
            return ""
        return (
            f"{self.name}: the key of {_rows(self.num_unmatched)} of {self.main} is not in {self.table} "
            f"({_listed(self.unmatched, self.num_unmatched)}); its columns are missing there"
        )

    @property
    def of_missing_keys(self) -> str:
        """Rows of either table without a key; "" if there are none."""
        parts = [
            f"{_rows(num)} of {table}"
            for num, table in ((self.num_without_key, self.main), (self.num_side_without_key, self.table))
            if num
        ]
        return f"{self.name}: the key is missing in {' and '.join(parts)}: no partner" if parts else ""

    @property
    def of_orphans(self) -> str:
        """Rows of the joined table that no row has as a partner; "" if there are none."""
        if not self.num_orphans:
            return ""
        return (
            f"{self.name}: the key of {_rows(self.num_orphans)} of {self.table} is in no row of {self.main} "
            f"({_listed(self.orphans, self.num_orphans)}); nothing reads them"
        )

    @property
    def of_duplicates(self) -> str:
        """Keys of several equal rows, which count as one; "" if there are none, or if cells are lists."""
        if self.is_list or not self.num_duplicates:
            return ""
        return (
            f"{self.name}: {self.num_duplicates:,} of {self.num_keys:,} keys of {self.table} are in several equal rows "
            f"({spelled_duplicates(self.duplicates, self.num_duplicates)}), which count as one"
        )

    def warnings(self) -> list[str]:
        """What may be otherwise than it was meant."""
        return [text for text in (self.of_unmatched, self.of_missing_keys, self.of_duplicates, *self.notes) if text]

    def remarks(self) -> list[str]:
        """All that is to be said."""
        return [text for text in (self.sentence, *self.warnings(), self.of_orphans) if text]


def spelled_duplicates(duplicates: Sequence[KeyRow], total: int) -> str:
    """ "'A7' in 3 rows, the first is row 12, ..."."""
    listed = [f"{each.key!r} in {each.count:,} rows, the first is row {each.row:,}" for each in duplicates[:_SHOWN]]
    return ", ".join(listed) + (", ..." if total > _SHOWN else "")


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _listed(rows: Sequence[KeyRow], total: int) -> str:
    listed = ", ".join(f"row {each.row:,}: {each.key!r}" for each in rows[:_SHOWN])
    return listed + (", ..." if total > _SHOWN else "")
