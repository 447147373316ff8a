"""Labels brought out: the table with its labels beside it, or the tasks of Label Studio; and tasks taken in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from polysense.core.files import named_path, write_text
from polysense.core.json import JsonValue, json_text
from polysense.data.tables.frame_file import frame_file, write_frame
from polysense.data.tables.sources import read_raw
from polysense.errors import ConfigError, TableError
from polysense.escaping import defused
from polysense.workflows.imputation.imputed_table import ImputedTable, typed
from polysense.workflows.labeling.label import PreparedLabeling, prepare_labeling
from polysense.workflows.labeling.label_studio import label_studio_tasks, read_label_studio
from polysense.workflows.labeling.store import JOURNAL, LabelStore

__all__ = ["ExportedLabels", "ImportedLabels", "export_labels", "import_labels"]

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_DELIMITED = (".csv", ".tsv")
_ORIGINAL = "original"
_MARK = "\0labels"


@dataclass(frozen=True, kw_only=True)
class ExportedLabels:
    """What was written.

    Attributes:
        path: The file.
        num_rows: Of the table.
        num_labels: Rows whose label comes from annotators.
        num_differing: Rows that are left without one, since annotators differ and nobody settled it.
        num_orphans: Labeled rows that are no longer in the table.
        original: The column with what the table had where annotators say otherwise; None where they don't.
    """

    path: Path
    num_rows: int
    num_labels: int
    num_differing: int
    num_orphans: int
    original: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportedLabels:
    """What was taken in.

    Attributes:
        num_new: Decisions that were not known.
        num_known: Decisions that were.
        unmatched: Tasks that are no row of the table, or whose answer is no label, with the reason.
    """

    num_new: int
    num_known: int
    unmatched: tuple[str, ...]


def export_labels(source: Any, path: str | Path, *, target: str, **settings: Any) -> ExportedLabels:
    """Writes a table with its labels beside it; the table itself stays as it is. Others may label meanwhile.

    A cell that the table has stays, unless annotators say otherwise: then their label takes its place, and a column
    TARGET_original has what was there. A row on which they differ gets what most of them say, or nothing.

    Args:
        source: The table.
        path: .csv, .tsv, .jsonl or .parquet; or .json for tasks of Label Studio, every annotator's answers in them.
        target: The column of labels.
        **settings: As of `prepare_labeling`.

    Raises:
        TableError: The table can't be read, the file can't be written, or nobody labeled anything.
        ConfigError: The file would take the table's place.
    """
    path = named_path(path, "export")
    if isinstance(source, (str, Path)) and path.exists() and Path(source).exists() and path.samefile(source):
        raise ConfigError(f"{path}: is the table itself, which is never changed; name another file")
    prepared = prepare_labeling(source, target=target, **settings)
    if not (prepared.folder / JOURNAL).exists():
        raise TableError(f"{prepared.folder}: holds no labels yet; label some rows, or name the folder with -o")
    decisions = LabelStore.read(prepared.folder, prepared.header, prepared.editor).decisions
    rows = {key: row for row, key in enumerate(prepared.keys)}
    outcomes = {rows[key]: decisions.outcome(key) for key in decisions.keys if key in rows}
    labels = {row: outcome.value for row, outcome in sorted(outcomes.items()) if outcome.state == "labeled"}
    original = None
    if path.suffix.lower() == ".json":
        write_text(path, json_text(label_studio_tasks(prepared, decisions), indent=1) + "\n")
    else:
        original = _write_table(source, path, prepared, labels, settings.get("root"))
    return ExportedLabels(
        path=path,
        num_rows=len(prepared.table),
        num_labels=len(labels),
        num_differing=sum(outcome.state == "differ" for outcome in outcomes.values()),
        num_orphans=sum(key not in rows for key in decisions.keys),
        original=original,
    )


def _write_table(
    source: Any, path: Path, prepared: PreparedLabeling, labels: Mapping[int, JsonValue], root: str | Path | None
) -> str | None:
    table, target, ending = prepared.table, prepared.header.target, path.suffix.lower()
    raw = read_raw(source, root=root).frame if not isinstance(source, type(table)) else table.frame
    column = raw[target] if target in raw.columns else None
    cells: dict[int, Any] = {}
    for row, label in labels.items():
        cell = prepared.editor.cell(label)
        if isinstance(cell, str) and prepared.editor.control == "text_field" and ending in _DELIMITED:
            cell = defused(cell)  # a spreadsheet would compute it
        cells[row] = typed(column, cell, cell)
    original = None
    if column is not None:
        there = column.to_list()
        given = {row for row in cells if there[row] not in (None, "")}
        changed = {row for row in given if _differs(prepared, there[row], labels[row])}
        for row in given - changed:
            del cells[row]  # the same label, in the table's own spelling
        if changed:
            original = _free_name(f"{target}_{_ORIGINAL}", raw.columns)
            raw = raw.with_columns(column.alias(original))
    filled = ImputedTable(raw=raw, cells={target: cells}, mark=_MARK).at(path.absolute().parent, table.root)
    with frame_file(path, _TABLES) as part:
        try:
            write_frame(filled.frame.drop(_MARK), part, ending, csv_safe=False, lists_as_texts=True)
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{path}: can't be written: {error}; .parquet holds every kind of cell") from None
    return original


def _differs(prepared: PreparedLabeling, cell: object, label: JsonValue) -> bool:
    try:
        return json_text(prepared.editor.read(cell)) != json_text(label)
    except (ConfigError, TableError, ValueError):
        return True


def _free_name(name: str, taken: list[str]) -> str:
    number = 2
    result = name
    while result in taken:
        result, number = f"{name}_{number}", number + 1
    return result


def import_labels(source: Any, path: str | Path, *, target: str, **settings: Any) -> ImportedLabels:
    """Takes in the answers of Label Studio's tasks; those that were taken in before count once.

    Args:
        source: The table.
        path: Label Studio's JSON export.
        target: The column of labels.
        **settings: As of `prepare_labeling`.

    Raises:
        LockedError: The labels are open elsewhere.
        TableError: The table or the file can't be read.
    """
    prepared = prepare_labeling(source, target=target, **settings)
    decisions, unmatched = read_label_studio(named_path(path, "import"), prepared)
    with LabelStore.opened(prepared.folder, prepared.header, prepared.editor) as store:
        num_new = sum(store.append(decision) for decision in decisions)
    return ImportedLabels(num_new=num_new, num_known=len(decisions) - num_new, unmatched=tuple(unmatched))
