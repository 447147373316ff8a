"""`polysense map`: a table's rows on a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, names, on_device
from polysense.cli.commands.options import AllowUrls, Bundle, Device, InsideOnly, Join, Json, Table
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["show"]


def show(
    bundle: Bundle,
    table: Table,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the page.")] = Path(
        "map.html"
    ),
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="The model's input columns to draw, by default all.")
    ] = None,
    color: Annotated[
        str | None, typer.Option("--color", metavar="COLUMN", help="A column of the table to color by.")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="tsne (the page then has PCA too), or only pca.")
    ] = "tsne",
    max_rows: Annotated[int, typer.Option(metavar="N", help="Number of random rows to draw of a larger table.")] = 1000,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Draw a table's rows as points on one page, with their images: the nearer, the more alike to the model.

    In a joint embedding space every column is a point of its own. The page needs no network and runs no script.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{output}: can't write {output.suffix or 'a file without an ending'}; use .html")

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("reading") as progress:
        result = api.map_rows(
            on_device(bundle, device),
            joined(table, join),
            output,
            columns=names(columns, "--columns"),
            color=color,
            method=method,
            max_rows=max_rows,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
    console.write_unreadable(result.unreadable)
    console.write(result.as_json() if as_json else result.text())
