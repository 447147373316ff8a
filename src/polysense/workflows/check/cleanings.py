"""Cleanings that nobody asked for and that would change cells of a table: each is tried, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from polysense.config.base import members
from polysense.core.registry import modality, task
from polysense.core.spelling import shortened
from polysense.data.cleaning import CellCleaner, CleaningConfig
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.data.values.category_key import unified
from polysense.errors import DependencyError
from polysense.evaluation.findings.checked import CleaningProposal

__all__ = ["cleaning_proposals"]

_SHARE, _FEWEST = 0.001, 2  # of an input's cells; of a target's, one is enough
_SHOWN = 40  # characters of an example


def cleaning_proposals(tables: Sequence[Table], processor: Processor, config: DataConfig) -> list[CleaningProposal]:
    """What to propose for the inputs and targets that no cleaning is asked for.

    Args:
        tables: The checked table's parts.
        processor: Fitted.
        config: What is read.
    """
    results: list[CleaningProposal] = []
    for name, column in processor.columns.items():
        if name not in config.cleaning and not column.is_media:
            cells = [cell for table in tables for cell in _cells(table, column.source, literal=False)]
            results += _proposed(name, column.source, column.config.modality, cells)
    for name, target in processor.targets.items():
        has_classes = task(target.config.task).has_classes and len(target.columns) == 1 and target.over is None
        if name not in config.cleaning and has_classes:
            (source,) = target.columns
            cells = [cell for table in tables for cell in _cells(table, source, literal=True)]
            results += _proposed(name, source, None, cells)
    return results


def _cells(table: Table, column: str, *, literal: bool) -> Sequence[object]:
    return table.cells(column, literal=literal) if table.has(column) else [None] * len(table)


def _tried(kind: str | None) -> Iterator[CleaningConfig]:
    """The cleanings that are proposed for a modality; None: for targets of classes."""
    for member in members("cleaning").values():
        assert issubclass(member, CleaningConfig)
        of_classes = member.cleans_targets and any(modality(each).is_discrete for each in member.reads())
        if member.is_proposed and (of_classes if kind is None else kind in member.reads()):
            yield member()  # type: ignore[call-arg]


def _proposed(name: str, source: str, kind: str | None, cells: Sequence[object]) -> Iterator[CleaningProposal]:
    """At most one proposal: the cleanings that change something, one after the other."""
    texts = {cell for cell in cells if isinstance(cell, str)}
    if not texts:
        return
    now: list[object] = list(cells)
    changes, types, changed = [], [], np.zeros(len(cells), dtype=bool)
    num_cells = sum(cell is not None for cell in cells)
    for config in _tried(kind):
        try:
            cleaned = CellCleaner([config]).fitted(now)
        except DependencyError:
            continue
        is_name = kind is None or modality(kind).is_discrete
        differ = np.array([_differ(a, b, is_name) for a, b in zip(now, cleaned, strict=True)], dtype=bool)
        num = int(differ.sum())
        if num < (1 if kind is None else max(_FEWEST, _SHARE * num_cells)):
            continue
        first = int(np.flatnonzero(differ)[0])
        changes.append((config.type, num, shortened(now[first], _SHOWN), shortened(cleaned[first], _SHOWN)))
        types.append(config.type)
        changed |= differ
        now = list(cleaned)
    if types:
        yield CleaningProposal(
            name=name,
            column=source,
            is_target=kind is None,
            types=tuple(types),
            changes=tuple(changes),
            positions=np.flatnonzero(changed),
            num_cells=num_cells,
        )


def _differ(before: object, after: object, is_name: bool) -> bool:
    """Whether a cell is another one as it is read: whitespace around it is no part of it, nor, of the name of a class,
    what is not seen."""
    if before is after or before == after:
        return False
    if isinstance(before, str) and isinstance(after, str):
        return unified(before) != unified(after) if is_name else before.strip() != after.strip()
    return True
