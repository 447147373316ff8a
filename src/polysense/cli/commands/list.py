"""`polysense list`: what a recipe can name."""

from __future__ import annotations

from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["show"]


def show(
    family: Annotated[
        str | None,
        typer.Argument(
            metavar="FAMILY",
            help="encoders, fusions, heads, columns, targets, transforms, splits, optimizers, balances or "
            "schedules; all, counted, if not given.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One of the family, with all its parameters.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List encoders, fusions, heads and everything else that a recipe names by its type.

    With a NAME, or with --verbose, also the parameters, their defaults and what they mean.
    """
    from polysense.api import catalogue

    if family is None:
        console.write(
            {one.name: catalogue.components(one) for one in catalogue.FAMILIES} if as_json else catalogue.overview()
        )
        return
    result = catalogue.find(family, name)
    console.write(result if as_json else catalogue.listing(result, details=name is not None or console.is_verbose()))
