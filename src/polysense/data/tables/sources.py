"""A table, whatever it came in: a file, a data frame, a `datasets` dataset, lists and dicts.

A table is a polars frame, the folder that media paths start from, and each row's index in what was read, so that a
message about a row names the row that the user knows. CSV cells stay text: what they mean is decided later, with a
stated reason, by `infer`.

What is missing: null, NaN, "" and whitespace; for inputs also the strings in `cells.MISSING` ("NA", "None", ...).
Targets are read with `literal=True`, where those strings are values: NA may be Namibia.
"""

from __future__ import annotations

import functools
import glob
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from polysense.core.addresses import address, is_web
from polysense.core.error_text import first_line
from polysense.core.logs import collected_remarks
from polysense.core.unicode_text import mended
from polysense.data.media.archives import SUFFIX
from polysense.data.media.file_names import existing
from polysense.data.media.objects import objects
from polysense.data.media.paths import RemoteFolder, fetched, media_folder
from polysense.data.tables.arrow_types import from_arrow
from polysense.data.tables.columnar import read_arrow, read_parquet
from polysense.data.tables.delimited import check_names, read_delimited
from polysense.data.tables.hub_dataset import from_datasets
from polysense.data.tables.json_table import read_json, read_json_lines
from polysense.data.tables.python_table import RawFrame, from_mapping, from_rows
from polysense.data.tables.shard_names import expanded, shard_paths, table_folder
from polysense.data.tables.shards import read_remote_shards, read_shards
from polysense.data.tables.table import CellImputer, Imputations, Table, near_names
from polysense.data.values.cells import as_column, normalize
from polysense.errors import DecodeError, TableError

__all__ = ["CellImputer", "Imputations", "Table", "normalized", "read_raw", "read_table"]


def read_table(
    source: Any,
    *,
    root: Path | str | None = None,
    name: str | None = None,
    allow_outside: bool = True,
    allow_urls: bool = False,
    join: Mapping[str, Any] | None = None,
) -> Table:
    """Reads a table.

    Args:
        source: A path, or an address on the web or on object storage (https://, s3://, gs://, az://, ...), of a file
            (.csv, .tsv, .txt, .jsonl, .ndjson, .json, all also with .gz, .parquet, .pq, .arrow, .feather, .ipc) or of
            WebDataset shards (a .tar file, a folder or a pattern of them, `photos-{000..012}.tar`); a polars or pandas
            DataFrame, a `datasets` Dataset (media are not decoded, class ids become names), a pyarrow Table, a list of
            dicts (a row each), a dict of lists (a column each), or a Table.
        root: The folder that media paths start from; by default the file's, or the working directory.
        name: What messages call the table.
        allow_outside: Whether cells may name media files outside of that folder; a root that is a `ConfinedFolder` says
            no.
        allow_urls: Whether cells may name media files by http or https URL, which are then downloaded; a root that is
            an `OnlineFolder` says yes.
        join: Further tables by name, likewise, whose columns are joined to the rows where the table is used: by keys
            that a recipe names, that are inferred before a training, or that a trained model was joined by.

    Raises:
        TableError: Names the file, the line or the row, what was found and what was expected.
    """
    if isinstance(source, Table):
        table = source.changed(name=name or source.name, root=_folder(root) if root else source.root)
    else:
        table = normalized(read_raw(source, root=root, name=name))
    if allow_urls or not allow_outside:
        table = table.changed(root=media_folder(table.root, allow_outside=allow_outside, allow_urls=allow_urls))
    if not (table.sides or join):
        return table
    sides = {
        key: read_table(
            side,
            root=root,
            name=None if isinstance(side, (str, Path, Table)) else key,
            allow_outside=allow_outside,
            allow_urls=allow_urls,
        )
        for key, side in {**table.sides, **(join or {})}.items()
    }
    return table.changed(sides=sides)


def _folder(root: Path | str) -> Path:
    if not isinstance(root, Path) and (url := address(root)) is not None:
        return RemoteFolder(url)
    return (root if isinstance(root, Path) else Path(root)).expanduser().absolute()


def normalized(raw: Table) -> Table:
    """A table of `read_raw` with cells that all read as plain Python."""
    with collected_remarks() as remarks:
        frame, spelled = normalize(raw.frame, raw.name)
    return replace(raw, frame=frame, spelled=raw.spelled | spelled, remarks=(*raw.remarks, *remarks))


def read_raw(source: Any, *, root: Path | str | None = None, name: str | None = None) -> Table:
    """A table whose cells are of the types that its container gave them, for writing it again.

    Arguments and errors as of `read_table`; the source is no Table.
    """
    with collected_remarks() as remarks:
        if isinstance(source, (str, Path)):
            path = Path(source).expanduser() if str(source).startswith("~") else Path(source)
            folder, label, url = _folder(root) if root else table_folder(path), path.name, address(source)
            raw = _read_file(path, folder) if url is None else _read_remote(url, folder)
        else:
            label = name or "table"
            raw, folder = _read_object(source, label), Path.cwd()
        names = dict(zip(raw.frame.columns, check_names(raw.frame.columns, label), strict=True))
        frame = raw.frame.select(pl.col(old).alias(new) for old, new in names.items())
    return Table(
        name=name or label,
        frame=frame,
        root=_folder(root) if root else folder,
        key=raw.key,
        rows=np.arange(len(frame), dtype=np.int64),
        spelled=frozenset(names[column] for column in raw.spelled),
        delimiter=raw.delimiter,
        remarks=tuple(remarks),
    )


def _read_file(path: Path, root: Path) -> RawFrame:
    path = existing(path)
    try:
        shards = shard_paths(path)
        tables = sorted(p.name for p in path.iterdir() if _extension(p) in _READERS) if path.is_dir() else []
        if shards and any(not name.lower().endswith(".json") for name in tables):
            raise TableError(
                f"{path}: is a directory with archives ({shards[0].name}) and tables ({', '.join(tables[:5])}); name "
                f"one of the tables, or {path.name}/*{SUFFIX}"
            )
        if shards:
            return read_shards(shards, root, path.name)
        if path.is_dir():
            result = f"; it holds {', '.join(tables[:5])}" if tables else ""
            raise TableError(f"{path}: is a directory, expected a table file{result}")
        if not path.exists():
            inside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            near = near_names(path.name, inside) if inside else ""
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
            f"expected one of {', '.join(_READERS)}, or {SUFFIX}"
        )
    return reader(path)


def _read_remote(url: str, root: Path) -> RawFrame:
    """A table at an address: one file, or archives, by a series, a pattern or their folder's address."""
    name = url.rstrip("/").rpartition("/")[2]
    try:
        shards = _remote_shards(url, name)
        if shards is not None:
            return read_remote_shards(shards, root, name)
        reader = _READERS.get(_extension(Path(name)))
        if reader is None:
            known = f"{', '.join(_READERS)}, or {SUFFIX}"
            raise TableError(f"{url}: no table can be read from {name!r}; expected one of {known}")
        path = fetched(url, is_table=True)
    except DecodeError as error:
        raise TableError(f"{url}: {str(error).removeprefix(url).lstrip(': ')}") from None
    try:
        return reader(path)
    except TableError as error:
        raise TableError(str(error).replace(str(path), url).replace(path.name, name)) from None


def _remote_shards(url: str, name: str) -> list[str] | None:
    """The addresses of archives that one stands for, in order; None of one that names none."""
    urls = expanded(url)
    if urls == [url] and glob.has_magic(name) and not is_web(url):
        urls = objects().named(url)
    elif urls == [url] and _extension(Path(name)) not in _READERS and not (name.endswith(SUFFIX) or is_web(url)):
        urls = [each for each in objects().named(url) if each.endswith(SUFFIX)]
    return urls if urls and all(each.endswith(SUFFIX) for each in urls) else None


def _extension(path: Path) -> str:
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner + suffix if suffix == ".gz" else suffix


def _read_spelled(path: Path, tabs: bool = False) -> RawFrame:
    frame, delimiter = read_delimited(path, tabs)
    return RawFrame(frame, frozenset(frame.columns), delimiter)


_TEXT_READERS: dict[str, Callable[[Path], RawFrame]] = {
    ".csv": _read_spelled,
    ".tsv": functools.partial(_read_spelled, tabs=True),
    ".txt": _read_spelled,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
}
_READERS = (
    _TEXT_READERS
    | {f"{ending}.gz": reader for ending, reader in _TEXT_READERS.items()}
    | dict.fromkeys((".parquet", ".pq"), read_parquet)
    | dict.fromkeys((".arrow", ".feather", ".ipc"), read_arrow)
)


def _read_object(source: Any, label: str) -> RawFrame:
    if isinstance(source, pl.LazyFrame):
        try:
            source = source.collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise TableError(f"{label}: the lazy frame can't be collected: {first_line(error, 300)}") from None
    if isinstance(source, pl.DataFrame):
        return RawFrame(source)
    if isinstance(source, Mapping) and not _is(source, "datasets", "DatasetDict"):
        return from_mapping(source, label)
    if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
        return from_rows(source, label)
    if _is(source, "pandas", "DataFrame"):
        return _from_pandas(source, label)
    if _is(source, "pyarrow", "Table"):
        return from_arrow(source, label)
    if _is(source, "datasets", "Dataset"):
        return from_datasets(source, label)
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


def _from_pandas(source: Any, label: str) -> RawFrame:
    names = check_names([mended("" if name is None else str(name)) for name in source.columns], label)
    columns = [_pandas_column(name, source.iloc[:, k], label) for k, name in enumerate(names)]
    spelled = frozenset(series.name for series, is_spelled in columns if is_spelled)
    return RawFrame(pl.DataFrame([series for series, _ in columns]), spelled)


def _pandas_column(name: str, series: Any, label: str) -> tuple[pl.Series, bool]:
    if re.fullmatch(r"u?int(8|16|32|64)|float(32|64)|bool", str(series.dtype)):  # numpy's, not pandas' nullable ones
        return pl.Series(name, series.to_numpy()), False
    if str(series.dtype).startswith("datetime64"):
        return as_column(name, [None if v != v else v.isoformat() for v in series.tolist()], label)
    return as_column(name, series.tolist(), label)
