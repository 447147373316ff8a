"""`polysense audit`: how far a trained model may be trusted, on a table whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, on_device
from polysense.cli.commands.options import AllowUrls, Bundle, By, Device, InsideOnly, Join, Json, Table

__all__ = ["audit"]


def audit(
    bundle: Bundle,
    table: Table,
    full: Annotated[
        bool,
        typer.Option("--full", help="Try every kind of damage, and more rows and columns, whatever time that takes."),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(metavar="PART", help="test, validation or train: only these rows, as in evaluate; all: all rows."),
    ] = None,
    by: By = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="A folder for audit.json and the page audit.html."),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", min=0, max=100_000, help="Resamplings for the intervals; 0 leaves them out.")
    ] = 1000,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Audit a trained model on a labeled table: what each column is worth, and what breaks the model.

    Cells are left out, taken from other rows and damaged, and the score is measured each time, with its interval.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.audit(
            on_device(bundle, device),
            joined(table, join),
            full=full,
            split=split,
            by=by or (),
            output=output,
            bootstrap=bootstrap,
            root=media_root(table, inside_only, allow_urls),
        )
    console.write(result.as_json() if as_json else result.text())
