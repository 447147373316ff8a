"""`polysense evaluate`: a trained model on a table whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, on_device
from polysense.cli.commands.options import (
    AllowUrls,
    BlockSize,
    Bundle,
    By,
    Decoding,
    Device,
    Exact,
    InsideOnly,
    Join,
    Json,
    Table,
)
from polysense.cli.progress import rows_done

__all__ = ["evaluate"]


def evaluate(
    bundle: Bundle,
    table: Table,
    decoding: Decoding = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="test, validation or train: only these rows, as the model's own recipe splits the table; all: all "
            "rows, as by default, without a warning if some of them were trained on.",
        ),
    ] = None,
    by: By = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="BUNDLE",
            help="Another trained model of the same targets, scored on the same rows and compared, paired; may be "
            "given several times.",
        ),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="A trained model with a joint embedding space of a predicted column and an input: predicted cells are "
            "scored by their cosine with the input there.",
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", min=0, max=100_000, help="Resamplings for the intervals; 0 leaves them out.")
    ] = 1000,
    simple_baselines: Annotated[
        bool, typer.Option(help="Score the simple models that the run keeps on the same rows, beside the model.")
    ] = True,
    block_size: BlockSize = None,
    exact: Exact = None,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Measure a trained model on a labeled table."""
    from polysense import api

    with console.reserved_stdout(as_json), rows_done("measuring") as progress:
        evaluation = api.evaluate(
            on_device(bundle, device),
            joined(table, join),
            bootstrap=bootstrap,
            decoding=decoding,
            split=split,
            by=by or (),
            against=[on_device(other, device) for other in against or ()],
            judge=None if judge is None else on_device(judge, device),
            simple_baselines=simple_baselines,
            block_size=block_size,
            exact=exact,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
    console.write(evaluation.as_json() if as_json else evaluation.text())
