"""`polysense zeroshot`: classification by prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, names, on_device, writable
from polysense.cli.commands.options import AllowUrls, Bundle, CsvSafe, Device, InsideOnly, Join, Json, Table
from polysense.cli.progress import rows_done

__all__ = ["zeroshot"]


def zeroshot(
    bundle: Bundle,
    table: Table,
    column: Annotated[str, typer.Option("--column", "-c", metavar="COLUMN", help="The column to be classified.")],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="The classes' names, separated by commas; by default all labels of --label."
        ),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="A prompt with {} for the class name; several are averaged. By default the name by itself.",
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column that encodes the prompts, if there are several candidates."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of true classes, for the accuracy.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write each row's class (.csv or .parquet)."),
    ] = None,
    csv_safe: CsvSafe = True,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Classify rows by the class name that lies nearest in the joint embedding space; no training, no examples."""
    if output is not None:
        writable(output, table, "the classes", (".csv", ".parquet"))

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("reading") as progress:
        result = api.zero_shot(
            on_device(bundle, device),
            joined(table, join),
            column=column,
            classes=names(classes, "--classes"),
            templates=template or "{}",
            text_column=text_column,
            label=label,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
        if output is not None:
            result.write(output, csv_safe=csv_safe)
    console.write_unreadable(result.unreadable)
    if as_json:
        console.write(
            {**result.as_json(), "output": output, "rows": result.frame.to_dicts() if output is None else None}
        )
    else:
        console.write(result.text() if output is None else f"{result.text()}\nwrote {output}")
