"""`polysense prepare`: every media cell of a table decoded once, for all runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import access_overrides, join_overrides
from polysense.cli.commands.options import (
    AllowUrls,
    InsideOnly,
    Join,
    Json,
    NoTarget,
    Overrides,
    Pretrained,
    Seed,
    Source,
    Targets,
)
from polysense.cli.commands.train import Columns, Preset, parse_columns, short_overrides
from polysense.core.num_bytes import parse_bytes

__all__ = ["prepare"]


def prepare(
    source: Source,
    overrides: Overrides = None,
    target: Targets = None,
    task: NoTarget = None,
    preset: Preset = "balanced",
    seed: Seed = None,
    pretrained: Pretrained = None,
    column: Columns = None,
    validation: Annotated[Path | None, typer.Option(metavar="TABLE", help="A table to validate on.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="TABLE", help="A table to test on.")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Processes that decode; as many as cores if not given."),
    ] = None,
    on: Annotated[
        str, typer.Option("--on", metavar="WHERE", help="Where cells are decoded: local, or ray for a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT",
            help="The Ray cluster's; if not given, RAY_ADDRESS or a Ray of its own on this machine.",
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-bytes",
            metavar="SIZE",
            help="The most that the store may take, as 50GB; if not given, POLYSENSE_CACHE_BYTES or 20 GiB.",
        ),
    ] = None,
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Decode a table's images, audio and videos once, for all runs.

    Give what you would give to `polysense train`: it then reads them from the store, and so do evaluate and predict. A
    call that was stopped goes on where it was.
    """
    changes = [*join_overrides(join), *(overrides or ()), *access_overrides(inside_only, allow_urls)]
    changes += short_overrides({"--seed": seed}, changes)
    columns = parse_columns(column)

    from polysense import api

    with console.reserved_stdout(as_json):
        result = api.prepare(
            source,
            target=target or None,
            task=task,
            overrides=changes,
            preset=preset,
            validation=validation,
            test=test,
            columns=columns,
            pretrained=pretrained,
            num_workers=workers,
            on=on,
            ray_address=ray_address,
            max_bytes=None if max_bytes is None else parse_bytes(max_bytes, "--max-bytes"),
            progress=not console.is_quiet(),
        )
    console.write(result.as_json() if as_json else result.text())
