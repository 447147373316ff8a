"""`polysense check`: what training would make of a table, without training."""

from __future__ import annotations

import typer

from polysense.cli import console
from polysense.cli.commands.options import InsideOnly, Json, NoTarget, Overrides, Source, Targets
from polysense.cli.commands.train import Columns, parse_columns

__all__ = ["check"]


def check(
    source: Source,
    overrides: Overrides = None,
    target: Targets = None,
    task: NoTarget = None,
    column: Columns = None,
    inside_only: InsideOnly = False,
    as_json: Json = False,
) -> None:
    """Look at a table without training.

    Says what each column is taken for and why. Lists missing and unreadable cells, the balance of the classes and
    columns that give the answer away. Exits with 2 if training could not run.
    """
    columns = parse_columns(column)
    changes = [*(overrides or ()), *(["data.allow_outside=false"] if inside_only else [])]

    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.check(source, target=target or None, task=task, overrides=changes, columns=columns)
    console.write(result.as_json() if as_json else result.text())
    if not result.ok:
        raise typer.Exit(2)
