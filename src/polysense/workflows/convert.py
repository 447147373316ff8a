"""Annotated media files in the formats of others, written as a table."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from polysense.config.base import members
from polysense.config.codec import from_dict
from polysense.core.files import replacing, write_text
from polysense.core.logs import get_logger
from polysense.data.importing import ImportedRow, ImporterConfig
from polysense.errors import TableError

__all__ = ["Converted", "convert"]

_log = get_logger("polysense.convert")

_ROWS_LOGGED = 10_000
_SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was written.

    Attributes:
        output: The table.
        format: What was read.
        num_rows: Its rows.
        columns: Its columns.
        missing: Files that rows name and that are not there.
    """

    output: Path
    format: str
    num_rows: int
    columns: tuple[str, ...]
    missing: tuple[str, ...]


def convert(
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
) -> Converted:
    """Writes annotations in another format as a table that polysense reads: a row for each media file.

    Args:
        source: A file or folder of annotations.
        output: The table: `.jsonl`, `.csv` or `.parquet`; lists are JSON text in the latter two. Cells name media files
            relative to its folder.
        format: One of the importers; None: the one that recognizes the source.

    Raises:
        TableError: Nothing recognizes the source, it is broken, or it holds no row.
    """
    source, output = Path(source), Path(output)
    if output.suffix not in _SUFFIXES:
        raise TableError(f"{output}: expected a table's name that ends in {', '.join(_SUFFIXES)}")
    if not source.exists():
        raise TableError(f"{source}: no such file or folder")
    importer = _importer(source, format)
    rows: list[dict[str, object]] = []
    names: dict[str, None] = {}
    missing: list[str] = []
    for number, row in enumerate(importer.rows(source), 1):
        cells = {**_relative(row, output.parent, missing), **row.cells}
        names.update(dict.fromkeys(cells))
        rows.append(cells)
        if number % _ROWS_LOGGED == 0:
            _log.info("%s: %s rows read", source, f"{number:,}")
    if not rows:
        raise TableError(f"{source}: holds no row that {importer.type} knows")
    output.parent.mkdir(parents=True, exist_ok=True)
    _write(rows, tuple(names), output)
    return Converted(
        output=output, format=importer.type, num_rows=len(rows), columns=tuple(names), missing=tuple(missing)
    )


def _importer(source: Path, name: str | None) -> ImporterConfig:
    every = members("importer")
    if name is not None and name not in every:
        raise TableError(f"--format: no importer is named {name!r} (known: {', '.join(sorted(every))})")
    names = [each for each in sorted(every) if name in (None, each)]
    importers = [from_dict(ImporterConfig, {"type": each}) for each in names]  # type: ignore[type-abstract]
    if name is not None:
        return importers[0]
    known = [each for each in importers if each.recognizes(source)]
    if len(known) != 1:
        said = f"may be {' or '.join(each.type for each in known)}" if known else "is no format that is known"
        raise TableError(f"{source}: {said}; say which with --format ({', '.join(sorted(every))})")
    return known[0]


def _relative(row: ImportedRow, folder: Path, missing: list[str]) -> dict[str, str]:
    result = {}
    for name, path in row.file.items():
        result[name] = Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
        if not path.is_file():
            missing.append(f"{row.source}: {path} is not there")
    return result


def _write(rows: list[dict[str, object]], names: tuple[str, ...], output: Path) -> None:
    whole = [{name: row.get(name) for name in names} for row in rows]
    if output.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in whole)
        write_text(output, text)
        return
    plain = [
        {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
            for name, value in row.items()
        }
        for row in whole
    ]
    frame = pl.DataFrame(plain, infer_schema_length=None)
    with replacing(output) as part:
        if output.suffix == ".csv":
            frame.write_csv(part)
        else:
            frame.write_parquet(part)
