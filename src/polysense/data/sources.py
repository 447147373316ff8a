"""A table, whatever it came in: a file, a data frame, a `datasets` dataset, lists and dicts.

A table is a polars frame, the folder that media paths start from, and each row's index in what was read, so that a
message about a row names the row that the user knows. CSV cells stay text: what they mean is decided later, with a
stated reason, by `infer`.

What is missing: null, NaN, "" and whitespace; for inputs also the strings in `cells.MISSING` ("NA", "None", ...).
Targets are read with `literal=True`, where those strings are values: NA may be Namibia.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

import numpy as np
import polars as pl

from polysense.core.logs import get_logger
from polysense.core.sample import SourceInfo
from polysense.data.cells import as_series, clean, clean_all, normalize
from polysense.data.delimited import check_names, open_text, read_delimited
from polysense.errors import DecodeError, TableError

__all__ = ["CellImputer", "Imputations", "Table", "read_raw", "read_table", "resolve"]

logger = get_logger("polysense.data.sources")


@dataclass(frozen=True, eq=False, kw_only=True)
class Imputations:
    """What stands in for missing cells of a table; cells that are there stay what they are.

    Beside the cells and not among them: what fills a cell then does not depend on its column's type, which is one of
    all rows, and what was measured and what was not can always be told apart.

    Attributes:
        by: Who made them: the same one need not do so again, another one begins with the cells that are there.
        cells: Per column, by the row's index in what was read, a plain value.
    """

    by: object
    cells: Mapping[str, Mapping[int, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Rows and named columns.

    Attributes:
        name: What messages call it: the file's name, or "table".
        frame: The cells; typed columns, no Object columns.
        root: The folder that relative media paths start from.
        rows: int64 [len(frame)], each row's index in what was read.
        imputations: What stands in for missing cells; None as the table came.
    """

    name: str
    frame: pl.DataFrame
    root: Path
    rows: np.ndarray
    imputations: Imputations | None = None

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return self.frame.columns

    def has(self, column: str) -> bool:
        """Whether there is a column of that name."""
        return column in self.frame.columns

    def require(self, column: str, purpose: str = "column") -> None:
        """Checks that a column is there.

        Raises:
            TableError: It is not; lists the columns and the nearest names.
        """
        if not self.has(column):
            near, names = _near(column, self.names), ", ".join(map(repr, self.names))
            raise TableError(f"{self.name}: no {purpose} {column!r}{near} (columns: {names or 'none'})")

    def cell(self, i: int, column: str, *, literal: bool = False) -> object:
        """One cell as plain Python; None if missing.

        Reads without polars' thread pool, so it is safe in a forked worker process.

        Args:
            i: Position in this table (not the original row index).
            column: The column's name.
            literal: Take "NA", "None" and their like for values (targets).
        """
        self.require(column)
        value = self.frame.get_column(column)[i]
        result = clean(value.to_list() if isinstance(value, pl.Series) else value, literal)
        if result is None and self.imputations is not None and column in self.imputations.cells:
            return self.imputations.cells[column].get(int(self.rows[i]))
        return result

    def cells(self, column: str, *, literal: bool = False) -> list[object]:
        """All cells of a column; equal to `cell` on each position, much faster."""
        self.require(column)
        result = clean_all(self.frame.get_column(column), literal)
        imputed = {} if self.imputations is None else self.imputations.cells.get(column, {})
        if not imputed:
            return result
        rows = self.rows.tolist()
        return [imputed.get(row) if cell is None else cell for row, cell in zip(rows, result, strict=True)]

    def source(self, i: int, column: str, file: str | None = None) -> SourceInfo:
        """Where the cell at position i comes from."""
        return SourceInfo(table=self.name, row=int(self.rows[i]), column=column, file=file)

    def select(self, positions: Sequence[int] | np.ndarray) -> Table:
        """Some of the rows, in that order; they keep their original indices."""
        chosen = np.asarray(positions, dtype=np.int64)
        return replace(self, frame=self.frame[chosen], rows=self.rows[chosen])


@runtime_checkable
class CellImputer(Protocol):
    """What fills a table's missing cells before anything is learned from them or read of them."""

    def fill(self, table: Table) -> Table:
        """The table with `imputations`, each row's from its own cells. A cell that is there is never among them."""


def read_table(source: Any, *, root: Path | str | None = None, name: str | None = None) -> Table:
    """Reads a table.

    Args:
        source: A path (.csv, .tsv, .txt, .jsonl, .ndjson, .json, all also with .gz, .parquet, .pq, .arrow, .feather,
            .ipc), a polars or pandas DataFrame, a `datasets` Dataset (media are not decoded, class ids become names),
            a pyarrow Table, a list of dicts (a row each), a dict of lists (a column each), or a Table.
        root: The folder that media paths start from; by default the file's, or the working directory.
        name: What messages call the table.

    Raises:
        TableError: Names the file, the line or the row, what was found and what was expected.
    """
    if isinstance(source, Table):
        return replace(source, name=name or source.name, root=Path(root) if root else source.root)
    raw = read_raw(source, root=root, name=name)
    return replace(raw, frame=normalize(raw.frame, raw.name))


def read_raw(source: Any, *, root: Path | str | None = None, name: str | None = None) -> Table:
    """A table whose cells are of the types that its container gave them, for writing it again.

    Arguments and errors as of `read_table`; the source is no Table.
    """
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser() if str(source).startswith("~") else Path(source)
        frame, folder, label = _read_file(path), path.absolute().parent, path.name
    else:
        label = name or "table"
        frame, folder = _read_object(source, label), Path.cwd()
    names = check_names(frame.columns, label)
    return Table(
        name=name or label,
        frame=frame.rename(dict(zip(frame.columns, names, strict=True))),
        root=Path(root).expanduser().absolute() if root else folder,
        rows=np.arange(len(frame), dtype=np.int64),
    )


def resolve(root: Path, text: str) -> Path:
    r"""The file that a cell names; a pure function of the text, the disk is not looked at.

    Understands relative and absolute paths, `./x`, `~/x`, backslashes (`images\cat.png`; a backslash always separates
    folders) and `file://` URLs, which alone are percent-decoded. Surrounding whitespace is no part of a path.

    Raises:
        DecodeError: The text is a URL of another kind, or can't be a path.
    """
    text = text.strip()
    if "\0" in text:
        raise DecodeError(f"{text[:80]!r} holds a NUL character, which no path does")
    scheme, separator, _ = text.partition("://")
    if separator and scheme.isalnum():
        if scheme.lower() != "file":
            raise DecodeError(f"{text[:200]!r} is a URL; nothing is downloaded here, download it and name the file")
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise DecodeError(f"{text[:200]!r} names a file on another machine, {parts.netloc!r}")
        text = unquote(text.partition("://")[2].removeprefix(parts.netloc))
    path = Path(text.replace("\\", "/"))
    return path.expanduser() if path.parts[:1] == ("~",) else root / path


def _near(name: str, choices: Sequence[str]) -> str:
    folded = {choice.casefold().strip(): choice for choice in choices}
    near = difflib.get_close_matches(name.casefold().strip(), folded, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(folded[match]) for match in near)}?" if near else ""


def _read_file(path: Path) -> pl.DataFrame:
    try:
        if path.is_dir():
            tables = sorted(p.name for p in path.iterdir() if _extension(p) in _READERS)
            result = f"; it holds {', '.join(tables[:5])}" if tables else ""
            raise TableError(f"{path}: is a directory, expected a table file{result}")
        if not path.exists():
            inside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            near = _near(path.name, inside) if inside else ""
            missing = "" if path.parent.is_dir() else f" (there is no folder {path.parent} either)"
            raise TableError(f"{path}: no such file{missing}{near}")
        if not path.is_file():
            raise TableError(f"{path}: is not a regular file")
    except (OSError, ValueError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{str(path)!r}: can't be read: {error}") from None
    reader = _READERS.get(_extension(path))
    if reader is None:
        raise TableError(
            f"{path}: no table can be read from {_extension(path) or 'a name without extension'!r}; "
            f"expected one of {', '.join(_READERS)}"
        )
    return reader(path)


def _extension(path: Path) -> str:
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner + suffix if suffix == ".gz" else suffix


def _read_parquet(path: Path) -> pl.DataFrame:
    return _read_binary(path, "a Parquet file", lambda: pl.read_parquet(path, glob=False, hive_partitioning=False))


def _read_arrow(path: Path) -> pl.DataFrame:
    with path.open("rb") as stream:
        # The file format starts with a mark; what `datasets` writes is the stream format, which has none.
        is_file = stream.read(6) == b"ARROW1"
    read = pl.read_ipc if is_file else pl.read_ipc_stream
    return _read_binary(path, "an Arrow or Feather file", lambda: read(path.read_bytes() if not is_file else path))


def _read_binary(path: Path, what: str, read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    try:
        return read()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[:1]
        raise TableError(f"{path}: is not {what}, or is damaged: {''.join(first) or type(error).__name__}") from None


def _read_jsonl(path: Path) -> pl.DataFrame:
    columns: dict[str, list[object]] = {}
    count = 0
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                row = _parse_json(line, f"{path}, line {number}")
                if not isinstance(row, dict):
                    raise TableError(
                        f'{path}, line {number}: found {_short(row)}, expected an object: {{"text": "hello"}}'
                    )
                _add_row(columns, row, count)
                count += 1
    if not count:
        raise TableError(f"{path}: is empty; expected one JSON object per line")
    return _from_columns(columns, count, path.name)


def _read_json(path: Path) -> pl.DataFrame:
    with open_text(path) as stream:
        text = stream.read()
    if not text.strip():
        raise TableError(f"{path}: is empty; expected a JSON list of objects")
    try:
        value = _parse_json(text, str(path))
    except TableError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].strip().startswith("{") and lines[0].strip().endswith("}"):
            logger.info("%s holds one JSON object per line: read as JSON lines", path)
            return _read_jsonl(path)
        raise
    if isinstance(value, dict):
        if not value or not all(isinstance(cells, list) for cells in value.values()):
            raise TableError(f"{path}: found {_short(value)}; expected a list of objects, or an object of lists")
        return _from_mapping(value, path.name)
    if not isinstance(value, list):
        raise TableError(f"{path}: found {_short(value)}; expected a list of objects")
    return _from_rows(value, path.name)


_TEXT_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": read_delimited,
    ".tsv": lambda path: read_delimited(path, tabs=True),
    ".txt": read_delimited,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
}
_READERS = (
    _TEXT_READERS
    | {f"{ending}.gz": reader for ending, reader in _TEXT_READERS.items()}
    | dict.fromkeys((".parquet", ".pq"), _read_parquet)
    | dict.fromkeys((".arrow", ".feather", ".ipc"), _read_arrow)
)


def _parse_json(text: str, where: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = Counter(key for key, _ in pairs)
        if len(keys) < len(pairs):
            raise TableError(f"{where}: the key {keys.most_common(1)[0][0]!r} stands twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise TableError(f"{where}: is not valid JSON at {at}: {error.msg}") from None
    except RecursionError:
        raise TableError(f"{where}: is nested too deeply") from None


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _read_object(source: Any, label: str) -> pl.DataFrame:
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, Mapping) and not _is(source, "datasets", "DatasetDict"):
        return _from_mapping(source, label)
    if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
        return _from_rows(source, label)
    if _is(source, "pandas", "DataFrame"):
        names = check_names(["" if name is None else str(name) for name in source.columns], label)
        return pl.DataFrame([_from_pandas(n, source.iloc[:, k], label) for k, n in enumerate(names)])
    if _is(source, "pyarrow", "Table"):
        return _from_arrow(source)
    if _is(source, "datasets", "Dataset"):
        return _from_datasets(source)
    if _is(source, "datasets", "DatasetDict"):
        raise TableError(f"{label}: found several splits ({', '.join(source)}); pass one of them: data['train']")
    raise TableError(
        f"{label}: found a {type(source).__module__}.{type(source).__qualname__}; expected a path, a polars or pandas "
        f"DataFrame, a datasets.Dataset, a list of dicts or a dict of lists"
    )


def _is(value: object, package: str, name: str) -> bool:
    """Whether a value is of a package's class, without importing the package."""
    module = sys.modules.get(package)
    return module is not None and isinstance(value, vars(module)[name])


def _from_pandas(name: str, series: Any, label: str) -> pl.Series:
    if re.fullmatch(r"u?int(8|16|32|64)|float(32|64)|bool", str(series.dtype)):  # numpy's, not pandas' nullable ones
        return pl.Series(name, series.to_numpy())
    if str(series.dtype).startswith("datetime64"):
        return as_series(name, [None if v != v else v.isoformat() for v in series.tolist()], label)
    return as_series(name, series.tolist(), label)


def _from_arrow(table: Any) -> pl.DataFrame:
    check_names(list(table.column_names), "table")
    return pl.DataFrame(table)


def _from_datasets(dataset: Any) -> pl.DataFrame:
    # The arrow format applies the selected indices and decodes nothing: media stay {bytes, path}.
    frame = _from_arrow(dataset.with_format("arrow")[:])
    for name, feature in dataset.features.items():
        if type(feature).__name__ == "ClassLabel":
            classes = dict(enumerate(feature.names))
            frame = frame.with_columns(pl.col(name).replace_strict(classes, default=None, return_dtype=pl.String))
    return frame


def _from_mapping(source: Mapping[Any, Any], label: str) -> pl.DataFrame:
    columns: dict[str, list[object]] = {}
    for key, cells in source.items():
        if isinstance(cells, (str, bytes, Mapping)) or not (isinstance(cells, (Sequence, np.ndarray, pl.Series))):
            raise TableError(
                f"{label}, column {str(key)!r}: found {_short(cells)}, expected a list with a cell per row; a single "
                f"row is a list with one dict in it"
            )
        columns[str(key)] = list(cells)
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        result = ", ".join(f"{name!r} {length:,}" for name, length in lengths.items())
        raise TableError(f"{label}: the columns are not equally long: {result}")
    return _from_columns(columns, max(lengths.values(), default=0), label)


def _from_rows(source: Sequence[Any], label: str) -> pl.DataFrame:
    columns: dict[str, list[object]] = {}
    for i, row in enumerate(source):
        if not isinstance(row, Mapping):
            raise TableError(f"{label}, row {i}: found {_short(row)}, expected a dict with the row's cells")
        _add_row(columns, row, i)
    return _from_columns(columns, len(source), label)


def _add_row(columns: dict[str, list[object]], row: Mapping[Any, object], count: int) -> None:
    """Appends a row to columns that are shorter wherever earlier rows lacked the key."""
    for key, value in row.items():
        cells = columns.setdefault(str(key), [])
        cells.extend(None for _ in range(count - len(cells)))
        cells.append(value)


def _from_columns(columns: dict[str, list[object]], count: int, label: str) -> pl.DataFrame:
    def series() -> Iterator[pl.Series]:
        for name in list(columns):
            cells = columns.pop(name)  # frees the Python values column by column
            cells.extend(None for _ in range(count - len(cells)))
            yield as_series(name, cells, label)

    return pl.DataFrame(list(series()))
