"""A table with some of its missing cells imputed, written so that every other cell stays as it stood.

A cell that was there is never read and spelled anew: of a CSV file each field's text is written again, of JSON Lines
each line stays and only the new values are put into it, and columns of Parquet and Arrow keep their types. What imputes
a cell is brought to the type of its column, so a imputed column is used as before.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from polysense.core.files import relative_path
from polysense.core.json import parse_json
from polysense.core.unicode_text import mended
from polysense.data.media.file_names import existing
from polysense.data.media.sniff import kind_of_path
from polysense.data.tables.delimited import open_text
from polysense.data.tables.frame_file import frame_file
from polysense.data.values.cells import MEDIA, as_series, clean
from polysense.errors import TableError
from polysense.escaping import defused

__all__ = ["ENDINGS", "ImputedTable", "check_mark", "typed"]

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""What can be written."""

_JSON_LINES = (".jsonl", ".ndjson")
_decoder = json.JSONDecoder()
_PATH = pl.Struct({"path": pl.String})


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ImputedTable:
    """A table and what imputes some of its cells.

    Attributes:
        raw: The cells as they stood, of the types that their container gave them.
        cells: Per column and row what imputes it, of the column's type, see `typed`.
        mark: The column that says which cells of a row were filled.
        source: The file that the table was read from, if it was one.
        moved: Per column and row the cells that name files and read otherwise where the table is written, see `at`.
    """

    raw: pl.DataFrame
    cells: Mapping[str, Mapping[int, Any]]
    mark: str = "imputed"
    source: Path | None = None
    moved: Mapping[str, Mapping[int, Any]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> list[list[str]]:
        """Per row the columns that were filled, in the table's order; those of an earlier filling come first."""
        imputed: list[list[str]] = [[] for _ in range(len(self.raw))]
        if self.mark in self.raw.columns:
            imputed = [_earlier(cell) or [] for cell in self.raw[self.mark].to_list()]
        order = [name for name in self.raw.columns if name in self.cells]
        for name in [*order, *(name for name in self.cells if name not in order)]:
            for row in self.cells[name]:
                if name not in imputed[row]:
                    imputed[row].append(name)
        return imputed

    @property
    def frame(self) -> pl.DataFrame:
        """The whole table, filled, with the column `mark`."""
        columns = [
            _filled(series, {**self.cells.get(series.name, {}), **self.moved.get(series.name, {})})
            for series in self.raw
            if series.name != self.mark
        ]
        for name, cells in self.cells.items():
            if name not in self.raw.columns:
                there = {**cells, **self.moved.get(name, {})}
                columns.append(as_series(name, [there.get(row) for row in range(len(self.raw))], "the imputed table"))
        return pl.DataFrame([*columns, pl.Series(self.mark, self.names, dtype=pl.List(pl.String))])

    def at(self, folder: Path, root: Path) -> ImputedTable:
        """The table as it reads from another folder: relative paths of files that are there lead to them from there.

        Args:
            folder: Where it will stand.
            root: The folder that its paths start from now.
        """
        if os.path.realpath(folder) == os.path.realpath(root):
            return self
        moved: dict[str, dict[int, Any]] = {}
        for series in self.raw:
            if series.name != self.mark and series.dtype in (pl.String, pl.List(pl.String), MEDIA, _PATH):
                rows = {row: new for row, cell in enumerate(series.to_list()) if (new := _moved(cell, folder, root))}
                moved[series.name] = rows
        for name, cells in self.cells.items():
            rows = {row: new for row, cell in cells.items() if (new := _moved(cell, folder, root, anywhere=True))}
            moved[name] = {**moved.get(name, {}), **rows}
        return dataclasses.replace(self, moved={name: rows for name, rows in moved.items() if rows})

    def write(self, path: Path, *, csv_safe: bool = True) -> None:
        """Writes the table; a reader never sees half of it.

        Args:
            path: The file.
            csv_safe: Whether imputed texts in .csv and .tsv are defused.

        Raises:
            TableError: The ending is none of `ENDINGS`, a column can't be written so, or the file can't be written.
        """
        ending = path.suffix.lower()
        try:
            with frame_file(path, ENDINGS) as part:
                if ending in (".csv", ".tsv"):
                    self._write_delimited(part, "," if ending == ".csv" else "\t", csv_safe)
                elif ending in _JSON_LINES:
                    self._write_lines(part)
                else:
                    self.frame.write_parquet(part)
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{path}: can't be written: {error}; .parquet holds every kind of cell") from None

    def _write_delimited(self, part: Path, delimiter: str, csv_safe: bool) -> None:
        frame = self.frame
        columns = [list(_as_texts(series)) for series in frame]
        for name, cells in self.cells.items() if csv_safe else ():
            texts = columns[frame.columns.index(name)]
            for position in cells:
                texts[position] = defused(texts[position])
        with part.open("w", encoding="utf-8", newline="") as stream:
            for row in [tuple(frame.columns), *zip(*columns, strict=True)]:
                stream.write(delimiter.join(_quoted(text, delimiter) for text in row) + "\n")

    def _write_lines(self, part: Path) -> None:
        lines = None if self.source is None else _lines_of(existing(self.source))
        if lines is None:
            self.frame.write_ndjson(part)
            return
        with part.open("w", encoding="utf-8", newline="") as stream:
            for row, (line, names) in enumerate(zip(lines, self.names, strict=True)):
                changes = {
                    name: cells[row]
                    for part in (self.cells, self.moved)
                    for name, cells in part.items()
                    if row in cells
                }
                stream.write(_changed(line, {**changes, self.mark: names}) + "\n")


def _moved(cell: Any, folder: Path, root: Path, *, anywhere: bool = False) -> Any:
    """A cell whose paths lead to the same files from another folder; None where it names no file that is there."""
    if isinstance(cell, dict):
        path = _moved(cell.get("path"), folder, root, anywhere=anywhere)
        return None if path is None else {**cell, "path": path}
    if isinstance(cell, list):
        parts = [_moved(part, folder, root, anywhere=anywhere) for part in cell]
        return None if all(part is None for part in parts) else [n or old for n, old in zip(parts, cell, strict=True)]
    if not isinstance(cell, str):
        return None
    if cell.strip()[:1] == "[":
        listed = clean(cell)
        moved = _moved(listed, folder, root) if isinstance(listed, list) else None
        return None if moved is None else json.dumps(moved, ensure_ascii=False)
    named = Path(cell.strip().replace("\\", "/"))
    if (
        kind_of_path(cell) is None
        or "://" in cell
        or named.parts[:1] == ("~",)
        or (named.is_absolute() and not anywhere)
    ):
        return None
    file = root / named
    return relative_path(file, folder) if os.path.lexists(file) else None


def _earlier(cell: Any) -> list[str] | None:
    """The columns that an earlier filling names; None if the cell is no such list."""
    if cell is None or cell == "":
        return []
    if isinstance(cell, str):
        try:
            cell = parse_json(cell, object)
        except ValueError:
            return None
    return list(cell) if isinstance(cell, list) and all(isinstance(name, str) for name in cell) else None


def check_mark(frame: pl.DataFrame, mark: str, where: str) -> None:
    """Checks that a column that says what was filled says nothing else.

    Raises:
        TableError: It holds other things.
    """
    if mark in frame.columns and any(_earlier(cell) is None for cell in frame[mark].to_list()):
        raise TableError(f"{where}: has a column {mark!r} of its own, which imputation would write; rename it")


def typed(column: pl.Series | None, spelled: Any, plain: Any) -> Any:
    """A cell as a column of its type holds it.

    Args:
        column: The column; None for one that the table does not have yet.
        spelled: The cell as the training table spelled it, or a file's bytes.
        plain: The cell as a plain value.
    """
    if column is None or isinstance(column.dtype, pl.Null):
        return plain
    kind = column.dtype
    if isinstance(spelled, bytes):
        return spelled if isinstance(kind, pl.Binary) else {"bytes": spelled, "path": None}
    if isinstance(spelled, list):
        return spelled if isinstance(kind, pl.List) else json.dumps(spelled, ensure_ascii=False)
    if isinstance(kind, pl.Boolean):
        return str(plain).lower() in ("true", "1") if isinstance(plain, str) else plain >= 0.5
    if isinstance(kind, pl.Decimal):
        return decimal.Decimal(str(plain)).quantize(decimal.Decimal(1).scaleb(-kind.scale))
    if kind.is_integer():
        return min(max(round(float(plain)), column.lower_bound().item()), column.upper_bound().item())
    if kind.is_float():
        return float(plain)
    if isinstance(kind, pl.Duration):
        return datetime.timedelta(seconds=float(plain))
    if isinstance(kind, pl.Date):
        return datetime.datetime.fromisoformat(str(plain)).date()
    if isinstance(kind, pl.Datetime):
        moment = datetime.datetime.fromisoformat(str(plain))
        return moment if kind.time_zone is None else moment.replace(tzinfo=datetime.UTC)
    if isinstance(kind, pl.Time):
        return datetime.time.fromisoformat(str(plain))
    return str(spelled).encode() if isinstance(kind, pl.Binary) else str(spelled)


def _filled(series: pl.Series, cells: Mapping[int, Any]) -> pl.Series:
    if not cells:
        return series
    values = [cells.get(row) for row in range(len(series))]
    if isinstance(series.dtype, pl.Null):
        return as_series(series.name, values, "the imputed table")
    if isinstance(series.dtype, pl.Enum | pl.Categorical):
        series = series.cast(pl.String)  # a filled category may be none of those that an Enum names
    there = pl.Series([row in cells for row in range(len(series))])
    return pl.Series(series.name, values, dtype=series.dtype, strict=False).zip_with(there, series)


def _as_texts(series: pl.Series) -> Sequence[str]:
    """A column's cells as a file of text holds them, "" where missing."""
    kind = series.dtype
    if isinstance(kind, pl.Binary) or (isinstance(kind, pl.Struct) and kind == MEDIA):
        raise pl.exceptions.ComputeError(f"column {series.name!r} holds files, which are no text")
    if kind.is_nested():
        return ["" if cell is None else json.dumps(cell, ensure_ascii=False, default=str) for cell in series.to_list()]
    texts = series if kind == pl.String else series.cast(pl.String)
    return ["" if cell is None else cell for cell in texts.to_list()]


def _quoted(text: str, delimiter: str) -> str:
    if any(mark in text for mark in (delimiter, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text


def _lines_of(path: Path) -> Iterator[str] | None:
    """A JSON file's objects as they are written, one by one; None for another file."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    if suffix in _JSON_LINES:
        return _stripped(path)
    if suffix != ".json":
        return None
    with open_text(path) as stream:
        text = stream.read()
    try:
        value = json.loads(text)
    except ValueError:
        return _stripped(path)  # lines under another ending
    return (mended(json.dumps(row, ensure_ascii=False)) for row in value) if isinstance(value, list) else None


def _stripped(path: Path) -> Iterator[str]:
    with open_text(path) as stream:
        for line in stream:
            if line.strip():
                yield line.strip()


def _changed(line: str, changes: Mapping[str, Any]) -> str:
    """A JSON object's text with some values changed or added; all else to the letter."""
    spans: dict[str, tuple[int, int]] = {}
    at = _past_space(line, 1)
    while line[at] != "}":
        key, at = _decoder.raw_decode(line, at)
        start = _past_space(line, _past_space(line, at) + 1)
        _, end = _decoder.raw_decode(line, start)
        spans[unicodedata.normalize("NFC", key)] = (start, end)  # as tables have names
        at = _past_space(line, end)
        if line[at] == ",":
            at = _past_space(line, at + 1)
    serialized = {name: json.dumps(value, ensure_ascii=False, default=_plain) for name, value in changes.items()}
    added = [
        f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in serialized.items() if name not in spans
    ]
    parts, last = [], 0
    for name, (start, end) in sorted(spans.items(), key=lambda entry: entry[1]):
        if name in serialized:
            parts += [line[last:start], serialized[name]]
            last = end
    parts.append(line[last:at].rstrip() if added else line[last:at])
    return "".join(parts) + (", " if spans and added else "") + ", ".join(added) + line[at:]


def _past_space(line: str, at: int) -> int:
    while line[at].isspace():
        at += 1
    return at


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
