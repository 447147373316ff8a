"""`polysense check`: what training would make of a table, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import access_overrides, join_overrides
from polysense.cli.commands.options import AllowUrls, InsideOnly, Join, Json, NoTarget, Overrides, Source, Targets
from polysense.cli.commands.train import Columns, parse_columns
from polysense.errors import ConfigError

__all__ = ["check"]


def check(
    source: Source,
    overrides: Overrides = None,
    target: Targets = None,
    task: NoTarget = None,
    column: Columns = None,
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A trained run, whose model says which labels are probably wrong."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="A folder for check.json and the page check.html."),
    ] = None,
    augmented: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="A page of training cells as augmentation varies them."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="[warning|error]", help="Exit with 3 if a finding is as bad as that, or worse."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at a table without training.

    Says what each column is taken for and why, and lists what is wrong: missing and unreadable cells, duplicates,
    leaks, conflicting and wrong labels, a test unlike training. Exits with 2 if training could not run.
    """
    if fail_on not in (None, "warning", "error"):
        raise ConfigError(f"--fail-on: found {fail_on!r}, expected warning or error")
    columns = parse_columns(column)
    changes = [*join_overrides(join), *(overrides or ()), *access_overrides(inside_only, allow_urls)]

    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.check(
            source,
            target=target or None,
            task=task,
            overrides=changes,
            columns=columns,
            run=run,
            output=output,
        )
        if augmented is not None and result.ok:
            api.show_augmented(source, augmented, target=target or None, task=task, overrides=changes, columns=columns)
    console.write(result.as_json() if as_json else result.text())
    if not result.ok:
        raise typer.Exit(2)
    if fail_on is not None and result.reaches(fail_on):
        raise typer.Exit(3)
