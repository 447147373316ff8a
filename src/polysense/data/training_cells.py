"""Training cells of one column, as preprocessing learns from them.

Media statistics and lengths come from at most 500 cells, picked by a fixed permutation: the mean of 500 images is
within a few thousandths of the mean of all, and fitting takes seconds on a table of any size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.sample import SourceInfo
from polysense.data.media.time_limit import watched, within_limit
from polysense.errors import ColumnError, DecodeError

__all__ = [
    "NUM_FOR_FEATURES",
    "NUM_SAMPLED",
    "TIMES_TYPICAL",
    "PresentCells",
    "TrainingCells",
    "cut_warning",
    "length_limit",
    "sampled",
]

NUM_SAMPLED = 500
"""Cells that media statistics and lengths are taken from."""

NUM_FOR_FEATURES = 10_000
"""Cells that features learn from."""

TIMES_TYPICAL = 4
"""Times what 95% of the training items have: where `length_limit` lies."""

T = TypeVar("T")
_log = get_logger("polysense.data.columns")


@dataclass(frozen=True)
class PresentCells(Iterable[object]):
    """The cells that are there, each made when asked for: a table's files need not fit into memory at once."""

    cells: Sequence[object]
    present: Sequence[int]
    read: Callable[[object], object]
    limit: int = NUM_FOR_FEATURES

    def __iter__(self) -> Iterator[object]:
        return (self.read(self.cells[i]) for i in sampled(self.present, self.limit))


@dataclass(frozen=True)
class TrainingCells:
    """The training cells of one column, which of them are there, and how many items of a list are read at most."""

    cells: Sequence[object]
    sources: Sequence[SourceInfo]
    present: Sequence[int]
    most_items: int | None = None

    def items(self, limit: int | None = None) -> Iterator[tuple[Any, SourceInfo]]:
        """The items of the cells that are there, lists unfolded; of `limit` cells at most, spread at random."""
        for position, item in self._positioned(limit):
            yield item, self.sources[position]

    def values(self, limit: int | None = None) -> Iterator[Any]:
        """Likewise without their sources, each of which is made when it is asked for."""
        # All are gone through as they stand: picking each by its position takes ten times as long.
        for cell in self.cells if limit is None else (self.cells[i] for i in sampled(self.present, limit)):
            if isinstance(cell, list):
                yield from (item for item in cell[: self.most_items] if item is not None)
            elif cell is not None:
                yield cell

    def _positioned(self, limit: int | None) -> Iterator[tuple[int, Any]]:
        chosen = () if limit is None else sampled(self.present, limit)
        for position, cell in enumerate(self.cells) if limit is None else ((i, self.cells[i]) for i in chosen):
            for item in cell[: self.most_items] if isinstance(cell, list) else (cell,):
                if item is not None:
                    yield position, item

    def read(
        self,
        name: str,
        what: str,
        decode: Callable[[Any, SourceInfo], T],
        limit: int | None = None,
        *,
        tell: bool = True,
    ) -> list[T]:
        """Decodes sampled items; those that can't be read are left out, they are listed when their row is read.

        Args:
            name: The column's.
            what: What its items should be, in the plural.
            decode: Reads one; raises DecodeError.
            limit: Cells that are tried at most; None for all.
            tell: Whether to log how many can't be read; not where a second pass reads the same cells again.

        Raises:
            ColumnError: None of them can be read; gives the first three reasons.
        """
        results, failed = watched(lambda: self._decoded(decode, limit))
        if not results:
            where = f"{self.sources[self.present[0]].table}, column {name!r}"
            if not failed:
                raise ColumnError(f"{where}: its training cells hold empty lists only; leave it out")
            raise ColumnError(
                f"{where}: none of the {len(failed)} training cells that were tried can be read as {what}; give the "
                f"column another type, or leave it out. The first: {'; '.join(failed[:3])}"
            )
        if failed and tell:
            _log.info("column %r: %d of %d sampled cells can't be read", name, len(failed), len(failed) + len(results))
        return results

    def _decoded(self, decode: Callable[[Any, SourceInfo], T], limit: int | None) -> tuple[list[T], list[str]]:
        """What sampled items are, and why others can't be read."""
        results: list[T] = []
        failed: list[str] = []
        for item, source in self.items(limit):
            try:
                results.append(within_limit(partial(decode, item, source), item))
            except DecodeError as error:
                failed.append(f"row {source.row}: {error}")
        return results, failed


def length_limit(lengths: Sequence[int] | Sequence[float], least: int) -> int:
    """Where items are cut that are much longer than all others: one of them costs a whole batch its length.

    Args:
        lengths: Of the training items.
        least: The shortest limit.
    """
    longest = max(lengths, default=0)
    # Of a column of single cells all are 1: numpy's quantile would take longer than all else that is learned of it.
    typical = float(np.quantile(lengths, 0.95)) if longest != min(lengths, default=0) else float(longest)
    return max(least, math.ceil(TIMES_TYPICAL * typical))


def cut_warning(
    lengths: Sequence[int] | Sequence[float],
    limit: int | None,
    setting: str,
    unit: str,
    per_unit: int = 1,
    *,
    is_sample: bool = False,
    num_short: int | None = None,
) -> tuple[str, ...]:
    """A warning of items that are cut, with how many and how much of them; none where none is.

    Args:
        lengths: Of the training items that were looked at.
        limit: What they are cut to; None: nothing.
        setting: The name of the setting that says otherwise.
        unit: What lengths are told in, in the plural: tokens, seconds.
        per_unit: Of the lengths' own units.
        is_sample: Whether there are training items that were not looked at.
        num_short: Of training items whose lengths are not known, but that are too short to be cut; None: there are
            none, and the share of all that is lost is told.
    """
    over = [length for length in lengths if limit is not None and length > limit]
    if not over or limit is None:
        return ()
    lost = sum(length - limit for length in over)
    whose = "is" if len(over) == 1 else "are"
    items = f"{len(lengths) + (num_short or 0):,} training items{' that were looked at' if is_sample else ''}"
    share = f"{max(lost / sum(lengths), 0.0001):.2%} of all" if num_short is None else f"{lost / per_unit:,.6g}"
    return (
        f"{len(over):,} of the {items} {whose} cut to {limit / per_unit:g} {unit} ({setting}), the longest of "
        f"{max(over) / per_unit:g}; with them {share} {unit}",
    )


def sampled(positions: Sequence[int], limit: int = NUM_SAMPLED) -> Sequence[int]:
    """At most `limit` of the positions, the same ones each time, in order."""
    if len(positions) <= limit:
        return positions
    return [positions[i] for i in _chosen(len(positions), limit)]


@lru_cache(maxsize=8)
def _chosen(num: int, limit: int) -> Sequence[int]:
    """Positions, the same for columns of as many cells: of a wide table nearly all are."""
    chosen: Sequence[int] = np.sort(permutation(num, "fit sample")[:limit]).tolist()
    return chosen
