"""`polysense fewshot`: classification with few labeled rows on frozen features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, names, on_device, writable
from polysense.cli.commands.options import AllowUrls, Bundle, Device, InsideOnly, Join, Json, Table
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["fewshot", "parse_shots"]


def fewshot(
    bundle: Bundle,
    table: Table,
    target: Annotated[str, typer.Option("--target", "-t", metavar="COLUMN", help="The column of labels.")],
    shots: Annotated[
        str, typer.Option(metavar="1,2,...", help="Labeled rows per class, separated by commas; `all` takes all.")
    ] = "1,2,4,8,16",
    draws: Annotated[int, typer.Option(metavar="N", help="Number of random draws for each number of shots.")] = 5,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="The model's input columns to read, by default all that it has.")
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Some of prototypes, linear_probe, knn; where classes are uneven (--shots all) also balanced_probe, "
            "smote_probe, smote_only, gan_probe, gan_only.",
        ),
    ] = "prototypes,linear_probe,knn",
    features: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Features to use: space (embeddings of the joint space), code (of a reconstruction model), "
            "fused (the summary of all columns), tokens (the mean of each encoder's); auto: the first of these "
            "that there is. vectors: what data.features makes of cells, without an encoder.",
        ),
    ] = "auto",
    test: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="A table to test on, instead of the split.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the draws and the random encoder.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to write the page (.html), the figures (.json), or both (a folder).",
        ),
    ] = None,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Classify rows from a few labeled ones per class, on what the model has learned; nothing of it is trained.

    Labeled rows come from the training split and are tested on the test split, beside an encoder of the same
    architecture with random weights.
    """
    numbers = parse_shots(shots)
    if output is not None and output.suffix[1:].isalpha() and not output.is_dir():
        writable(output, table, "the figures", (".html", ".json"))

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("reading") as progress:
        result = api.fewshot(
            on_device(bundle, device),
            joined(table, join),
            target=target,
            shots=numbers,
            draws=draws,
            columns=names(columns, "--columns"),
            methods=names(methods, "--methods") or (),
            features_of=features,
            test=test,
            seed=seed,
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
    paths = [] if output is None else result.write(output)
    console.write_unreadable(result.unreadable)
    if as_json:
        console.write({**result.as_json(), "output": paths})
        return
    console.write("\n".join([result.text(), *(f"wrote {path}" for path in paths)]))


def parse_shots(spelled: str) -> list[int | None]:
    """Numbers of labeled rows per class; None for all.

    Raises:
        ConfigError: A part is neither a whole number nor `all`.
    """
    results: list[int | None] = []
    for part in names(spelled, "--shots") or ():
        if part != "all" and not part.isdecimal():
            raise ConfigError(f"--shots {spelled}: found {part!r}, expected whole numbers or all, as 1,2,4,all")
        results.append(None if part == "all" else int(part))
    return results
