"""`polysense train`: from a recipe or a table to a trained, evaluated, saved model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from polysense.cli import console
from polysense.cli.announcement import first_line
from polysense.cli.arguments import access_overrides, join_overrides
from polysense.cli.clock import began
from polysense.cli.commands.options import (
    AllowUrls,
    BatchSize,
    Epochs,
    InsideOnly,
    Join,
    Json,
    NoTarget,
    Overrides,
    Pretrained,
    Seed,
    Source,
    Targets,
    TrainingDevice,
)
from polysense.core.kind_names import kind_names
from polysense.core.logs import get_logger
from polysense.errors import ConfigError

__all__ = ["Columns", "Preset", "parse_columns", "short_overrides", "train"]

Columns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        "-c",
        metavar="NAME=KIND",
        help=f"A column's type, if the inferred one is wrong: {', '.join(kind_names('modality'))} or ignored. "
        "NAME=KIND:COLUMN adds a column as one more input: sound=audio:clip. May be given several times.",
    ),
]
Preset: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How much is trained: fast (for less than a minute), balanced or best (from half an hour on); or a time "
        "such as 10m, which takes the preset that is meant for it and sets --time.",
    ),
]


def parse_columns(options: Sequence[str] | None) -> dict[str, str] | None:
    """`NAME=KIND` options as a mapping. A name may itself hold `=`.

    Raises:
        ConfigError: An option has no `=`, or two options name one column.
    """
    columns: dict[str, str] = {}
    for option in options or ():
        name, equals, kind = option.rpartition("=")
        if not equals or not name or not kind:
            raise ConfigError(f"found --column {option!r}, expected NAME=KIND, for example --column photo=image")
        if name in columns:
            raise ConfigError(f"--column names {name!r} twice: as {columns[name]!r} and as {kind!r}")
        columns[name] = kind
    return columns or None


def short_overrides(options: Mapping[str, object], overrides: Sequence[str]) -> list[str]:
    """Options that are short for keys of the recipe's training, as overrides.

    Args:
        options: By name, None where one is not given.
        overrides: Those that are given beside them.

    Raises:
        ConfigError: An option and an override set one key.
    """
    results = []
    for option, value in options.items():
        if value is None:
            continue
        key = f"training.{option.removeprefix('--').replace('-', '_')}"
        other = next((one for one in overrides if one.partition("=")[0].strip() == key), None)
        if other is not None:
            raise ConfigError(f"found {option} {value} and {other}, expected one of them: both set {key}")
        results.append(f"{key}={value}")
    return results


def train(
    source: Source,
    overrides: Overrides = None,
    target: Targets = None,
    task: NoTarget = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run's folder; runs/... if not given.")
    ] = None,
    preset: Preset = "balanced",
    epochs: Epochs = None,
    seed: Seed = None,
    device: TrainingDevice = None,
    batch_size: BatchSize = None,
    pretrained: Pretrained = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="DURATION",
            help="The time that all of it may take: 30s, 10m, 1h. As many epochs and as much of the evaluation as fit "
            "are done, and what was left out is listed.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="NUMBER",
            help="Out-of-fold evaluation of a small table: so many models, each row judged by one that did not see it, "
            "and one more on all rows, which is delivered. 5 is usual.",
        ),
    ] = None,
    column: Columns = None,
    validation: Annotated[Path | None, typer.Option(metavar="TABLE", help="A table to validate on.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="TABLE", help="A table to test on.")] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also train a unimodal model of each column, and compare.")
    ] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            metavar="BUNDLE",
            help="Initialize from the compatible modules of a trained model; init_from.parts=... names them.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --output; if nothing is trained there yet, start it.")
    ] = False,
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="Resume although the table or the recipe is not what it was."),
    ] = False,
    items: Annotated[
        Path | None,
        typer.Option(
            "--items",
            metavar="TABLE",
            help="A table of items to rank, joined by their key; short for --join items=TABLE.",
        ),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            "--users", metavar="TABLE", help="A table of users, joined by their key; short for --join users=TABLE."
        ),
    ] = None,
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Train a model, from a recipe or a table.

    With a table, name the column to predict: polysense train table.csv --target label
    """
    since = began()
    join = [*(join or ()), *(f"{name}={path}" for name, path in (("items", items), ("users", users)) if path)]
    changes = [*join_overrides(join), *(overrides or ()), *(["evaluation.baselines=true"] if baselines else [])]
    changes += access_overrides(inside_only, allow_urls)
    changes += short_overrides(
        {"--epochs": epochs, "--seed": seed, "--device": device, "--batch-size": batch_size}, changes
    )
    columns = parse_columns(column)
    limit = preset if time is None and preset[:1].isdigit() else time
    if not resume and (line := first_line(source, target or (), limit)):
        get_logger("polysense.workflows").info("%s", line)

    from polysense import api

    with console.reserved_stdout(as_json):
        run = api.fit(
            source,
            target=target or None,
            task=task,
            output=output,
            overrides=changes,
            preset=preset,
            validation=validation,
            test=test,
            resume=resume,
            accept_changes=accept_changes,
            progress=not console.is_quiet(),
            columns=columns,
            pretrained=pretrained,
            time=time,
            folds=folds,
            since=since,
            init_from=init_from,
        )
    if as_json:
        console.write(run.as_json())
    else:
        console.write(run.summary(), link=run.report)
