"""`polysense embed`: a table's rows as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import VECTORS, joined, media_root, on_device, writable
from polysense.cli.commands.options import AllowUrls, Bundle, Device, InsideOnly, Join, Json, Table
from polysense.cli.progress import rows_done

__all__ = ["embed"]


def embed(
    bundle: Bundle,
    table: Table,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the vectors: .parquet or .npz.")
    ],
    device: Device = "auto",
    join: Join = None,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Write every row of a table as vectors, of each column and of all together.

    A model with a joint embedding space gives embeddings in it, of length 1: the nearer two are, the more related they
    are, whatever columns they are of. Any other model gives the summaries that it predicts from.
    """
    writable(output, table, "the vectors", VECTORS)

    from polysense import api

    with console.reserved_stdout(as_json), rows_done("reading") as progress:
        result = api.embeddings(
            on_device(bundle, device),
            joined(table, join),
            root=media_root(table, inside_only, allow_urls),
            progress=progress,
        )
        result.write(output)
    console.write_unreadable(result.unreadable)
    entries = [
        {"column": name, "kind": kind, "size": result.vectors[name].shape[1], "num_rows": len(result.of(name)[0])}
        for name, kind in result.kinds.items()
    ]
    if as_json:
        unreadable = [cell.as_dict() for cell in result.unreadable]
        console.write({"num_rows": len(result.rows), "output": output, "vectors": entries, "unreadable": unreadable})
        return
    lines = [
        f"  {entry['column'] or '(all together)'}: {entry['num_rows']} vectors of {entry['size']}, {entry['kind']}"
        for entry in entries
    ]
    console.write("\n".join([f"wrote {len(result.rows)} rows to {output}", *lines]))
