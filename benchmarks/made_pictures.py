"""What benchmarks on made pictures share: shapes, tables of three parts, and scores with and without a column."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import ImageDraw

import polysense

__all__ = ["draw_shape", "print_scores", "write_parts"]


def draw_shape(draw: ImageDraw.ImageDraw, form: str, box: tuple[int, int, int, int], color: Any) -> None:
    """Draws a circle, a triangle, a diamond or a square that fills a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    middle, center = (left + right) / 2, (top + bottom) / 2
    if form == "circle":
        draw.ellipse(box, fill=color)
    elif form == "triangle":
        draw.polygon([(middle, top), (right, bottom), (left, bottom)], fill=color)
    elif form == "diamond":
        draw.polygon([(middle, top), (right, center), (middle, bottom), (left, center)], fill=color)
    else:
        draw.rectangle(box, fill=color)


def write_parts(
    folder: Path, make_rows: Callable[[Path, int, int], list[dict[str, Any]]], num_rows: int, num_tests: int
) -> dict[str, Path]:
    """Writes the tables of training, validation (a twentieth, 50 at least) and test, and their files.

    Args:
        folder: Of the tables.
        make_rows: A folder for files, how many rows, and a seed, to the rows.
        num_rows: That train.
        num_tests: That test.
    """
    tables = {}
    for seed, (name, number) in enumerate(
        {"train": num_rows, "validation": max(50, num_rows // 20), "test": num_tests}.items()
    ):
        tables[name] = folder / f"{name}.jsonl"
        lines = [json.dumps(row) for row in make_rows(folder / "files", number, seed)]
        tables[name].write_text("\n".join(lines), encoding="utf-8")
    return tables


def print_scores(bundle: Any, test: Path, target: str, column: str, shown: Mapping[str, str]) -> None:
    """Prints metrics of the test rows with their own cells of a column, without, and with another row's.

    Args:
        bundle: The model.
        test: The table.
        target: What is scored.
        column: Whose cells are taken away or exchanged.
        shown: Metrics, and what they are called.
    """
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    own = [row[column] for row in rows]
    print(f"| {column} | {' | '.join(shown.values())} |\n|{' --- |' * (1 + len(shown))}")
    for name, cells in {"its own": own, "none": [None] * len(rows), "another row's": [*own[1:], own[0]]}.items():
        table = [{**row, column: cell} for row, cell in zip(rows, cells, strict=True)]
        metrics = polysense.evaluate(bundle, table, simple_baselines=False).evaluation.metrics[target]
        values = [f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})" for one in (metrics[key] for key in shown)]
        print(f"| {name} | {' | '.join(values)} |")
