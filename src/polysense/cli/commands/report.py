"""`polysense report`: the report of a run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    as_json: Json = False,
) -> None:
    """Write a run's report again, and print its path.

    Pages are written from what the run's folder keeps; pictures and players are read from its table, which must still
    be there. Only where that is not kept is the model measured again, on its own held-out rows. Nothing is trained.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        path = api.report(run)
    console.write({"report": path} if as_json else str(path), link=None if as_json else path)
