"""Time and peak memory of joining other tables to a million rows, beside polars' own joins of the same frames.

A main table of orders is joined to products (one row of a key) and to reviews (many rows of a key, as lists of the last
ones before the order's own day). polars does what it offers for the same frames: two left joins of parsed keys, the
second on grouped lists, without the guarantees (rows without a partner listed, keys compared by spelling, no list from
the future). Each runs in a process of its own; JSON goes to standard output, ratios of polysense to polars in it.

    python benchmarks/joins.py --rows 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

LAST = 5


def tables(rows: int) -> dict[str, pl.DataFrame]:
    """Orders, products (a tenth as many) and reviews (twice as many), keys drawn unevenly, some without a partner."""
    draws = np.random.default_rng(0)
    products = max(10, rows // 10)
    days = np.array([f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(336)])
    of_order = np.minimum(draws.zipf(1.3, rows), products + 50)
    of_review = np.minimum(draws.zipf(1.3, 2 * rows), products + 50)
    return {
        "orders": pl.DataFrame({
            "product_id": of_order,
            "ordered": days[draws.integers(0, 336, rows)],
            "label": np.array(["kept", "returned"])[draws.integers(0, 2, rows)],
        }),
        "products": pl.DataFrame({
            "product_id": np.arange(1, products + 1),
            "title": [f"product number {i}" for i in range(products)],
            "price": draws.normal(size=products),
        }),
        "reviews": pl.DataFrame({
            "product_id": of_review,
            "day": days[draws.integers(0, 336, 2 * rows)],
            "stars": draws.integers(1, 6, 2 * rows),
        }),
    }  # fmt: skip


def by_polysense(frames: dict[str, pl.DataFrame]) -> Any:
    """Both joins, keys given."""
    from polysense.data.joins.config import JoinConfig
    from polysense.data.joins.join import join_tables
    from polysense.data.tables.sources import read_table

    sides = {name: frames[name] for name in ("products", "reviews")}
    table = read_table(frames["orders"], join=sides)
    one = JoinConfig(on="product_id", rows="one")
    many = JoinConfig(on="product_id", rows="many", order="day", before="ordered", last=LAST)
    return join_tables(table, {"products": one, "reviews": many}, logs=False).table.frame


def by_polars(frames: dict[str, pl.DataFrame]) -> Any:
    """Two left joins, lists of the last rows of a key, whenever they were."""
    lists = frames["reviews"].sort("day").group_by("product_id", maintain_order=True).agg(pl.all().tail(LAST))
    first = frames["orders"].join(frames["products"], on="product_id", how="left", maintain_order="left")
    return first.join(lists, on="product_id", how="left", maintain_order="left")


def peak() -> int:
    """Bytes of this process's peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def one(which: str, rows: int) -> dict[str, float]:
    """Seconds of a join, and what it adds to the process's peak."""
    frames = tables(rows)
    start, before = time.perf_counter(), peak()
    joined = {"polysense": by_polysense, "polars": by_polars}[which](frames)
    assert len(joined) == rows
    return {"seconds": round(time.perf_counter() - start, 3), "megabytes": (peak() - before) >> 20}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the main table")
    parser.add_argument("--only", choices=["polysense", "polars"], help="this one, in this process")
    options = parser.parse_args(argv)
    if options.only:
        print(json.dumps(one(options.only, options.rows)))
        return
    result: dict[str, Any] = {"rows": options.rows, "reviews": 2 * options.rows, "products": options.rows // 10}
    for which in ("polysense", "polars"):
        command = [sys.executable, __file__, "--rows", str(options.rows), "--only", which]
        environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, env=environment)
        result[which] = json.loads(done.stdout)
    result["ratio"] = {
        key: round(result["polysense"][key] / max(result["polars"][key], 1e-9), 2) for key in ("seconds", "megabytes")
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
