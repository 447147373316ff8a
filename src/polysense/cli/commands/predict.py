"""`polysense predict`: a trained model on new rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import exports_of, joined, media_root, names, on_device, writable
from polysense.cli.commands.options import (
    AllowUrls,
    BlockSize,
    Bundle,
    CsvSafe,
    Decoding,
    Device,
    Exact,
    InsideOnly,
    Join,
    Json,
    Table,
)
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError
from polysense.escaping import visible

__all__ = ["predict"]


def predict(
    bundle: Bundle,
    table: Table,
    decoding: Decoding = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write the predictions (.csv, .tsv, .jsonl, .parquet); printed as JSON Lines if not given.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Columns of the table that stand beside the predictions, separated by commas: --keep id,name. The "
            "row's number stands there anyway.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="test, validation or train: only these rows, as the model's own recipe splits the table.",
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            "--export",
            metavar="NAME=PATH",
            help="Predictions in another format beside: --export coco=results.json, --export drawn_boxes=pictures, "
            "with keys --export '{type: coco, annotations: instances.json}=results.json'; may be given several "
            "times. `polysense list exporters` lists all.",
        ),
    ] = None,
    csv_safe: CsvSafe = True,
    block_size: BlockSize = None,
    exact: Exact = None,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print texts as they are generated, row by row.")] = False,
) -> None:
    """Predict the targets of every row of a table.

    Predictions stand in the table's order, each with its row's number, from 0. A cell that can't be read counts as
    missing and is listed; its row is predicted from the other columns.
    """
    if stream:
        if output is not None or as_json:
            raise ConfigError("--stream shows texts to people; leave it out with --output and --json")
        if keep is not None or split is not None or export:
            raise ConfigError(
                "--stream shows the texts of all rows and nothing else; leave out --keep, --split and --export"
            )
        from polysense import api

        root = media_root(table, inside_only, allow_urls)
        _show(
            api.stream(
                on_device(bundle, device),
                joined(table, join),
                decoding=decoding,
                root=root,
                block_size=block_size,
                exact=exact,
            )
        )
        return
    if output is not None:
        writable(output, table, "the predictions")

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("predicting") as progress:
        predictions = api.predict(
            on_device(bundle, device),
            joined(table, join),
            decoding=decoding,
            keep=names(keep, "--keep") or (),
            split=split,
            exports=exports_of(export),
            block_size=block_size,
            exact=exact,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
        if output is not None:
            predictions.write(output, csv_safe=csv_safe)
    console.write_unreadable(predictions.unreadable)
    if as_json:
        console.write(
            {
                "num_rows": len(predictions.frame),
                "output": output,
                "warnings": list(predictions.warnings),
                "unreadable": [cell.as_dict() for cell in predictions.unreadable],
                "predictions": predictions.with_files().to_dicts() if output is None else None,
            }
        )
    elif output is None:
        console.write(predictions.with_files().write_ndjson())
    else:
        console.write(f"wrote the predictions of {len(predictions.frame)} rows to {output}")


def _show(texts: Iterable[Iterable[str]]) -> None:
    """Every row's text as it is written, on a line of its own."""
    for text in texts:
        for piece in text:
            console.write_piece(visible(piece))  # a line break too: a row stays on its line
        console.write_piece("\n")
