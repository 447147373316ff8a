"""`polysense compare`: variants of one recipe, several seeds each, and which differences can be told from chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import join_overrides
from polysense.cli.commands.options import Join, Json, Overrides, Pretrained, Source, Targets
from polysense.cli.commands.train import Columns, Preset, parse_columns

__all__ = ["compare"]


def compare(
    source: Source,
    over: Annotated[
        list[str],
        typer.Option(
            "--over",
            metavar="KEY=A,B,...",
            help="A key of the recipe and its values, as model.fusion.type=concat,gated. If given several "
            "times, every combination is tried.",
        ),
    ],
    overrides: Overrides = None,
    target: Targets = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Trainings of each variant.")] = 5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The folder; runs/compare-... if not given.")
    ] = None,
    preset: Preset = "balanced",
    pretrained: Pretrained = None,
    column: Columns = None,
    join: Join = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The split to report on: test or validation; test, if there is one."),
    ] = None,
    unimodal: Annotated[
        bool, typer.Option("--unimodal/--no-unimodal", help="Also train a unimodal model of each column.")
    ] = True,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Number of processes that train in parallel.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Save every trained model.")] = False,
    as_json: Json = False,
) -> None:
    """Compare variants of a recipe fairly: same split, same seeds, same budget.

    polysense compare recipe.yaml --over model.fusion.type=concat,gated --seeds 5

    Interrupted, the same command goes on; finished trainings are not done again.
    """
    columns = parse_columns(column)

    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.compare(
            source,
            over,
            target=target or None,
            seeds=seeds,
            output=output,
            overrides=[*join_overrides(join), *(overrides or ())],
            preset=preset,
            columns=columns,
            pretrained=pretrained,
            split=split,
            unimodal=unimodal,
            jobs=jobs,
            keep=keep,
        )
    console.write(result.as_json() if as_json else result.summary())
