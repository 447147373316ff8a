"""The imputer that a recipe names: what it may fill, what it may look at, and what is told of it.

It imputes input columns that the imputing bundle reconstructs and that no target is made of. It looks at input columns
that no target is made of, and at no other: neither the answer nor a column that a recipe leaves out, perhaps because it
gives the answer away, can come in by way of what is filled. So a bundle that reconstructed the target's column too,
which any model trained on the whole table did, may be used: that column is masked from it.

What it has learned is another matter: if it was trained on rows that a model is judged on, it may know them. A bundle
remembers hashes of some of its training rows (`data.tables.row_sketch`), and what is found of the held-out rows among
them is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysense.bundle import IMPUTER, Bundle, load
from polysense.core.json import read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.registry import task
from polysense.data.config import DataConfig
from polysense.data.recipe_paths import path_from
from polysense.data.tables.row_sketch import RowSketch
from polysense.data.tables.sources import Table
from polysense.errors import BundleError, CheckpointError, ConfigError
from polysense.imputer import Imputer
from polysense.recipe import Recipe
from polysense.workflows.finetune.shift import shift
from polysense.workflows.imputation.impute import reconstructed_by, why_not_imputed

__all__ = ["FILE", "Imputing", "described", "imputing_again", "keep_imputer", "plan_imputer", "rows_sketched"]

FILE = "impute.json"
"""The report's name in a run's folder."""

_NUM_SAMPLED = 2000
_HELD_OUT = ("validation", "test")

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class Imputing:
    """An imputer and what is told of it.

    Attributes:
        imputer: Ready.
        report: As in impute.json: bundle, imputes, left_alone (columns that could be filled but are not, and why),
            hidden (columns that the imputing bundle reads elsewhere and must not read here), seen (held-out rows that
            it was trained on).
    """

    imputer: Imputer
    report: Mapping[str, Any]


def plan_imputer(recipe: Recipe, tables: Mapping[str, Table]) -> Imputing | None:
    """Settles what is filled and from what; None where the recipe names no imputer.

    Args:
        recipe: Complete.
        tables: Per split, as they came.

    Raises:
        BundleError: There is no bundle, it is broken, or it reconstructs no columns.
        ConfigError: It has no column in common with the recipe, or reads one otherwise.
    """
    data = recipe.data
    if data.impute is None:
        return None
    bundle = load(data.impute, device=recipe.training.device)
    try:
        reconstructed = reconstructed_by(bundle)
    except BundleError as error:
        raise BundleError(f"data.impute: {error}") from None
    known = dict.fromkeys(column.source for column in bundle.processor.columns.values())
    inputs = dict.fromkeys(column.source(name) for name, column in data.columns.items())
    answers, lies_in = _answers(recipe)
    _check_kinds(data, bundle, tables["train"])
    imputations: dict[str, str] = {}
    not_imputed: dict[str, str] = {}
    for member in reconstructed:
        processor = bundle.processor.columns[member]
        if processor.source in inputs and processor.source not in imputations:
            why = _why_not(bundle, member, answers, lies_in, media=data.impute_media)
            if why is None:
                imputations[processor.source] = member
                not_imputed.pop(processor.source, None)
            else:
                not_imputed[processor.source] = why
    reads = [name for name in known if name in inputs and name not in answers]
    if not imputations:
        raise ConfigError(
            f"data.impute: {data.impute} imputes none of the input columns ({', '.join(map(repr, inputs))}); it "
            f"reconstructs {', '.join(repr(bundle.processor.columns[member].source) for member in reconstructed)}",
            *(f"  {name}: {why}" for name, why in not_imputed.items()),
        )
    for name, member in imputations.items():
        if reason := shift(bundle.processor.columns[member], tables["train"]):
            _log.warning("data.impute: column %r: %s", name, reason.replace("its encoder", "the imputer"))
    imputer = Imputer(bundle, imputations=imputations, reads=reads)
    report = {
        "bundle": data.impute,
        **imputer.as_json(),
        "left_alone": not_imputed,
        "hidden": [name for name in known if name not in reads],
        "seen": dict(_seen(bundle, tables)),
    }
    for line in _facts(report):
        _log.info("data.impute: %s", line)
    for line in _warnings(report):
        _log.warning("data.impute: %s", line)
    return Imputing(imputer=imputer, report=report)


def keep_imputer(imputing: Imputing | None, folder: Path) -> None:
    """Writes an imputer into the folder of a run that begins, so that it can go on without the imputing bundle."""
    if imputing is not None:
        imputing.imputer.reconstructor.save(folder / "bundle" / IMPUTER)
        write_json(folder / FILE, {**imputing.report, "bundle": path_from(folder, imputing.report["bundle"])})


def imputing_again(recipe: Recipe, folder: Path) -> Imputing | None:
    """The imputer of a run that is resumed.

    Raises:
        CheckpointError: The run began with another one.
    """
    path, named = folder / FILE, recipe.relative_to(folder).data.impute
    try:
        report: dict[str, Any] = read_json(path, dict) if path.exists() else {"bundle": None}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read, so the run can't be resumed: {error}") from error
    if report["bundle"] != named:
        raise CheckpointError(
            f"{folder}: data.impute was {report['bundle']} when the run began, and is now {named}; resume it as it "
            "was, or start a new run"
        )
    if named is None:
        return None
    bundle = load(folder / "bundle" / IMPUTER, device=recipe.training.device)
    return Imputing(imputer=Imputer(bundle, imputations=report["imputations"], reads=report["reads"]), report=report)


def described(imputing: Imputing, tables: Mapping[str, Table]) -> dict[str, Any]:
    """What a bundle remembers of its imputer: the report, and per split and column the cells filled and missing."""
    counts = {split: imputing.imputer.counts(table) for split, table in tables.items()}
    for split, columns in counts.items():
        parts = [f"{name} {done:,} of {missing:,}" for name, (done, missing) in columns.items()]
        _log.info("data.impute: missing cells imputed in %s: %s", split, ", ".join(parts))
    cells = {split: {name: list(pair) for name, pair in columns.items()} for split, columns in counts.items()}
    return {**imputing.report, "cells": cells, "lines": [*_facts(imputing.report), *_warnings(imputing.report)]}


def rows_sketched(bundle: Bundle, table: Table) -> dict[str, Any] | None:
    """What a bundle remembers of its training rows; None where it reconstructs no columns, and so may not be an
    imputer."""
    if not any(task(target.task).reconstructs_columns for target in bundle.schema.targets):
        return None
    kinds = {column.table_column: column.modality for column in bundle.schema.columns}
    return RowSketch.of(table, kinds).as_json()


def _answers(recipe: Recipe) -> tuple[set[str], set[str]]:
    """The table's columns that targets are made of, or are kept from; and those that targets lie in."""
    data = recipe.data
    answers: set[str] = set()
    lies_in: set[str] = set()
    columns = {name: data.column_processor(name) for name in data.columns}
    for name, target in data.targets.items():
        answers |= {*target.sources(name)}
        processor = target.build(name)
        processor.attach(columns)
        if processor.over is not None:
            lies_in.add(columns[processor.over].source)
        lies_in |= {*processor.prompt_columns}
        answers |= {columns[hidden].source for hidden in recipe.model.heads[name].excluded}
    return answers, lies_in


def _why_not(bundle: Bundle, member: str, answers: set[str], lies_in: set[str], *, media: bool) -> str | None:
    """Why a column is not filled."""
    processor = bundle.processor.columns[member]
    if processor.source in answers:
        return "a target is made of it, or is kept from reading it"
    if processor.source in lies_in:
        return "a target is aligned with its cells, or is conditioned on them"
    why = why_not_imputed(bundle, member)
    if why is None and processor.is_media and not media:
        return f"is {processor.column.modality}, which is an input and is imputed only with data.impute_media=true"
    return why


def _check_kinds(data: DataConfig, bundle: Bundle, table: Table) -> None:
    """Checks that what both read is read alike.

    Raises:
        ConfigError: It is not.
    """
    for name, column in data.columns.items():
        source = column.source(name)
        there = {part.config.type: part for part in bundle.processor.columns.values() if part.source == source}
        if not there:
            continue
        if column.type in there:
            cells = [cell for cell in table.cells(source) if cell is not None] if table.has(source) else []
            why = there[column.type].conflict(cells[:_NUM_SAMPLED]) if cells else None
        else:
            why = f"it is {' and '.join(there)} there and {column.type} here"
        if why is not None:
            raise ConfigError(
                f"data.impute: {bundle.folder}: column {source!r} means something else: {why}; set "
                f"data.columns.{name} as it is there, or train the imputer on cells like these"
            )


def _seen(bundle: Bundle, tables: Mapping[str, Table]) -> Iterator[tuple[str, list[int]]]:
    """Per held-out split the rows that could be looked up, and how many of them the imputer was trained on."""
    remembered = bundle.info.get("seen_rows")
    if remembered is None:
        return
    rows = RowSketch.from_json(remembered)
    for split in _HELD_OUT:
        if split in tables:
            looked_up, seen = rows.count(tables[split], tables["train"])
            if seen:
                yield split, [looked_up, seen]


def _facts(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    yield f"{Path(report['bundle']).name} imputes {', '.join(report['imputations'])} from {', '.join(report['reads'])}"
    for name, why in report["left_alone"].items():
        yield f"{name} is not imputed: {why}"
    if report["hidden"]:
        yield f"masked for it: {', '.join(report['hidden'])}"


def _warnings(report: Mapping[str, Any]) -> Iterator[str]:
    for split, (looked_up, seen) in report["seen"].items():
        yield (
            f"it was trained on {seen} of the {looked_up} {split} rows that were looked up, so figures on these rows "
            "may be better than on new ones; train both on one split: a split column, or the same data.split with "
            "data.split.stratify=false and the same seed"
        )
