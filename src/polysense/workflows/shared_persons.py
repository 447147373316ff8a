"""Persons in several parts of a split: a warning, and for patients an error unless the recipe allows it.

It is looked up after the rows are split, whoever split them: a column, a recipe's random split, tables of their own.
"""

from __future__ import annotations

import polars as pl

from polysense.data.config import DataConfig
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.persons import are_patients, person_columns
from polysense.data.tables.sources import Table
from polysense.errors import SplitError

__all__ = ["shared_persons"]


def shared_persons(config: DataConfig, table: Table, tables: dict[str, Table]) -> list[str]:
    """What is to be said of columns whose persons are in the training rows and in others.

    Args:
        config: Whose split it is.
        table: The training table before the split.
        tables: Its parts, or tables of their own.

    Raises:
        SplitError: They are patients, and `data.allow_shared_patients` is false.
    """
    answers = {column for name, target in config.targets.items() for column in target.sources(name)}
    others = {name: part for name, part in tables.items() if name != "train"}
    warnings = []
    for name in person_columns(table, answers) if others and "train" in tables else ():
        trained = _persons(tables["train"], name)
        counts = {
            part: _persons(rows, name).is_in(trained.implode()) for part, rows in others.items() if rows.has(name)
        }
        shared = {part: (int(known.sum()), len(known)) for part, known in counts.items() if known.any()}
        if not shared:
            continue
        listed = ", ".join(f"{count:,} of {total:,} {part}" for part, (count, total) in shared.items())
        what = f"{table.name}, column {name!r} names persons, and rows of {listed} persons are in training too"
        advice = f"to keep each one's rows in one part: data.split.type=group data.split.column={name}"
        if are_patients(name) and not config.allow_shared_patients:
            raise SplitError(
                f"{what}: a score on known patients says little of new ones; {advice}; to go on with this split "
                f"nevertheless: data.allow_shared_patients=true"
            )
        warnings.append(f"{what}, so the scores hold for persons that training has seen; {advice}")
    return warnings


def _persons(table: Table, name: str) -> pl.Series:
    return cleaned(table, name, literal=False).drop_nulls().cast(pl.String, strict=False).drop_nulls().unique()
