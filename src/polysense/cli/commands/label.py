"""`polysense label`: a page on which people label a table."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from polysense.cli import console
from polysense.cli.arguments import access_overrides, joined, media_root, names
from polysense.cli.commands.options import AllowUrls, InsideOnly, Join, Json, Overrides, Pretrained, Table
from polysense.cli.label_simulation import simulate as simulate_labeling
from polysense.errors import ConfigError

__all__ = ["label"]


def label(
    table: Table,
    overrides: Overrides = None,
    *,
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="COLUMN", help="The column that labels are for, there or not yet.")
    ],
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="What labels are, where the table does not tell; by default classes."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="The classes, in the order of their keys; by default those of the table."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="The columns to show and to learn from; by default all inputs.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The text column whose stretches are labeled (tagging).")
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name that the page begins with; by default this account's.")
    ] = None,
    guideline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A text that annotators can open on the page.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The labels' folder; by default labels/TABLE-TARGET."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column that names rows; by default rows are told by their cells."),
    ] = None,
    shared: Annotated[
        float, typer.Option(metavar="SHARE", help="Rows that every annotator labels, so that agreement is known.")
    ] = 0.1,
    annotations: Annotated[int, typer.Option(metavar="N", help="How many annotators each other row gets.")] = 1,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Hand out rows that have a label in the table, too.")
    ] = False,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Which rows are worth a label, by a model that learns meanwhile (`polysense list strategies`); off: "
            "rows come at random.",
        ),
    ] = "auto",
    pretrained: Pretrained = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Start no page: try strategies on a table that has its labels, and say what each would have saved. "
            "--strategy A,B, --columns, --pretrained, --seed and -o OUT (.html, .json or a folder) count.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(metavar="N", help="Repetitions of a simulation.")] = 5,
    numbers: Annotated[
        str | None,
        typer.Option(metavar="10,20,...", help="Of labels after which a simulation scores; by default half more each."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the order of rows; by default 0.")] = None,
    port: Annotated[int, typer.Option(metavar="N", help="Of this machine; by default a free one.")] = 0,
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Whether to open the page in a browser.")] = True,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the table with its labels (.csv, .tsv, .jsonl, .parquet), or Label Studio's tasks (.json), and "
            "start no page.",
        ),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Take in answers from Label Studio's JSON, and start no page."),
    ] = None,
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Label a table on a page of this machine, with the keys 1 to 9, undo and search.

    Each decision is on the disk before the page goes on, in a journal of its own; the table is never changed. Stop with
    Ctrl-C, go on with the same command, and write the labels with --export FILE.
    """
    if sum((export is not None, import_ is not None, simulate)) > 1:
        raise ConfigError("found several of --export, --import and --simulate, expected one of them")
    source = joined(table, join)
    if simulate:
        simulate_labeling(
            source,
            target=target,
            task=task,
            inputs=names(columns, "--columns"),
            strategies=None if strategy == "auto" else strategy,
            seeds=seeds,
            numbers=numbers,
            pretrained=pretrained,
            overrides=[*(overrides or ()), *access_overrides(inside_only, allow_urls)],
            seed=seed or 0,
            output=output,
            as_json=as_json,
        )
        return
    if overrides:
        raise ConfigError(f"found {overrides[0]}, expected keys of a recipe with --simulate only")
    settings: dict[str, Any] = {
        "target": target,
        "task": task,
        "classes": names(classes, "--classes") or (),
        "over": over,
        "output": output,
        "key": key,
        "seed": seed,
        "root": media_root(table, inside_only, allow_urls),
    }

    from polysense import api

    if export is not None:
        with console.reserved_stdout(as_json):
            written = api.export_labels(source, export, **settings)
        console.write(written if as_json else _exported(written))
        return
    if import_ is not None:
        with console.reserved_stdout(as_json):
            taken = api.import_labels(source, import_, **settings)
        for reason in taken.unmatched[:10]:
            console.write_error(f"left out: {reason}")
        console.write(taken if as_json else f"took in {taken.num_new} new decisions; {taken.num_known} were known")
        return

    from polysense.serving import require_server

    require_server()
    from polysense.serving.labeling.server import serve_labeling

    with api.label(
        source,
        **settings,
        columns=names(columns, "--columns"),
        annotator=annotator if annotator is not None else _account(),
        guideline=guideline,
        shared=shared,
        annotations=annotations,
        relabel=relabel,
        strategy=strategy,
        pretrained=pretrained,
    ) as session:

        def started(address: str) -> None:
            if as_json:
                console.write({"address": address, "labels": session.folder})
            else:
                console.write(f"labeling {target!r} at {address}\nlabels are kept in {session.folder}; Ctrl-C ends")

        serve_labeling(session, port=port, opens=opens, started=started)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _exported(written: object) -> str:
    from polysense import api

    assert isinstance(written, api.ExportedLabels)
    lines = [f"wrote {written.path}: {written.num_labels:,} labels of annotators in {written.num_rows:,} rows"]
    if written.num_differing:
        lines.append(f"{written.num_differing:,} rows have none, since annotators differ: settle them on the page")
    if written.num_orphans:
        lines.append(f"{written.num_orphans:,} labeled rows are no longer in the table")
    if written.original is not None:
        lines.append(f"what the table had, where annotators say otherwise, stands in {written.original!r}")
    return "\n".join(lines)
