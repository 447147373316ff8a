"""`polysense shards`: a table and its files as WebDataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.arguments import media_root
from polysense.cli.commands.options import AllowUrls, InsideOnly, Json, Table
from polysense.cli.progress import rows_done
from polysense.core.num_bytes import parse_bytes, spell_bytes

__all__ = ["shards"]


def shards(
    table: Table,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write the shards to.")],
    max_bytes: Annotated[
        str, typer.Option("--max-bytes", metavar="SIZE", help="The most that a shard may take, as 300MB.")
    ] = "1GB",
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=1, help="The most rows that a shard may have.")
    ] = 100_000,
    inside_only: InsideOnly = False,
    allow_urls: AllowUrls = False,
    as_json: Json = False,
) -> None:
    """Write a table and the files that its cells name as WebDataset shards (tar archives).

    The folder is then a table itself, wherever a table may be named. A call that was stopped goes on where it was.
    """
    from polysense import api

    size = parse_bytes(max_bytes, "--max-bytes")
    with console.reserved_stdout(as_json), rows_done("writing") as progress:
        result = api.write_shards(
            table,
            output,
            root=media_root(table, inside_only, allow_urls),
            max_bytes=size,
            max_rows=rows,
            progress=progress,
        )
    console.write_unreadable(result.unreadable)
    if as_json:
        entries = [{"name": each.name, "rows": each.num_rows, "bytes": each.num_bytes} for each in result.shards]
        unreadable = [cell.as_dict() for cell in result.unreadable]
        console.write({
            "output": output, "num_rows": result.num_rows, "new": result.num_new, "shards": entries,
            "files": list(result.columns), "unreadable": unreadable,
        })  # fmt: skip
        return
    files = f" with the files of {', '.join(result.columns)}" if result.columns else ""
    before, shards_of = len(result.shards) - result.num_new, "shard" if len(result.shards) == 1 else "shards"
    more = f" ({before} of them were there)" if before else ""
    console.write(
        f"wrote {result.num_rows:,} rows{files} to {len(result.shards)} {shards_of} in {output}, "
        f"{spell_bytes(result.num_bytes)}{more}"
    )
