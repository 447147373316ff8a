"""`polysense search`: the rows of an index that are nearest to a text, an image, an audio file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Device, Json

__all__ = ["search"]


def search(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="An index that `polysense index` made.")],
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...",
            help="A text, or the file of an image, audio or video; COLUMN=VALUE says which column reads it. Several "
            "are averaged.",
        ),
    ],
    k: Annotated[int, typer.Option("-k", metavar="K", min=1, help="How many rows.")] = 10,
    condition: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="SQL", help="A condition on the table's columns: \"label = 'cat' and year > 2000\"."
        ),
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(
            metavar="W", help="Weight of each part of the query, in order; a negative one moves away from it."
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="The model of the index, if it was moved.")
    ] = None,
    exact: Annotated[
        bool | None,
        typer.Option(
            "--exact/--approximate",
            help="Score every row, or use the ANN index; by default whichever was measured to be good and faster.",
        ),
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw query and results as one image (.png).")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Search an index for the rows nearest to a query.

    In a model's joint embedding space any modality finds any: a text finds images, an image finds audio.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.search(
            index, query, k, filter=condition, bundle=bundle, weights=weight or None, exact=exact, device=device
        )
        if contact_sheet is not None:
            result.save_contact_sheet(contact_sheet)
    console.write(result.as_json() | {"contact_sheet": contact_sheet} if as_json else result.text())
