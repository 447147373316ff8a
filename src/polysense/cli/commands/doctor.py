"""`polysense doctor`: whether this environment can work."""

from __future__ import annotations

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["doctor"]


def doctor(as_json: Json = False) -> None:
    """Look for what would break polysense here.

    Exits with 2 if something found would break training or prediction.
    """
    from polysense.cli.doctor import examine

    diagnosis = examine()
    console.write(diagnosis.as_json() if as_json else diagnosis.text())
    if not diagnosis.ok:
        raise typer.Exit(2)
