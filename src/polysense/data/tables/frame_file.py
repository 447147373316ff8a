"""A table written as a file: whole or not at all, in the format that the file's ending names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from polysense.core.files import replacing
from polysense.data.tables.mapped_frame import chunks_of
from polysense.errors import TableError
from polysense.escaping import defused

__all__ = ["frame_file", "naming", "write_frame"]


@contextmanager
def frame_file(path: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """A path to write to; when the block ends, what is there takes the place of `path`.

    Args:
        path: The file that is asked for.
        endings: Those that can be written.

    Raises:
        TableError: The ending is none of these, or the file can't be written.
    """
    ending = path.suffix.lower()
    if ending not in endings:
        choices = " or ".join([", ".join(endings[:-1]), endings[-1]])
        raise TableError(f"{path}: can't write {ending or 'a file without an ending'}; use {choices}")
    with naming(path), replacing(path) as part:
        yield part


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within it, an error of the file system is one of the file that is asked for.

    Raises:
        TableError: The file can't be written.
    """
    try:
        yield
    except OSError as error:
        raise TableError(f"{path}: can't be written: {error.strerror or error}") from error


def write_frame(
    frame: pl.DataFrame, part: Path, ending: str, *, csv_safe: bool = True, lists_as_texts: bool = False
) -> None:
    """Writes a frame to the path of `frame_file`, as .csv, .tsv, .parquet, or else as JSON Lines.

    Texts are written in chunks of rows, of which alone Python objects are made.

    Args:
        frame: The table.
        part: The path.
        ending: Of the file that is asked for.
        csv_safe: Whether texts in .csv and .tsv that a spreadsheet would compute are defused, names of columns too.
        lists_as_texts: Whether lists in .csv and .tsv, which have none, are written as JSON.
    """
    ending = ending.lower()
    if ending == ".parquet":
        frame.write_parquet(part)
        return
    with part.open("wb") as stream:
        for index, rows in enumerate(chunks_of(len(frame)) if len(frame) else [slice(0, 0)]):
            chunk = frame[rows]
            if ending not in (".csv", ".tsv"):
                chunk.write_ndjson(stream)
                continue
            if lists_as_texts:
                chunk = _with_lists_as_texts(chunk)
            if csv_safe:
                chunk = _defused(chunk)
            chunk.write_csv(stream, include_header=not index, separator="\t" if ending == ".tsv" else ",")


def _with_lists_as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.Series(name, [_as_json(cell) for cell in frame[name].to_list()], dtype=pl.String)
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.List)
    )


def _as_json(cell: object) -> str | None:
    return None if cell is None else json.dumps(cell, ensure_ascii=False)


def _defused(frame: pl.DataFrame) -> pl.DataFrame:
    texts = [name for name, kind in frame.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    columns = [frame[name].cast(pl.String).to_list() for name in texts]
    return frame.with_columns(
        pl.Series(name, [None if cell is None else defused(cell) for cell in cells], dtype=pl.String)
        for name, cells in zip(texts, columns, strict=True)
    ).rename({name: defused(name) for name in frame.columns})
