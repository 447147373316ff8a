"""`polysense index`: a table's rows as an index that can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polysense.cli import console
from polysense.cli.arguments import joined, media_root, on_device
from polysense.cli.arguments import names as split_names
from polysense.cli.commands.options import AllowUrls, Device, InsideOnly, Join, Json
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["index"]

_NUM_NAMED = 10


def index(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="A trained model: a run's folder, or the folder `bundle` in it."),
    ] = None,
    table: Annotated[
        Path | None, typer.Argument(metavar="TABLE", help="A table: CSV, TSV, JSON Lines, Parquet, Arrow or Feather.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="INDEX", help="The index: a folder, or s3://BUCKET/INDEX, gs://..., az://..."
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The input column whose vectors it holds; by default all together, averaged."
        ),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The table's column of row ids; by default rows are counted from 0."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add the table's rows to an existing index.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Likewise, and replace rows whose ids are in it.")] = False,
    delete: Annotated[
        str | None, typer.Option(metavar="ID,ID,...", help="Delete rows of an index; without BUNDLE and TABLE.")
    ] = None,
    ann: Annotated[
        bool | None,
        typer.Option(
            "--ann/--no-ann", help="Build an ANN index for approximate search; the default from 250,000 rows on."
        ),
    ] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Reclaim the disk space of deleted rows and old versions.")
    ] = False,
    duplicates: Annotated[
        float | None, typer.Option(metavar="COSINE", help="Print all pairs of rows that are at least so similar.")
    ] = None,
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Write a table's rows as vectors into an index, or manage an index.

    With BUNDLE and TABLE: makes the index INDEX, or adds to it (--add, --update). Without: --delete, --compact, --ann
    and --duplicates work on the index as it is. A command that is killed at any moment leaves a whole index.
    """
    if output is None:
        raise ConfigError("name the index with -o INDEX")
    chores = delete is not None or compact or duplicates is not None
    if (bundle is None) != (table is None):
        raise ConfigError("name both a model and a table (polysense index BUNDLE TABLE -o INDEX), or neither")
    if table is None and not chores and ann is None:
        raise ConfigError(
            "nothing to do: name a model and a table (polysense index BUNDLE TABLE -o INDEX), or one of --delete, "
            "--compact, --ann, --duplicates"
        )
    if table is not None and chores:
        raise ConfigError("--delete, --compact and --duplicates go without BUNDLE and TABLE")
    if table is not None and bundle is not None:
        from polysense import api

        with console.reserved_stdout(as_json), rows_done("indexing") as progress:
            made = api.index_table(
                on_device(bundle, device),
                joined(table, join),
                output,
                column=column,
                ids=ids,
                add=add,
                update=update,
                ann=ann,
                root=media_root(table, inside_only, allow_urls),
                progress=progress,
            )
        console.write_unreadable(made.unreadable)
        console.write(made.as_json() if as_json else made.text())
        return
    _manage(output, delete, compact, bool(ann), duplicates, as_json)


def _manage(
    location: str, delete: str | None, compact: bool, ann: bool, duplicates: float | None, as_json: bool
) -> None:
    from polysense import api

    result: dict[str, Any] = {}
    with api.VectorIndex.open(location, writable=delete is not None or compact or ann) as opened:
        if delete is not None:
            ids = _ids(split_names(delete, "--delete") or [], opened.id_type)
            result["not_in_index"] = [one for one, there in zip(ids, opened.contains(ids), strict=True) if not there]
            result["num_deleted"] = opened.delete(ids)
        if compact:
            opened.compact()
        if ann:
            report = opened.build_ann()
            result["ann"] = report if as_json else report.text()
        if duplicates is not None:
            pairs = opened.duplicates(duplicates)
            result["duplicates"] = pairs.to_dicts()
        result["num_rows"] = len(opened)
    if as_json:
        console.write(result)
        return
    lines = [f"{row['score']:.4f}  {row['first']}  {row['second']}" for row in result.pop("duplicates", [])]
    if missing := result.pop("not_in_index", []):
        more = f" and {len(missing) - _NUM_NAMED:,} more" if len(missing) > _NUM_NAMED else ""
        console.write_error(f"not in the index: {', '.join(map(str, missing[:_NUM_NAMED]))}{more}")
    lines += [f"{name.replace('_', ' ').removeprefix('num ')}: {value}" for name, value in result.items()]
    console.write("\n".join(lines))


def _ids(names: list[str], kind: str | None) -> list[str] | list[int]:
    if kind != "int":
        return list(dict.fromkeys(names))
    try:
        return list(dict.fromkeys(int(name) for name in names))
    except ValueError as error:
        raise ConfigError(f"--delete {','.join(names)}: the index's row ids are whole numbers") from error
