"""`polysense new`: a commented recipe for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import join_overrides
from polysense.cli.commands.options import Join, NoTarget, Pretrained, Table
from polysense.cli.commands.train import Columns, Preset, parse_columns
from polysense.core.files import write_text
from polysense.errors import ConfigError

__all__ = ["new"]


def new(
    table: Table,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="COLUMN",
            help="A column to predict; may be given several times. With --task a column of the joint space "
            "or one to reconstruct.",
        ),
    ] = None,
    task: NoTarget = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the recipe; - prints it.")
    ] = Path("recipe.yaml"),
    preset: Preset = "balanced",
    pretrained: Pretrained = None,
    column: Columns = None,
    join: Join = None,
    minimal: Annotated[
        bool, typer.Option("--minimal", help="Leave out every key that has its default: the same recipe, short.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a recipe that is already there.")] = False,
) -> None:
    """Write a commented recipe for a table.

    The recipe is complete: every key that can be changed stands in it, with what it means. With --minimal it holds only
    what differs from the defaults.
    """
    if str(output) != "-" and output.exists() and not force:
        raise ConfigError(f"{output} is already there; name another file with -o, or overwrite it with --force")

    from polysense import api

    text = api.new(
        table, target or None, task=task, preset=preset, columns=parse_columns(column), pretrained=pretrained,
        overrides=join_overrides(join), folder=Path() if str(output) == "-" else output.parent, minimal=minimal,
    )  # fmt: skip
    if str(output) == "-":
        console.write(text)
        return
    write_text(output, text)
    console.write(f"wrote {output}; look at it, then run: polysense train {output}")
