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

    The trained model is measured once more on the run's own held-out rows, so its table must still be there; nothing
    is trained.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        path = api.report(run)
    console.write({"report": path} if as_json else str(path), link=None if as_json else path)
