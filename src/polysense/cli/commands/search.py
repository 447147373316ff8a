"""`polysense search`: the rows of an index that are nearest to a text, a picture, a sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["search"]


def search(
    index: Annotated[str, typer.Argument(metavar="INDEX", help="An index that `polysense index` made.")],
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...",
            help="A text, or the file of a picture, sound or video; COLUMN=VALUE says which column reads it. Several "
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
            metavar="W", help="Of each part of the query, in order; a negative one leads away.", show_default=False
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="The model that made the index, if it is not where it was."),
    ] = None,
    exact: Annotated[
        bool | None,
        typer.Option(
            "--exact/--approximate",
            help="Score every row, or use the graph; by default what was measured to be good and faster.",
            show_default=False,
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw query and results as one picture (.png).", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the rows of an index that are nearest to what is asked for.

    In a model's shared space anything finds anything: a text finds pictures, a picture finds sounds.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        found = api.search(
            index, query, k, filter=condition, bundle=bundle, weights=weight or None, exact=exact
        )  # fmt: skip
        if sheet is not None:
            found.save_sheet(sheet)
    if as_json:
        console.write_json(found.as_json() | {"sheet": sheet})
    else:
        console.write_text(found.text())
