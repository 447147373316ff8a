"""`polysense impute`: missing cells imputed by a model that reconstructs columns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polysense.cli import console
from polysense.cli.arguments import media_root, names, on_device, writable
from polysense.cli.commands.options import AllowUrls, Bundle, CsvSafe, Device, InsideOnly, Json, Table
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["impute"]


def impute(
    bundle: Bundle,
    table: Table,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write the imputed table (.csv, .tsv, .jsonl, .parquet). Imputed images go "
            "into the folder FILE_media beside it.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Columns to impute, by default all; put a name with a comma in quotation marks: '\"a,b\",c'.",
        ),
    ] = None,
    unreadable: Annotated[
        Literal["keep", "fill"],
        typer.Option(help="Whether unreadable cells stay as they are, or are imputed too."),
    ] = "keep",
    only_report: Annotated[
        bool, typer.Option("--only-report", help="Only count what would be imputed; write nothing.")
    ] = False,
    draw: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Draw the cells from a variational model's distribution with this seed, each row anew, in place of "
            "its mean.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let FILE be the table itself, which is then replaced.")
    ] = False,
    csv_safe: CsvSafe = True,
    device: Device = "auto",
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Fill the missing cells of a table from what its rows have.

    BUNDLE is a model that reconstructs columns (train --task reconstruction). Cells that are there stand as they stood;
    a column `imputed` says which were filled. A row with nothing at all is left as it is, and reported.
    """
    if output is None and not only_report:
        raise ConfigError("name the file to write with -o, or ask for --only-report")
    if output is not None and not only_report:
        writable(output, table, "the imputed table", force=force)

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("filling") as progress:
        result = api.impute(
            on_device(bundle, device),
            table,
            columns=names(columns, "--columns"),
            media=None if output is None else output.with_name(f"{output.stem}_media"),
            unreadable=unreadable,
            only_report=only_report,
            draw=draw,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
        if output is not None and not only_report:
            result.write(output, csv_safe=csv_safe)
    console.write_unreadable(result.unreadable)
    console.write(
        {**result.as_json(), "output": None if only_report else output}
        if as_json
        else result.text() + ("" if only_report else f"\nwrote {output}")
    )
