"""Key columns inferred from names and cells: which column of the main table names rows of another.

Names alone mislead (both tables have a `date`), cells alone too (small numbers lie within small numbers). So a pair
needs names that say the same and cells that meet; where several pairs are as good, nothing is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polysense.core.spelling import did_you_mean
from polysense.data.joins.keys import choose_level, key_texts, match
from polysense.data.tables.sources import Table
from polysense.errors import TableError

__all__ = ["infer_keys"]

_KEY_WORDS = frozenset({"id", "ids", "key", "code", "uuid", "guid", "sku", "isbn", "ean", "gtin", "number", "no", "nr"})
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class _Pair:
    main: str
    side: str
    is_named: bool
    side_unique: bool
    main_unique: bool
    num_joined: int

    @property
    def tier(self) -> int:
        """How sure the pair is, 0 for one that is no key."""
        if self.is_named:
            return 4 if self.side_unique else 3 if self.main_unique else 2
        return 1 if self.side_unique or self.main_unique else 0


def infer_keys(main: Table, side: Table, name: str) -> dict[str, str]:
    """The key column of the main table, and that of the other one.

    Args:
        main: The main table.
        side: The one to join.
        name: What it is called.

    Raises:
        TableError: No columns are alike by name and by their cells, or several are.
    """
    setting = f"data.tables.{name}.on"
    tried = (_pair(main, here, side, there) for here, there in _named(main, side, name))
    pairs = [pair for pair in tried if pair is not None]
    joining = [pair for pair in pairs if pair.num_joined and pair.tier]
    best = max((pair.tier for pair in joining), default=0)
    chosen = [pair for pair in joining if pair.tier == best]
    if len(chosen) == 1:
        return {chosen[0].main: chosen[0].side}
    if chosen:
        several = ", ".join(_spelled(pair) for pair in chosen)
        raise TableError(
            f"{main.name} and {side.name} can be joined by several columns: {several}; say which, as "
            f"{setting}={chosen[0].main}, or all of them, as {setting}=[{chosen[0].main}, {chosen[1].main}]"
        )
    if pairs:
        pair = max(pairs, key=lambda each: (each.is_named, each.num_joined))
        if not pair.num_joined:
            raise TableError(
                f"{main.name} and {side.name} have the key column {_spelled(pair)}, and no key in common: found "
                f"{_examples(main, pair.main)} in the one and {_examples(side, pair.side)} in the other; spell keys "
                f"alike, or name other columns: {setting}={{HERE: THERE}}"
            )
    hint = next((near for each in main.names if (near := did_you_mean(each, side.names))), "")
    raise TableError(
        f"{main.name} and {side.name} have no key column that can be told by its name and its cells{hint}; name it: "
        f"{setting}=COLUMN, or {setting}={{HERE: THERE}} where its name differs. Columns of {main.name}: "
        f"{', '.join(main.names)}; of {side.name}: {', '.join(side.names)}"
    )


def _named(main: Table, side: Table, name: str) -> Iterator[tuple[str, str]]:
    """Pairs of columns whose names say the same: `product_id` twice, or `product_id` and `id` of the products."""
    stems = {"main": _singulars(Path(main.name).stem), "side": _singulars(name) | _singulars(Path(side.name).stem)}
    for here in main.names:
        for there in side.names:
            one, other = _folded(here), _folded(there)
            if (
                one == other
                or any(one in (stem + other, stem) and other in _KEY_WORDS for stem in stems["side"])
                or any(other in (stem + one, stem) and one in _KEY_WORDS for stem in stems["main"])
                or any(one == stem and other == stem + "id" for stem in stems["side"])
            ):
                yield here, there


def _pair(main: Table, here: str, side: Table, there: str) -> _Pair | None:
    """What is to be known of a pair of columns; None if their cells can be no keys."""
    try:
        keys = [key_texts(main.column(here), main.name)], [key_texts(side.column(there), side.name)]
    except TableError:
        return None
    floats = [
        column
        for table, name, (column,) in ((main, here, keys[0]), (side, there, keys[1]))
        if table.dtype(name).is_float()
    ]
    if any(column.str.contains(".", literal=True).any() for column in floats):  # quantities
        return None
    words = {word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", there)}
    main_unique, side_unique = (bool(column.drop_nulls().is_unique().all()) for (column,) in keys)
    return _Pair(
        main=here,
        side=there,
        is_named=bool(words & _KEY_WORDS) or _folded(there) != _folded(here),
        main_unique=main_unique,
        side_unique=side_unique,
        num_joined=match(*keys, choose_level(*keys)).num_joined,
    )


def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _singulars(name: str) -> set[str]:
    """A table's name and its singulars: "categories" may be of "category", "boxes" of "box"."""
    folded = _folded(name)
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    return {folded} | {folded.removesuffix(plural) + one for plural, one in endings if folded.endswith(plural)}


def _spelled(pair: _Pair) -> str:
    return pair.main if pair.main == pair.side else f"{pair.main} = {pair.side}"


def _examples(table: Table, column: str) -> str:
    keys = table.column(column).drop_nulls().unique(maintain_order=True)[:_SHOWN].to_list()
    return ", ".join(repr(key) for key in keys) or "nothing"
