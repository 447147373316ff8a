"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AllowUrls",
    "BatchSize",
    "BlockSize",
    "Bundle",
    "By",
    "CsvSafe",
    "Decoding",
    "Device",
    "Epochs",
    "Exact",
    "InsideOnly",
    "Join",
    "Json",
    "NoTarget",
    "Overrides",
    "Pretrained",
    "Seed",
    "Source",
    "Table",
    "Targets",
    "TrainingDevice",
]

BatchSize: TypeAlias = Annotated[
    int | None,
    typer.Option("--batch-size", metavar="ROWS", min=1, help="Rows of a training step; short for training.batch_size."),
]

Bundle: TypeAlias = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A trained model: a run's folder, or the folder `bundle` in it.")
]
BlockSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--block-size",
        metavar="ROWS",
        help="Rows that are computed together, if not as many as the model's recipe says: 1, or a multiple of 32. "
        "Another number gives other last bits.",
    ),
]
By: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="Score each value of this column too, with the gap between the best and the worst; may be given several "
        "times.",
    ),
]
CsvSafe: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--csv-safe/--no-csv-safe",
        help="Whether texts in .csv and .tsv that a spreadsheet would take for a formula get an apostrophe in front.",
    ),
]
Decoding: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Decoding strategy, if not the recipe's: decoding=beam decoding.beam_size=8, decoding=sample "
        "decoding.temperature=0.7 decoding.num_texts=3, ... `polysense list decodings` lists all. Likewise what "
        "other heads let be changed after training: head.guidance=3 head.seed=1.",
    ),
]
Device: TypeAlias = Annotated[
    str,
    typer.Option(
        "--device", metavar="DEVICE", help="Where the model runs: auto (a GPU if there is one), cpu, cuda or mps."
    ),
]
Epochs: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Passes over the training rows; short for training.epochs."),
]
Exact: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--exact/--no-exact",
        help="Whether a row's prediction is the same to the last bit whatever other rows are there, if not as the "
        "model's recipe says; without it, small tables are faster.",
    ),
]
AllowUrls: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-urls",
        help="Download files that cells name by http or https URL, from public addresses only; in a recipe, "
        "data.allow_urls=true.",
    ),
]
InsideOnly: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--inside-only",
        help="Read no media files outside of the table's folder, symbolic links followed; in a recipe, "
        "data.allow_outside=false.",
    ),
]
Join: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--join",
        metavar="[NAME=]TABLE",
        help="A table whose columns are joined to the rows as NAME.COLUMN; NAME is the file's if not given. May be "
        "given several times. Keys are inferred; data.tables.NAME.on=COLUMN in a recipe or as an override sets them.",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
NoTarget: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="What is to be done with the columns named by --target, where the guess is wrong: classification, "
        "image_generation, ... Without a column to predict, retrieval: a joint embedding space of the columns named by "
        "--target, or of all text, image, audio and video columns; reconstruction: of the columns named by --target, "
        "or of all.",
    ),
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Keys of the recipe to change, as training.epochs=5 or data.columns[name with dots].type=text.",
    ),
]
Pretrained: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--pretrained",
        metavar="WHERE",
        help="Where pretrained backbones are looked for: auto (the folder that POLYSENSE_PRETRAINED names, and the "
        "local Hugging Face cache), download (there, else on the hub), off, or a folder of models.",
    ),
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Seed of the split, the model and its training; short for training.seed."),
]
Source: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE_OR_TABLE", help="A recipe (.yaml), or a table (CSV, TSV, JSON Lines, Parquet, Arrow, Feather)."
    ),
]
Table: TypeAlias = Annotated[
    Path, typer.Argument(metavar="TABLE", help="A table: CSV, TSV, JSON Lines, Parquet, Arrow or Feather.")
]
Targets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="COLUMN",
        help="A column to predict; may be given several times. Needed with a table, not with a recipe.",
    ),
]
TrainingDevice: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Where to train: auto (a GPU if there is one), cpu, cuda or mps; short for training.device.",
    ),
]
