"""`polysense explain`: why a trained model predicts what it does, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, on_device
from polysense.cli.commands.options import AllowUrls, Bundle, Device, InsideOnly, Join, Json, Table
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["explain"]


def explain(
    bundle: Bundle,
    table: Table,
    rows: Annotated[
        str, typer.Option("--rows", metavar="N,M", help="The rows to explain, from 0: --rows 3,17 or --rows 0-4.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the page and the JSON file.")
    ] = Path("explanation"),
    of: Annotated[
        list[str] | None,
        typer.Option(
            "--of",
            metavar="TARGET=CHOICE",
            help="What to explain, if not the answer itself: a class, a label, a column of numbers. May be given "
            "several times.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="shapley, or occlusion: parts are removed one at a time, in a tenth of the time, and no map is "
            "tested.",
        ),
    ] = "shapley",
    parts: Annotated[int, typer.Option(metavar="N", min=2, max=400, help="Parts of a cell, at most.")] = 36,
    maps: Annotated[
        bool, typer.Option("--maps/--no-maps", help="Whether to look at parts of cells, or at columns alone.")
    ] = True,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Explain predictions: columns' shares, maps of their cells, what would flip the answer.

    The other rows of the table lend their cells, to see what would change the answer.
    """
    chosen = _rows(rows)
    choices = {}
    for each in of or ():
        target, equals, choice = each.partition("=")
        if not equals:
            raise ConfigError(f"--of: found {each!r}, expected TARGET=CHOICE")
        choices[target] = choice

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("explaining") as progress:
        result = api.explain(
            on_device(bundle, device),
            joined(table, join),
            chosen,
            output=output,
            choices=choices,
            method=method,
            parts=parts,
            maps=maps,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
    console.write(result.as_json() if as_json else result.text())


def _rows(text: str) -> list[int]:
    """Numbers and ranges separated by commas.

    Raises:
        ConfigError: It is none.
    """
    results: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 30:
            raise ConfigError(f"--rows: found {text!r}, expected rows from 0 on, as in 3,17 or 0-4")
        start, end = int(first), int(last or first)
        if end < start or end - start >= 1000:
            raise ConfigError(f"--rows: found {part.strip()!r}, expected an ascending range of at most 1,000 rows")
        results.extend(range(start, end + 1))
    return list(dict.fromkeys(results))
