"""Draws what `table_sizes.py` measured: processor time and peak memory of each command by a table's rows and by its
columns, on logarithmic axes.

    python benchmarks/size_plot.py table_sizes.json docs/table_sizes.svg

A line at the slope of the dotted one grows in proportion.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLORS = {"check": "#0072b2", "train": "#d55e00", "predict": "#009e73"}  # told apart without red and green (Okabe, Ito)
WIDTH, HEIGHT, LEFT, TOP, GAP = 360, 220, 70, 50, 90
PITCH = HEIGHT + 100
"""From one row of panels to the next."""


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that enclose positive numbers."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def panel(
    results: Sequence[Mapping[str, Any]],
    by: str,
    title: str,
    value: Callable[[Mapping[str, Any]], float],
    left: int,
    upper: int,
) -> list[str]:
    """One diagram of the SVG: a line for each command, with a mark for each measurement.

    Args:
        results: Those that have a size of this kind.
        by: "rows" or "columns".
        title: What is drawn, with its unit.
        value: It, of a measurement.
        left: Where the panel begins.
        upper: Likewise.
    """
    first, last = decades([each[by] for each in results])
    bottom, top = decades([value(each) for each in results])

    def x(number: float) -> float:
        return left + WIDTH * (math.log10(number) - first) / (last - first)

    def y(number: float) -> float:
        return upper + HEIGHT * (1 - (math.log10(number) - bottom) / (top - bottom))

    parts = [f'<text class="title" x="{left}" y="{upper - 16}">{title}</text>']
    for power in range(first, last + 1):
        at = x(10**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{upper}" y2="{upper + HEIGHT}"/>')
        parts.append(f'<text x="{at:.1f}" y="{upper + HEIGHT + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(bottom, top + 1):
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>')
    parts.append(f'<text x="{left + WIDTH / 2}" y="{upper + HEIGHT + 36}" text-anchor="middle">{by}</text>')
    # In proportion, from the lower left corner as far as the panel goes.
    span = min(last - first, top - bottom)
    parts.append(
        f'<line class="slope" x1="{x(10**first):.1f}" y1="{y(10.0**bottom):.1f}" '
        f'x2="{x(10 ** (first + span)):.1f}" y2="{y(10.0 ** (bottom + span)):.1f}"/>'
    )
    for command, color in COLORS.items():
        points = sorted((each[by], value(each)) for each in results if each["command"] == command)
        places = [f"{x(size):.1f},{y(number):.1f}" for size, number in points]
        if places:
            parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{color}" stroke-width="2"/>')
        for place, (size, number) in zip(places, points, strict=True):
            cx, cy = place.split(",")
            told = f"<title>{command}, {size:,} {by}: {number:.3g}</title>"
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="4" fill="{color}">{told}</circle>')
    return parts


def drawn(results: Sequence[Mapping[str, Any]]) -> str:
    """The SVG of what was measured.

    Args:
        results: As `table_sizes.py` writes them: rows or columns, command, processor seconds and peak bytes of each.
    """
    second, upper = LEFT + WIDTH + GAP, TOP
    parts = []
    for by in ("rows", "columns"):
        own = [each for each in results if by in each]
        if own:
            parts += panel(own, by, "processor time, s", lambda each: each["processor"], LEFT, upper)
            parts += panel(own, by, "peak memory, GiB", lambda each: each["peak"] / 2**30, second, upper)
            upper += PITCH
    width, height, at = second + WIDTH + 50, upper - 10, LEFT
    for command, color in COLORS.items():
        parts.append(f'<rect x="{at}" y="{height - 22}" width="14" height="4" fill="{color}"/>')
        parts.append(f'<text x="{at + 20}" y="{height - 16}">{command}</text>')
        at += 90
    parts.append(f'<text x="{at}" y="{height - 16}">dotted: in proportion</text>')
    style = (
        "text{font:13px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}"
        ".slope{stroke:#888;stroke-dasharray:2 4}"
    )
    about = "Processor time and peak memory of check, train and predict by rows and by columns"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{about}">'
        f'<style>{style}</style><rect width="{width}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="what table_sizes.py --output wrote")
    parser.add_argument("picture", type=Path, help="the SVG file to write")
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    options.picture.write_text(drawn(results), encoding="utf-8")


if __name__ == "__main__":
    main()
