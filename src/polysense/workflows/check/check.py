"""Look at a table without training: what each column is taken for, what is missing or broken, what leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polysense.core import registry
from polysense.core.files import named_path, write_text
from polysense.core.finding import Finding, Severity
from polysense.core.json import write_json
from polysense.core.logs import collected_remarks
from polysense.core.role import Role
from polysense.data.column import ColumnProcessor
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.tables.mapped_frame import chunks_of
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, PolysenseError
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detectors import detect_all
from polysense.reports.check import Check
from polysense.reports.check_page import render_check
from polysense.workflows.check.examine import ALL, Part, examine, examine_inputs
from polysense.workflows.check.facts import column_facts
from polysense.workflows.check.probabilities import run_probabilities, simple_probabilities
from polysense.workflows.fitted_data import fit_processor
from polysense.workflows.folds.plan import plan_folds
from polysense.workflows.prepare import is_recipe, prepare, read_joined, split_tables
from polysense.workflows.reading import class_counts, column_readings, column_remarks, processor_remarks, recipe_guesses
from polysense.workflows.shared_persons import shared_persons

__all__ = ["check"]

_MOST_ROWS = 2_000  # of validation, that are looked at for classes
_NUM_EXAMPLES = 6  # cells of a column, on the page
# Cells of a column; what they would be learned from in training changes nothing that is said here.
_FOR_FEATURES, _FEWEST_FOR_FEATURES, _MOST_FOR_FEATURES = 32, 8, 16_000


def check(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    overrides: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    run: str | Path | None = None,
    output: str | Path | None = None,
) -> Check:
    """Looks at a table, or at a recipe's table, without training.

    Args:
        source: A table's path, a table in memory, or a recipe's path.
        target: The column or columns to predict, where the source is a table.
        task: A task without a target column, as for `fit`.
        overrides: `a.b.c=value` changes of the recipe.
        columns: Per column what it is, where the guess is wrong, as for `fit`.
        run: The folder of a run, whose model says which labels are probably wrong; by default a linear model on
            simple features does, out of fold.
        output: A folder for check.json and the page check.html; None writes nothing.

    Raises:
        UserError: The table or the recipe can't be read, or the folder can't be written.
    """
    if target is None and task is None and not is_recipe(source):
        table = read_joined(source, overrides).table
        guesses = infer(table, [], overrides=columns, logs=False)
        if run is not None:
            raise ConfigError("run: no target is named, whose labels a run could contradict; add --target COLUMN")
        advice = "no target is named: give --target COLUMN to check classes, splits, leaks and every cell"
        checked = examine_inputs(table.name, [Part(name=ALL, table=table)], guesses, joins=table.joins)
        result = Check(
            table=table.name,
            num_rows=len(table),
            columns=_columns(table, guesses),
            cautions=_cautions(guesses),
            warnings=(*table.remarks, *column_remarks(guesses), advice),
            findings=_findings(checked, len(table), [], [*table.remarks, advice]),
        )
        return _written(result, checked, table, output)
    prepared = prepare(source, target=target, task=task, overrides=overrides, columns=columns, logs=False)
    table, config = prepared.table, prepared.recipe.data
    guesses = prepared.guesses or recipe_guesses(table, config)
    problems: list[str] = []
    warnings = [*table.remarks, *column_remarks(guesses)]
    marked: dict[str, int] = {}
    of_reading: list[str] = []
    classes = {}
    for name, requested in config.targets.items():
        if registry.task(requested.task).has_classes:
            try:
                classes[name], more = class_counts(table, name, config)
            except PolysenseError as error:
                problems.append(str(error))
            else:
                of_reading += more
    splits: dict[str, int] = {}
    examined: CheckedTable | None = None
    try:
        with collected_remarks() as of_split:
            if prepared.recipe.evaluation.folds:
                folds = plan_folds(prepared.recipe, table)
                of_reading.append(f"evaluation.folds: {folds.sentence()}")
                tables = folds.tables(0)
            else:
                tables = split_tables(config, table, prepared.recipe.training.seed)
        of_reading += of_split
        splits = {name: len(part) for name, part in tables.items()}
        warnings += shared_persons(config, table, tables)
        cells = max(_FEWEST_FOR_FEATURES, min(_FOR_FEATURES, _MOST_FOR_FEATURES // max(1, len(config.columns))))
        processor, _, _ = fit_processor(prepared.recipe, tables, most_for_features=cells)
        of_reading += processor_remarks(processor, tables)
        for name, column in processor.columns.items():
            marked[name] = _num_marked(table.cells(column.source), column)
        prepared.recipe.model.build(processor.schema)
        examined = examine(
            table,
            _parts(config, table, tables),
            guesses,
            config,
            processor,
            is_drawn=_is_drawn(config, bool(prepared.recipe.evaluation.folds)),
            seed=prepared.recipe.training.seed,
            num_examples=0 if output is None else _NUM_EXAMPLES,
        )
        problems += _unscorable(processor, tables.get("validation"), list(classes))
    except PolysenseError as error:
        if str(error) not in problems:
            problems.append(str(error))
    if examined is None:  # what stands in the way of reading it stands among the problems
        checked = examine_inputs(table.name, [Part(name=ALL, table=table)], guesses, joins=table.joins)
    else:
        known = simple_probabilities(examined) if run is None else run_probabilities(examined, table, named_path(run))
        checked = replace(examined, probabilities=known)
    num_rows = len(table) if examined is None else sum(splits.values())
    result = Check(
        table=table.name,
        num_rows=len(table),
        columns=_columns(table, guesses, marked, {each.name: each.property_counts() for each in checked.columns}),
        cautions=_cautions(guesses),
        classes=classes,
        splits=splits,
        unreadable=tuple(checked.unreadable),
        num_tried=checked.num_tried,
        problems=tuple(problems),
        warnings=(*warnings, *of_reading),
        findings=_findings(checked, num_rows, problems, [*table.remarks, *of_reading]),
    )
    return _written(result, checked, table, output)


def _written(check: Check, checked: CheckedTable, table: Table, output: str | Path | None) -> Check:
    """The check, of which a folder has the file and the page where one is named."""
    if output is not None:
        folder = named_path(output)
        page = render_check(check, column_facts(checked, table), len(checked.columns))
        write_json(folder / "check.json", check.as_json())
        write_text(folder / "check.html", page)
    return check


def _findings(
    checked: CheckedTable, num_rows: int, problems: Sequence[str], remarks: Sequence[str]
) -> tuple[Finding, ...]:
    """All of them, the worst first: what stands in the way of training before everything else.

    Args:
        checked: What detectors look at.
        num_rows: Of which so many rows were there to look at.
        problems: What stands in the way of training.
        remarks: What else is to be said of how the table is read.
    """
    blocking = [Finding(kind="problem", severity=Severity.ERROR, message=problem) for problem in problems]
    if len(checked) < num_rows:
        remarks = [*remarks, f"{len(checked):,} of {num_rows:,} rows were compared for findings, spread evenly"]
    detected = detect_all(checked)
    said = {finding.message for finding in detected}
    notes = [
        Finding(kind="reading", severity=Severity.INFO, message=remark)
        for remark in dict.fromkeys(remarks)
        if remark not in said
    ]
    return (*blocking, *detected, *notes)


def _parts(config: DataConfig, table: Table, tables: Mapping[str, Table]) -> list[Part]:
    """The parts of a split, and whose tables they are."""
    own = {"validation": config.validation, "test": config.test}
    return [
        Part(name=name, table=part, owner=part.name if own.get(name) is not None else None)
        for name, part in tables.items()
    ]


def _is_drawn(config: DataConfig, has_folds: bool) -> bool:
    """Whether the parts differ by chance alone, since every row was drawn on its own."""
    if config.validation is not None or config.test is not None:
        return False
    return config.split.grouping is None and (has_folds or not config.split.names_test)


def _unscorable(processor: Processor, validation: Table | None, targets: Sequence[str]) -> list[str]:
    """The targets whose classes no validation row has: no epoch would be the best. Looks until one has each."""
    if validation is None or not 0 < len(validation) <= _MOST_ROWS:
        return []
    part, missing = processor.prepared(validation), set(targets)
    for position in range(len(part)):
        if not missing:
            break
        missing -= processor.transform(part, position, with_targets=True).targets.keys()
    return [
        f"{validation.name}, target {name!r}: none of the {len(part):,} validation rows has a class that training rows "
        f"have too, so no epoch can be preferred to another; validate on more rows, or merge rare classes"
        for name in targets
        if name in missing
    ]


def _num_marked(cells: Sequence[object], column: ColumnProcessor) -> int:
    """The cells that reading takes for missing; of some rows at once, equal texts are read once."""
    marked = 0
    for rows in chunks_of(len(cells)):
        part = cells[rows]
        texts = Counter(cell for cell in part if isinstance(cell, str))
        marked += sum(count for text, count in texts.items() if column.is_missing(text))
        marked += sum(not isinstance(cell, str) and column.is_missing(cell) for cell in part)
    return marked


def _cautions(guesses: Sequence[ColumnGuess]) -> dict[str, tuple[str, ...]]:
    """The warnings of each column that has some."""
    return {guess.name: guess.warnings for guess in guesses if guess.warnings}


def _columns(
    table: Table,
    guesses: Sequence[ColumnGuess],
    marked: Mapping[str, int] | None = None,
    properties: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None,
) -> list[dict[str, Any]]:
    """What each column is, the share of its cells that is missing, as reading has it where it is read, and what was
    told of cells that were tried."""
    results = []
    for guess, reading in zip(guesses, column_readings(guesses), strict=True):
        is_read = guess.role is Role.INPUT and marked is not None and guess.name in marked
        num_missing = marked[guess.name] if is_read and marked else guess.num_missing
        results.append(
            {
                "name": reading.name,
                "role": reading.role,
                "type": reading.type,
                "missing": num_missing / max(len(table), 1),
                "reason": reading.reason,
                "properties": (properties or {}).get(reading.name, {}),
            }
        )
    return results
