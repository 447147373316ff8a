"""`polysense runs`: the runs of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["show"]


def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds runs, or a run itself.")] = Path(
        "runs"
    ),
    as_json: Json = False,
) -> None:
    """List runs: name, date, rows, headline metric with its interval, time.

    The newest comes first. A run that has not finished says how far it has come.
    """
    from polysense.reports.run_list import runs_text, summaries

    runs = summaries(folder)
    console.write([each.as_json() for each in runs] if as_json else runs_text(folder, runs))
