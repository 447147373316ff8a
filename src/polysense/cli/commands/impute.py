"""`polysense impute`: missing cells filled by a model that restores columns."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Literal

import typer

from polysense.cli import console
from polysense.cli.commands.options import Bundle, Json, Table
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["impute"]

_NUM_NAMED = 10
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def impute(
    bundle: Bundle,
    table: Table,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write the filled table (.csv, .tsv, .jsonl, .parquet). Pictures that are made go into the "
            "folder FILE_media beside it.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Which columns to fill, if not all; a name with a comma stands in quotation marks: '\"a,b\",c'.",
            show_default=False,
        ),
    ] = None,
    unreadable: Annotated[
        Literal["keep", "fill"],
        typer.Option(help="Whether cells that can't be read stay as they are, or are filled too."),
    ] = "keep",
    only_report: Annotated[
        bool, typer.Option("--only-report", help="Count what is missing; fill and write nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Let FILE be the table itself, which is then replaced.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fill the missing cells of a table from what its rows have.

    BUNDLE is a model that restores columns (train --task reconstruction). Cells that are there stand as they stood; a
    column `imputed` says which were filled. A row with nothing at all is left as it is, and reported.
    """
    if output is None and not only_report:
        raise ConfigError("name the file to write with -o, or ask for --only-report")
    if output is not None and not only_report:
        _check(output, table, force)

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("filling") as progress:
        found = api.impute(
            bundle,
            table,
            columns=None if columns is None else _names(columns),
            media=None if output is None else output.with_name(f"{output.stem}_media"),
            unreadable=unreadable,
            only_report=only_report,
            progress=progress,
        )
        if output is not None and not only_report:
            found.write(output)
    for cell in found.unreadable[:_NUM_NAMED]:
        console.write_error(f"unreadable: {cell}")
    if len(found.unreadable) > _NUM_NAMED:
        console.write_error(f"unreadable: {len(found.unreadable) - _NUM_NAMED} more cells; --json lists all")
    if as_json:
        console.write_json({**found.as_json(), "output": None if only_report else output})
    else:
        console.write_text(found.text() + ("" if only_report else f"\nwrote {output}"))


def _check(output: Path, table: Path, force: bool) -> None:
    """What would go wrong at the end is told before the work is done."""
    if output.suffix.lower() not in _ENDINGS:
        raise ConfigError(
            f"{output}: can't write {output.suffix or 'a file without an ending'}; use {', '.join(_ENDINGS)}"
        )
    if table.exists() and output.exists() and output.samefile(table) and not force:
        raise ConfigError(
            f"the filled table would overwrite the table {table}; name another file with -o, or say --force"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    probe = output.with_name(f".{output.name}.part")
    probe.touch()
    probe.unlink()


def _names(text: str) -> list[str]:
    """Names separated by commas; one that holds a comma stands in quotation marks."""
    names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not any(names):
        raise ConfigError(f"--columns: found {text!r}, expected names separated by commas")
    return [name for name in names if name]
