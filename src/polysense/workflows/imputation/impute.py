"""Missing cells, filled by a model that reconstructs columns from each other.

Only what is missing is written, in the table's own terms, and a column says what was filled: a table may be filled and
used without losing what was measured and what was not. A cell that can't be read is not missing: somebody has to look
at it. A row with nothing at all has nothing to be filled from, and stays as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path, write_bytes
from polysense.core.sample import Unreadable
from polysense.core.schema import Target
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table, normalized, read_raw
from polysense.errors import BundleError, ConfigError, TableError
from polysense.escaping import joined
from polysense.imputer import missing_cells, reconstructed_batches, reconstructed_columns
from polysense.workflows.imputation.imputed_table import ImputedTable, check_mark, typed

__all__ = ["MARK", "Imputed", "impute", "reconstructed_by", "why_not_imputed"]

MARK = "imputed"
"""The column that says which cells of a row were filled."""

_SAFE = re.compile(r"[^\w.-]+")
_MAX_LISTED = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class Imputed:
    """A table with its missing cells imputed, and what was done to it.

    Attributes:
        table: The table's name.
        imputed: The cells as they stood, and what imputes the missing ones.
        root: The folder that its paths start from.
        missing: Per column that the model reconstructs, how many cells were missing; with those that could not be read
            where these are filled too.
        is_report: Whether nothing was to be written: the numbers are those of an imputation, and no image was made.
        refused: Columns with missing cells that can't be filled, and why.
        empty_rows: Rows with something to fill and nothing to fill it from.
        undecided: Per column, cells that the model had nothing to write for, such as a text without a word.
        skills: Per column how much smaller the model's error was than the training mean's, in its own evaluation.
        unreadable: Cells that could not be read, of the rows that had something to fill.
    """

    table: str
    imputed: ImputedTable
    missing: Mapping[str, int]
    root: Path = field(default_factory=Path)
    is_report: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    empty_rows: tuple[int, ...] = ()
    undecided: Mapping[str, int] = field(default_factory=dict)
    skills: Mapping[str, float] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()

    @cached_property
    def frame(self) -> polars.DataFrame:
        """The imputed table, with the column `imputed`: per row the names of the columns that were filled."""
        return self.imputed.frame

    @property
    def counts(self) -> dict[str, int]:
        """Per column how many cells were imputed."""
        return {name: len(cells) for name, cells in self.imputed.cells.items()}

    def write(self, path: Path | str, *, csv_safe: bool = True) -> None:
        """Writes the table as .csv, .tsv, .jsonl or .parquet; cells that were there stand as they stood.

        In another folder than the one that its paths start from, relative paths of files that are there are rewritten,
        so that they lead to the same files.

        Args:
            path: The file.
            csv_safe: Whether imputed texts in .csv and .tsv that a spreadsheet would take for a formula get an
                apostrophe in front.

        Raises:
            ConfigError: Only a report was asked for.
            TableError: The ending is none of these, or the file can't be written.
        """
        if self.is_report:
            raise ConfigError("nothing was imputed, since only a report was asked for; there is nothing to write")
        path = named_path(path)
        self.imputed.at(path.absolute().parent, self.root).write(path, csv_safe=csv_safe)

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return {
            "table": self.table,
            "num_rows": len(self.imputed.raw),
            "columns": {
                name: {"missing": count, "filled": self.counts.get(name, 0), "skill": self.skills.get(name)}
                for name, count in self.missing.items()
            },
            "refused": dict(self.refused),
            "empty_rows": list(self.empty_rows),
            "unreadable": [cell.as_dict() for cell in self.unreadable],
        }

    def text(self) -> str:
        """For people."""
        lines = [f"{self.table}: {len(self.imputed.raw):,} rows"]
        for name, count in self.missing.items():
            what = "would be imputed" if self.is_report else "imputed"
            line = f"  {name}: {self.counts.get(name, 0):,} of {count:,} missing cells {what}"
            if self.undecided.get(name):
                line += f", {self.undecided[name]:,} left missing: the model generates an empty text"
            lines.append(line + self._worth(name))
        lines += [f"  {name}: not imputed: {why}" for name, why in self.refused.items()]
        if self.empty_rows:
            listed = ", ".join(map(str, self.empty_rows[:_MAX_LISTED]))
            more = ", ..." if len(self.empty_rows) > _MAX_LISTED else ""
            lines.append(f"  {len(self.empty_rows):,} rows have no present cell and are left unchanged: {listed}{more}")
        if not any(self.missing.values()):
            lines.append("  nothing is missing")
        return joined(lines)

    def _worth(self, name: str) -> str:
        skill = self.skills.get(name)
        if skill is None or not math.isfinite(skill) or not self.counts.get(name):
            return ""
        if skill <= 0:
            return " (no better than the training mean, by the model's own evaluation)"
        return f" (error {100 * skill:.0f}% below the training mean's, by the model's own evaluation)"


def impute(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    columns: Sequence[str] | None = None,
    root: str | Path | None = None,
    media: str | Path | None = None,
    unreadable: Literal["keep", "fill"] = "keep",
    only_report: bool = False,
    draw: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Imputed:
    """Fills a table's missing cells from what its rows have.

    Args:
        bundle: A bundle that reconstructs columns (`--task reconstruction`), or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        columns: Which columns; by default all that the model reconstructs and the table has. One that the table lacks
            is added if it is named.
        root: The folder that media paths are relative to; by default the table's own.
        media: A folder for the images (PNG) that are made, where the table names files; made if it is not there.
        unreadable: Whether cells that can't be read stay as they are and are listed, or are filled too.
        only_report: Count what would be imputed, with the same numbers, and make no file.
        draw: Seed by which each row's cells are drawn from a variational model's distribution, the row's number
            deciding the draw; None takes the distribution's mean. Rows that are alike get different cells: of rows
            that hold a label alone, made-up rows of that class.
        progress: Called with the rows that are done and the rows there are.

    Raises:
        BundleError: The model reconstructs no columns.
        TableError: The table can't be read, or has none of the model's columns.
        ConfigError: A named column is not reconstructed or can't be written, or the model can't be drawn from.
    """
    if unreadable not in ("keep", "fill"):
        raise ConfigError(f"unreadable: found {unreadable!r}, expected keep or fill")
    loaded = as_bundle(bundle)
    reconstructed = reconstructed_by(loaded)
    if (loaded.recipe.get("data") or {}).get("tables"):
        raise ConfigError("impute: the model's tables were joined, and a table is imputed alone; join them first")
    if draw is not None:
        _require_drawn(loaded, reconstructed)
    raw = source if isinstance(source, Table) else read_raw(source, root=root)
    check_mark(raw.frame, MARK, raw.name)
    table = normalized(raw)
    folder = None if media is None else Path(media)
    if folder is None and only_report:
        folder = table.root  # where images would go does not change their number
    chosen, refused = _chosen(loaded, reconstructed, table, raw.frame, columns, folder)
    absent = {cell.name: missing_cells(table, cell.name) for cell in chosen}
    missing = {name: int(cells.sum()) for name, cells in absent.items()}
    looked_at = np.arange(len(table))
    if unreadable == "keep":
        looked_at = np.flatnonzero(np.any([np.zeros(len(table), dtype=bool), *absent.values()], axis=0))
    cells: dict[str, dict[int, Any]] = {cell.name: {} for cell in chosen}
    undecided: dict[str, int] = {}
    empty: list[int] = []
    broken_cells: list[Unreadable] = []
    part = table.select(looked_at)
    for batch, made_cells in reconstructed_batches(loaded, part, progress, draw):
        broken_cells += batch.unreadable
        rows = [(index, int(looked_at[row])) for index, row in enumerate(batch.rows.tolist()) if row >= 0]
        present = batch.presence(batch.columns).any(dim=1)
        broken = {(cell.source.row, cell.source.column) for cell in batch.unreadable}
        for index, row in rows:
            unread = [cell for cell in chosen if (int(table.rows[row]), cell.member) in broken]
            lacks = [cell for cell in chosen if absent[cell.name][row] or (unreadable == "fill" and cell in unread)]
            for cell in lacks:
                missing[cell.name] += cell in unread
            if lacks and not present[index]:
                empty.append(row)
                continue
            for cell in lacks:
                column = raw.frame[cell.name] if table.has(cell.name) else None
                made = cell.made(
                    made_cells[cell.member][index, ...], column, row, table.root, is_written=not only_report
                )
                if made is None:
                    undecided[cell.name] = undecided.get(cell.name, 0) + 1
                else:
                    cells[cell.name][row] = made
    return Imputed(
        table=table.name,
        imputed=ImputedTable(
            raw=raw.frame,
            cells={name: imputed for name, imputed in cells.items() if imputed},
            mark=MARK,
            source=Path(source).expanduser() if isinstance(source, (str, Path)) else None,
        ),
        root=table.root,
        missing=missing,
        is_report=only_report,
        refused=refused,
        empty_rows=tuple(sorted(empty)),
        undecided=undecided,
        skills={cell.name: skill for cell in chosen if (skill := _skill(loaded, cell)) is not None},
        unreadable=tuple(sorted(broken_cells, key=lambda one: (one.source.row, one.source.column))),
    )


def reconstructed_by(bundle: Bundle) -> dict[str, Target]:
    """The input columns that a model reconstructs, and the target that each is reconstructed by.

    Raises:
        BundleError: There are none.
    """
    reconstructed = reconstructed_columns(bundle.schema)
    if not reconstructed:
        tasks = ", ".join(f"{target.name} ({target.task})" for target in bundle.schema.targets)
        where = "the model" if bundle.folder is None else str(bundle.folder)
        raise BundleError(
            f"{where}: reconstructs no columns, so it can impute none (its targets: {tasks}); train a reconstruction "
            "model: polysense train TABLE --task reconstruction"
        )
    return reconstructed


def _require_drawn(bundle: Bundle, reconstructed: Mapping[str, Target]) -> None:
    """Refuses to draw from a model whose code is a point.

    Raises:
        ConfigError: It is.
    """
    for target in dict.fromkeys(target.name for target in reconstructed.values()):
        if not bundle.model.by_target()[target].can_be_drawn:
            raise ConfigError(
                f"draw: the head of target {target!r} gives one answer and no distribution to draw from; train with "
                f"model.heads.{target}.variational=true, or leave draw out"
            )


def why_not_imputed(bundle: Bundle, member: str) -> str | None:
    """Why no cell can be made of what a model reconstructs of an input column, whatever the table; None if one can."""
    processors = bundle.processor.columns
    own = processors[member]
    if own.why_unwritten is not None or not own.is_media:
        return own.why_unwritten
    # A video's images and its audio are two inputs: neither alone is the cell.
    kinds = [each.column.modality for each in processors.values() if each.source == own.source]
    other = next((kind for kind in kinds if kind is not own.column.modality), None)
    return None if other is None else f"its cells are read as {other} too, which a file of {own.column.modality} is not"


@dataclass(frozen=True, eq=False)
class _Fillable:
    """A column of the table that can be filled.

    Attributes:
        name: The table's column.
        member: The input column that it is read as.
        target: The target that reconstructs it.
        processor: Its fitted preprocessing.
        folder: Where its images go, where the table names files.
        stem: What their names begin with.
    """

    name: str
    member: str
    target: Target
    processor: ColumnProcessor
    folder: Path | None
    stem: str

    def made(self, array: np.ndarray, column: polars.Series | None, row: int, root: Path, *, is_written: bool) -> Any:
        """The cell, with its file if it names one that is to be written; None where there is nothing to write."""
        spelled = self.processor.restore(array)
        if spelled is None:
            return None
        if isinstance(spelled, bytes) and (column is None or not _holds_files(column)):
            assert self.folder is not None
            name = f"{self.stem}-{row}.png"
            return _as_file(spelled, self.folder, name, root) if is_written else name
        plain = spelled if isinstance(spelled, (bytes, list)) else self.processor.restore(array, spelled=False)
        return typed(column, spelled, plain)


def _chosen(
    bundle: Bundle,
    reconstructed: Mapping[str, Target],
    table: Table,
    frame: polars.DataFrame,
    requested: Sequence[str] | None,
    folder: Path | None,
) -> tuple[list[_Fillable], dict[str, str]]:
    """The columns to fill, and those with missing cells that can't be, with the reason."""
    processors = bundle.processor.columns
    sources = {member: processors[member].source for member in reconstructed}
    if requested is not None:
        known = {*sources, *sources.values()}
        if unknown := [name for name in requested if name not in known]:
            raise ConfigError(
                f"columns: {unknown[0]!r} is none of those that the model reconstructs: {', '.join(map(repr, sources))}"
            )
    elif not any(table.has(name) for name in {c.table_column for c in bundle.schema.columns}):
        names = ", ".join(repr(column.table_column) for column in bundle.schema.columns)
        raise TableError(
            f"{table.name}: has none of the model's columns ({names}); its own are "
            f"{', '.join(map(repr, table.names)) or 'none'}"
        )
    chosen: list[_Fillable] = []
    refused: dict[str, str] = {}
    for member, name in sources.items():
        is_named = requested is not None and (member in requested or name in requested)
        if (requested is not None and not is_named) or (requested is None and not table.has(name)):
            continue
        if any(other.name == name for other in chosen):
            continue  # two inputs are read from one column: the first is written
        why = why_not_imputed(bundle, member) or _why_not(processors[member], frame, name, folder)
        if why is None:
            stem = f"{_SAFE.sub('_', name)[:60]}-{len(chosen)}" if len(sources) > 1 else _SAFE.sub("_", name)[:60]
            chosen.append(_Fillable(name, member, reconstructed[member], processors[member], folder, stem))
        elif is_named:
            raise ConfigError(f"{table.name}, column {name!r}: can't be imputed: {why}")
        elif any(value is None for value in table.cells(name)):
            refused[name] = why
    for column in bundle.schema.columns:
        name = column.table_column
        if requested is not None or name in sources.values() or not table.has(name):
            continue
        if any(value is None for value in table.cells(name)):
            refused[name] = processors[column.name].why_unwritten or "the model reads it but does not reconstruct it"
    return chosen, {name: why for name, why in refused.items() if all(cell.name != name for cell in chosen)}


def _why_not(processor: ColumnProcessor, frame: polars.DataFrame, name: str, folder: Path | None) -> str | None:
    if not processor.is_media:
        return None
    if name in frame.columns and _holds_files(frame[name]):
        kind = frame[name].dtype
        if isinstance(kind, polars.Struct) and all(part.name != "bytes" for part in kind.fields):
            return f"its cells are made of {', '.join(part.name for part in kind.fields)}, not of a file's bytes"
        return None
    if folder is not None:
        return None
    return "its cells name files, and no folder for images is given (media)"


def _holds_files(column: polars.Series) -> bool:
    return isinstance(column.dtype, polars.Binary | polars.Struct)


def _as_file(content: bytes, folder: Path, name: str, root: Path) -> str:
    """Writes a file; its path as a cell of the table names it."""
    path = folder.absolute() / name
    try:
        write_bytes(path, content, durable=False)  # thousands of small files, which can be made again
    except OSError as error:
        raise TableError(f"{path}: can't be written: {error.strerror or error}") from error
    # Relative to where the table's other paths start from, which may not be where the imputed table will stand.
    root = root.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _skill(bundle: Bundle, cell: _Fillable) -> float | None:
    """What the model's own evaluation says of filling a column, on the test rows where there are any."""
    metrics = bundle.info.get("metrics") or {}
    for split in ("test", "validation"):
        skill = metrics.get(split, {}).get(cell.target.name, {}).get(f"imputed_skill/{cell.member}", {}).get("value")
        if skill is not None:
            return float(skill)
    return None
