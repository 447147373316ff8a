"""Traits: what cuts an audit's rows in two, such as audio shorter than a second, a value of a column, a missing cell.

A number cuts rows at quantiles, its lowest ones from the rest and its highest. The numbers are those that a modality
describes its cells by (`ModalitySpec.descriptors`), and those that stand in columns that the model does not read. Rows
of which a number is not known, because the cell is missing, belong to neither side; that it is missing is a trait of
its own.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.data.values.notation import Notation
from polysense.errors import DecodeError
from polysense.evaluation.audit.described import describe
from polysense.evaluation.audit.part import AuditInput

__all__ = ["Trait", "column_values", "quantile_traits", "short", "traits_of", "value_traits"]

_QUANTILES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.33, 0.5, 0.67, 0.75, 0.8, 0.85, 0.9, 0.95)
_FEW_NUMBERS = 8  # distinct ones are looked at one by one
_MOST_VALUES = 30
_MOST_DECODED, _MOST_DECODED_FULL = 300, 3000  # cells of files
_MAJORITY = 0.9  # of the cells; a column of numbers may hold other marks
_LONGEST = 40  # characters of a value in words


@dataclass(frozen=True, eq=False, kw_only=True)
class Trait:
    """A property of rows.

    Attributes:
        words: "audio shorter than 0.8 s".
        source: What it is read from; two traits of one source are not combined.
        has: The rows that have it.
        known: Those of which it is known whether they have it.
        is_common: Whether it takes part in pairs: of neighboring quantiles some do.
        parents: The words of the two traits that it combines, if it is a pair.
    """

    words: str
    source: str
    has: Bool[np.ndarray, " rows"]
    known: Bool[np.ndarray, " rows"]
    is_common: bool = True
    parents: tuple[str, ...] = ()


def traits_of(asked: AuditInput, positions: Int[np.ndarray, " rows"], fewest: int) -> tuple[list[Trait], list[str]]:
    """Every trait of some evaluated rows, and which cells were not looked at, in words.

    Args:
        asked: What is audited.
        positions: The rows, among the evaluated ones.
        fewest: Rows that a trait must have and must lack.
    """
    schema, table = asked.dataset.schema, asked.dataset.table
    rows = asked.rows[positions]
    results: list[Trait] = []
    notes: list[str] = []
    read = set()
    for column in schema:
        read.add(column.table_column)
        results += _input_traits(asked, column, rows, notes)
    targets = {name for target in schema.targets for name in target.columns}
    for name in table.names:
        if name not in read and name not in targets:
            cells = table.cells(name)
            results += column_traits(name, [cells[int(row)] for row in rows])
    return [trait for trait in results if _is_cut(trait, fewest)], notes


def column_traits(name: str, cells: Sequence[object]) -> list[Trait]:
    """Those of a column that the model does not read, by its values or, where these are numbers, by quantiles."""
    missing = np.array([cell is None for cell in cells], dtype=bool)
    numbers = _numbers(cells)
    traits = [_missing(name, missing)]
    if numbers is not None and len(np.unique(numbers[~missing])) > _FEW_NUMBERS:
        return [*traits, *quantile_traits(name, name, "{column} below {value}", "{column} of {value} or more", numbers)]
    return [*traits, *value_traits(name, [None if cell is None else _spelled(cell) for cell in cells])]


def column_values(cells: Sequence[object]) -> list[str | None]:
    """What groups of rows a column makes: its values, quarters of its numbers where these are many; None: missing."""
    numbers = _numbers(cells)
    spelled = [None if cell is None else _spelled(cell) for cell in cells]
    if numbers is None or len(set(spelled) - {None}) <= _FEW_NUMBERS:
        return spelled
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], (0.25, 0.5, 0.75)))
    words = [f"below {edges[0]:.4g}"]
    words += [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    words += [f"{edges[-1]:.4g} or more"]
    places = np.searchsorted(edges, np.where(known, numbers, 0.0), side="right")
    return [words[place] if there else None for place, there in zip(places, known, strict=True)]


def value_traits(name: str, values: Sequence[str | None]) -> list[Trait]:
    """One for each of the most frequent values."""
    known = np.array([value is not None for value in values], dtype=bool)
    counts = Counter(value for value in values if value is not None)
    array = np.array([value if value is not None else "" for value in values], dtype=object)
    return [
        Trait(words=f"{name} = {short(value)}", source=name, has=known & (array == value), known=known)
        for value, _ in counts.most_common(_MOST_VALUES)
    ]


def quantile_traits(
    source: str, column: str, low: str, high: str, numbers: Float[np.ndarray, " rows"]
) -> Iterator[Trait]:
    """The lowest and the highest rows by a number.

    Args:
        source: See `Trait`.
        column: The column's name, for the words.
        low: Words for rows below a value, see `Descriptor`.
        high: For the others.
        numbers: NaN where it is not known.
    """
    known = np.isfinite(numbers)
    if not known.any():
        return
    seen = set()
    for share in _QUANTILES:
        edge = float(np.quantile(numbers[known], share, method="inverted_cdf"))
        below = known & (numbers < edge)
        key = int(below.sum())
        if key in seen:
            continue
        seen.add(key)
        common = share in (0.1, 0.25, 0.5, 0.75, 0.9)
        if share <= 0.5:
            yield Trait(words=_filled(low, column, edge), source=source, has=below, known=known, is_common=common)
        if share >= 0.5:
            above = known & ~below
            yield Trait(words=_filled(high, column, edge), source=source, has=above, known=known, is_common=common)


def _input_traits(asked: AuditInput, column: Column, rows: np.ndarray, notes: list[str]) -> list[Trait]:
    table, name = asked.dataset.table, column.table_column
    if not table.has(name):
        return []
    every = table.cells(name)
    cells = [every[int(row)] for row in rows]
    missing = np.array([cell is None for cell in cells], dtype=bool)
    spec = modality(column.modality)
    traits = [_missing(column.name, missing)]
    if spec.is_discrete:
        values = [None if cell is None else spec.identity(cell) for cell in cells]
        traits += value_traits(column.name, values)
    descriptors = spec.descriptors
    if isinstance(descriptors, Unsupported):
        return traits
    if column.name not in asked.described:
        asked.described[column.name] = describe(
            asked.dataset,
            column,
            descriptors,
            most_decoded=_MOST_DECODED_FULL if asked.is_full else _MOST_DECODED,
            has_time=asked.has_time,
            seed=asked.seed,
        )
    described = asked.described[column.name]
    if described.num_read < described.num_there:
        notes.append(
            f"{described.num_read:,} of {described.num_there:,} cells of {column.name} were decoded to describe them"
        )
    for descriptor in descriptors:
        source, numbers = f"{column.name}: {descriptor.name}", described.numbers[descriptor.name][rows]
        traits += quantile_traits(source, column.name, descriptor.low, descriptor.high, numbers)
    return traits


def _is_cut(trait: Trait, fewest: int) -> bool:
    inside = int(np.count_nonzero(trait.has))
    return fewest <= inside <= int(np.count_nonzero(trait.known)) - fewest


def _missing(name: str, missing: np.ndarray) -> Trait:
    known = np.ones(len(missing), dtype=bool)
    return Trait(words=f"{name} missing", source=f"{name}: missing", has=missing, known=known)


def _numbers(cells: Sequence[object]) -> np.ndarray | None:
    """The cells as numbers, NaN where they are missing or none; None where most are none."""
    notation, numbers = Notation(), np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if cell is None or isinstance(cell, bool):
            continue
        try:
            number = notation.read(cell)
        except DecodeError:
            continue
        numbers[i] = np.nan if number is None else number
    there = sum(cell is not None for cell in cells)
    return numbers if there and np.isfinite(numbers).sum() >= _MAJORITY * there else None


def _spelled(cell: object) -> str:
    return "a file" if isinstance(cell, bytes) else str(cell)


def short(value: str) -> str:
    """A value as words have it; a long one ends in an ellipsis."""
    return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"


def _filled(words: str, column: str, value: float) -> str:
    return words.format(column=column, value=f"{value:.3g}" if abs(value) < 1e4 else f"{value:.6g}")
