"""Reading: all that is to be said of how a table is read, in one list for `check`, the log and the report.

Before training a user looks at `check`; afterwards at the report, when the log is forgotten. Both must say the same:
that units were dropped and commas taken for decimal marks, that -999 may stand for a missing value, that some cells
give a class away, that a column names persons. A resumed run fits nothing again, so what was said is kept in the run's
folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from polysense.core.json import read_json, write_json
from polysense.core.registry import task
from polysense.core.role import Role
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.roles.profile import quote
from polysense.data.split import ColumnSplitConfig, GroupSplitConfig
from polysense.data.tables.sources import Table
from polysense.errors import PolysenseError
from polysense.reports.reading import ColumnReading, Reading

__all__ = [
    "READING",
    "class_counts",
    "column_readings",
    "column_remarks",
    "keep_reading",
    "kept_reading",
    "processor_remarks",
    "reading_before_fit",
    "recipe_guesses",
]

READING = "reading.json"
"""The file of a run's folder that it is kept in."""

_RARE = 5


def reading_before_fit(
    table: Table, config: DataConfig, guesses: Sequence[ColumnGuess], remarks_on_split: Sequence[str]
) -> Reading:
    """What is known of a table before preprocessing is fitted.

    Args:
        table: As given, before the split.
        config: What is read of it.
        guesses: What its columns were taken for; of a recipe none.
        remarks_on_split: What was said when it was split, and of persons in several parts.
    """
    if not guesses:
        try:
            guesses = recipe_guesses(table, config)
        except PolysenseError:
            guesses = []  # of a task that can't be inferred; its recipe was written by somebody who knows the table
    of_classes: list[str] = []
    for name, requested in config.targets.items():
        if task(requested.task).has_classes:
            try:
                of_classes += class_counts(table, name, config)[1]
            except PolysenseError:
                continue  # fitting on the training rows says it
    remarks = (*table.remarks, *column_remarks(guesses), *of_classes, *remarks_on_split)
    return Reading(columns=tuple(column_readings(guesses)), remarks=remarks)


def recipe_guesses(table: Table, config: DataConfig) -> list[ColumnGuess]:
    """What a recipe takes each column for, with what the cells say of it.

    A column that gives a target away is told of by its reason, whether the recipe reads it or not.

    Raises:
        PolysenseError: The table lacks a column, or a target's task can't be told from a column.
    """
    tasks = {
        column: requested.task
        for name, requested in config.targets.items()
        if not requested.reads_inputs
        for column in requested.sources(name)
        if table.has(column)
    }
    result = infer(table, list(tasks), overrides={name: str(kind) for name, kind in tasks.items()}, logs=False)
    readers: dict[str, list[str]] = {}
    for name, column in config.columns.items():
        readers.setdefault(column.source(name), []).append(name)
    roles = {config.weight: Role.WEIGHT}
    if isinstance(config.split, GroupSplitConfig):
        roles[config.split.column] = Role.GROUP
    if isinstance(config.split, ColumnSplitConfig):
        roles |= {config.split.group: Role.GROUP, config.split.column: Role.SPLIT}
    guesses = []
    for guess in result:
        for name in readers.get(guess.name, ()):
            modality = config.columns[name].modality
            agreed = guess.role is Role.INPUT and guess.modality == modality
            reason = guess.reason if agreed else f"{modality}: as the recipe says (found {guess.reason})"
            source = None if name == guess.name else guess.name
            guesses.append(replace(guess, name=name, role=Role.INPUT, modality=modality, column=source, reason=reason))
        if guess.name in roles:
            role = roles[guess.name]
            guesses.append(replace(guess, role=role, modality=None, reason=f"{role}: as the recipe says"))
        elif guess.role is Role.TARGET:
            guesses.append(guess)
        elif guess.name not in readers:
            reason = "the recipe does not use it"
            guesses.append(replace(guess, role=Role.IGNORED, modality=None, reason=reason, warnings=()))
    return guesses


def column_readings(guesses: Sequence[ColumnGuess]) -> list[ColumnReading]:
    """What each column is, and why."""
    kinds = [guess.task if guess.role is Role.TARGET else guess.modality for guess in guesses]
    return [
        ColumnReading(
            name=guess.name, role=str(guess.role), type=None if kind is None else str(kind), reason=guess.reason
        )
        for guess, kind in zip(guesses, kinds, strict=True)
    ]


def column_remarks(guesses: Sequence[ColumnGuess]) -> list[str]:
    """The warnings of the columns, each with its column's name."""
    return [f"{guess.name}: {warning}" for guess in guesses for warning in guess.warnings]


def class_counts(table: Table, name: str, config: DataConfig) -> tuple[dict[str, int], list[str]]:
    """A target's classes with their rows, as training reads them, and what is to be said of them.

    Raises:
        PolysenseError: The column can't be such a target.
    """
    fitted = config.target_processor(name).fit(table)
    counts = dict(zip(fitted.classes, fitted.class_counts, strict=True))
    rare = sorted(label for label, count in counts.items() if count < _RARE)
    remarks = []
    if rare:
        remarks.append(
            f"{name}: {len(rare)} of {len(counts)} classes have fewer than {_RARE} rows "
            f"({', '.join(map(quote, rare[:5]))}{' ...' if len(rare) > 5 else ''})"
        )
    without = len(table) - sum(counts.values())
    if without:
        remarks.append(f"{name}: has no class in {without:,} rows, which can't train or score")
    return counts, remarks


def processor_remarks(processor: Processor, tables: Mapping[str, Table]) -> list[str]:
    """What fitting the preprocessing gave, and what the fitted targets say of the rows that are not trained on."""
    held_out = [name for name in ("validation", "test") if name in tables]
    return (
        processor.warnings
        + processor.cleaning_remarks()
        + [
            f"{target.name}, {name} rows: {warning}"
            for name in held_out
            for target in processor.targets.values()
            for warning in target.held_out_warnings(tables["train"], tables[name])
        ]
    )


def keep_reading(folder: Path, reading: Reading) -> None:
    """Writes it into a run's folder; what was said twice stands once."""
    write_json(folder / READING, replace(reading, remarks=tuple(dict.fromkeys(reading.remarks))))


def kept_reading(folder: Path) -> Reading:
    """What `keep_reading` wrote; nothing where there is no such file, as of a model that was only evaluated.

    Raises:
        BundleError: The file is broken.
    """
    path = folder / READING
    if not path.is_file():
        return Reading()
    plain = read_json(path, dict)
    return Reading(
        columns=tuple(ColumnReading(**column) for column in plain["columns"]), remarks=tuple(plain["remarks"])
    )
