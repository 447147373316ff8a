"""`polysense index`: a table's rows as an index that can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polysense.cli import console
from polysense.cli.arguments import names
from polysense.cli.commands.options import Json
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
        Path | None,
        typer.Argument(metavar="TABLE", help="A table: CSV, TSV, JSON Lines, Parquet, Arrow or Feather."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="INDEX",
            help="The index: a folder; or NAME.lance, also s3://BUCKET/NAME.lance: a LanceDB table.",
            show_default=False,
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
    add: Annotated[bool, typer.Option("--add", help="Add the table's rows to an index that is there.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Likewise, and replace rows whose ids are there.")] = False,
    delete: Annotated[
        str | None, typer.Option(metavar="ID,ID,...", help="Delete rows of an index; without BUNDLE and TABLE.")
    ] = None,
    graph: Annotated[
        bool | None,
        typer.Option(
            "--graph/--no-graph",
            help="Build a graph for approximate search; from a million rows on it is built unless told not to.",
            show_default=False,
        ),
    ] = None,
    compact: Annotated[bool, typer.Option("--compact", help="Give back the space of deleted rows.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte, and compare checksums.")] = False,
    duplicates: Annotated[
        float | None, typer.Option(metavar="COSINE", help="Print all pairs of rows that are at least so similar.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a table's rows as vectors into an index, or look after one.

    With BUNDLE and TABLE: makes the index INDEX, or adds to it (--add, --update). Without: --delete, --compact,
    --graph, --verify and --duplicates work on the index as it is. What was written is on the disk when the command
    ends, and stays whole whenever it is killed.
    """
    if output is None:
        raise ConfigError("name the index's folder with -o INDEX")
    chores = delete is not None or compact or verify or duplicates is not None
    if (bundle is None) != (table is None):
        raise ConfigError("name both a model and a table (polysense index BUNDLE TABLE -o INDEX), or neither")
    if table is None and not chores and graph is None:
        raise ConfigError(
            "nothing to do: name a model and a table (polysense index BUNDLE TABLE -o INDEX), or one of --delete, "
            "--compact, --graph, --verify, --duplicates"
        )
    if table is not None and chores:
        raise ConfigError("--delete, --compact, --verify and --duplicates go without BUNDLE and TABLE")
    if table is not None and bundle is not None:
        from polysense import api

        with console.reserved_stdout(as_json), rows_done("indexing") as progress:
            made = api.index_table(
                bundle,
                table,
                output,
                column=column,
                ids=ids,
                add=add,
                update=update,
                graph=graph,
                progress=progress,
            )
        console.write_unreadable(made.unreadable)
        if as_json:
            console.write_json(made.as_json())
        else:
            console.write_text(made.text())
        return
    _look_after(output, delete, compact, bool(graph), verify, duplicates, as_json)


def _look_after(
    place: str,
    delete: str | None,
    compact: bool,
    graph: bool,
    verify: bool,
    duplicates: float | None,
    as_json: bool,
) -> None:
    from polysense.search import open_index

    told: dict[str, Any] = {}
    with open_index(place, writable=delete is not None or compact or graph) as opened:
        if delete is not None:
            asked = _ids(names(delete, "--delete") or [], opened.id_type)
            told["not_there"] = [one for one, there in zip(asked, opened.contains(asked), strict=True) if not there]
            told["num_deleted"] = opened.delete(asked)
        if compact:
            opened.compact()
        if graph:
            measured = opened.build_graph()
            told["graph"] = measured.as_dict() if as_json else measured.text()
        if verify:
            told["num_files_verified"] = opened.verify()
        if duplicates is not None:
            pairs = opened.duplicates(duplicates)
            told["duplicates"] = pairs.to_dicts()
        told["num_rows"] = len(opened)
    if as_json:
        console.write_json(told)
        return
    lines = [f"{row['score']:.4f}  {row['first']}  {row['second']}" for row in told.pop("duplicates", [])]
    if lost := told.pop("not_there", []):
        more = f" and {len(lost) - _NUM_NAMED:,} more" if len(lost) > _NUM_NAMED else ""
        console.write_error(f"not in the index: {', '.join(map(str, lost[:_NUM_NAMED]))}{more}")
    lines += [f"{name.replace('_', ' ').removeprefix('num ')}: {value}" for name, value in told.items()]
    console.write_text("\n".join(lines))


def _ids(given: list[str], kind: str | None) -> list[Any]:
    if kind != "int":
        return list(dict.fromkeys(given))
    try:
        return list(dict.fromkeys(int(name) for name in given))
    except ValueError as error:
        raise ConfigError(f"--delete {','.join(given)}: the index's row ids are whole numbers") from error
