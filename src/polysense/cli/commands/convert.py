"""`polysense convert`: annotated media in another format as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["convert"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A file or folder of annotations.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="TABLE", help="The table to write: .jsonl, .csv or .parquet.")
    ],
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="See `polysense list importers`; recognized if not given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write annotated media in another format as a table: of COCO, YOLO or PASCAL VOC, and of installed packages.

    One row for each image, with its boxes as words and pixels, its split where it is known, and what else the format
    holds (segments, captions). Images stay where they are.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.convert(source, output, format=format)
    if as_json:
        console.write({
            "output": result.output, "format": result.format, "num_rows": result.num_rows,
            "columns": list(result.columns), "missing": list(result.missing),
        })  # fmt: skip
        return
    console.write_unreadable(result.missing)
    rows = f"{result.num_rows:,} {'row' if result.num_rows == 1 else 'rows'}"
    console.write(f"wrote {rows} of {', '.join(result.columns)} ({result.format}) to {result.output}")
