"""The page and the text of explained predictions: each row's columns, and heat maps over what is in its cells.

A map is drawn over what the model gets: patches over the picture, stretches over the spectrogram or the lines of a
series, a ground behind words. A color says which way a part moves the number and how far, and the list of the strongest
parts says it in words, so that nothing is told by color alone.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polysense.core.preview import CellPreview, even_positions
from polysense.core.schema import Schema
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.explanation_result import CellMap, ColumnExplanation, RowExplanation, TargetExplanation
from polysense.reports import charts
from polysense.reports.environment import render
from polysense.reports.numerals import number, signed
from polysense.reports.previews import preview_input

__all__ = ["explanation_text", "render_explanations"]

_MAX_IMAGES = 16
_SIDE = 224  # pixels of a thumbnail that a map is drawn over
_STRONGEST = 5
_MOST_OPAQUE = 0.7
_COLUMNS = 80  # of a terminal


@dataclass(frozen=True, eq=False, kw_only=True)
class _Overlay:
    """One picture of a cell, and the parts over it."""

    image: bytes
    parts: Markup
    label: str


@dataclass(frozen=True, eq=False, kw_only=True)
class _Drawn:
    """A column's cell as it is shown.

    Attributes:
        column: What is known of it.
        preview: What it holds.
        bar: Its share, drawn.
        overlays: Its pictures, with their parts.
        texts: Its texts, each in pieces: (text, how strong from -1 to 1).
        strongest: Its strongest parts, in words.
        test: How well the map says what happens, in words.
    """

    column: ColumnExplanation
    preview: CellPreview
    bar: Markup
    overlays: Sequence[_Overlay]
    texts: Sequence[Sequence[tuple[str, float]]]
    strongest: Sequence[tuple[str, str]]
    test: str


def render_explanations(
    title: str, rows: Sequence[RowExplanation], schema: Schema, dataset: TableDataset, notes: Sequence[str]
) -> str:
    """The whole page as HTML.

    Args:
        title: Of the page.
        rows: What is shown.
        schema: The model's.
        dataset: The rows' own.
        notes: How it was made, a sentence each.
    """
    shown = [(row, [(target, _drawn(row, target, schema, dataset)) for target in row.targets]) for row in rows]
    return render("explanation.html.j2", title=title, rows=shown, notes=notes, number=number, signed=signed)


def _drawn(row: RowExplanation, target: TargetExplanation, schema: Schema, dataset: TableDataset) -> list[_Drawn]:
    """A target's columns, the strongest first."""
    values = [Interval(column.share, math.nan, math.nan) for column in target.ranked]
    scale = charts.domain(values)
    results = []
    for column, value in zip(target.ranked, values, strict=True):
        fitted = schema.column(column.name)
        source = fitted.table_column
        cell = dataset.table.cell(row.position, source) if dataset.table.has(source) else None
        preview, _ = preview_input(fitted, cell, row.sample, most=_MAX_IMAGES, side=_SIDE)
        kind = "good" if column.share >= 0 else "bad"
        label = f"{column.name}: {signed(column.share)}"
        results.append(
            _Drawn(
                column=column,
                preview=preview,
                bar=charts.interval_bar(value, scale, kind=kind, label=label),
                overlays=[] if column.map is None else _overlays(column.map, preview, row, column.name),
                texts=[] if column.map is None else _texts(column.map),
                strongest=[] if column.map is None else _strongest(column.map),
                test=_test(column.map),
            )
        )
    return results


def _strength(cell_map: CellMap) -> list[float]:
    """Each part's share of the strongest one, with its sign."""
    most = max((abs(float(share)) for share in cell_map.shares), default=0.0) or 1.0
    return [float(share) / most for share in cell_map.shares]


def _overlays(cell_map: CellMap, preview: CellPreview, row: RowExplanation, name: str) -> list[_Overlay]:
    """The cell's pictures with its parts over them."""
    if not any(place.box for place in cell_map.places):
        return []
    shown = even_positions(len(row.sample.values[name]), _MAX_IMAGES)
    strengths, results = _strength(cell_map), []
    for image, item in zip(preview.images, shown, strict=False):
        marks = []
        for place, strength, share in zip(cell_map.places, strengths, cell_map.shares, strict=True):
            if place.box is None or not place.item <= item < place.item + place.num_items:
                continue
            left, top, right, bottom = (100 * edge for edge in place.box)
            marks.append(
                charts.tag(
                    "rect", charts.tag("title", f"{place.name}: {signed(float(share))}"),
                    class_="raises" if strength >= 0 else "lowers",
                    x=f"{left:.2f}", y=f"{top:.2f}", width=f"{right - left:.2f}", height=f"{bottom - top:.2f}",
                    opacity=f"{_MOST_OPAQUE * abs(strength):.3f}",
                )
            )  # fmt: skip
        label = f"{name}, the strongest parts: " + "; ".join(f"{part} {share}" for part, share in _strongest(cell_map))
        drawn = charts.tag(
            "svg", *marks, viewBox="0 0 100 100", preserveAspectRatio="none", role="img", aria_label=label
        )
        results.append(_Overlay(image=image, parts=drawn, label=label))
    return results


def _texts(cell_map: CellMap) -> list[list[tuple[str, float]]]:
    """The cell's texts in pieces, with how strong each is."""
    results = []
    strengths = _strength(cell_map)
    for item, text in enumerate(cell_map.texts):
        pieces, position = list[tuple[str, float]](), 0
        own = [(place.span, strengths[i]) for i, place in enumerate(cell_map.places) if place.item == item]
        for span, strength in own:
            if span is None:
                continue
            if span[0] > position:
                pieces.append((text[position : span[0]], 0.0))
            pieces.append((text[span[0] : span[1]], strength))
            position = span[1]
        if position < len(text):
            pieces.append((text[position:], 0.0))
        results.append(pieces)
    return results


def _strongest(cell_map: CellMap) -> list[tuple[str, str]]:
    """The strongest parts and their shares."""
    order = sorted(range(len(cell_map.places)), key=lambda i: -abs(float(cell_map.shares[i])))
    return [
        (cell_map.places[i].name, signed(float(cell_map.shares[i])))
        for i in order[:_STRONGEST]
        if signed(float(cell_map.shares[i])) not in ("0.000", "–")
    ]


def _test(cell_map: CellMap | None) -> str:
    """How well a map says what happens when parts go, in a sentence."""
    if cell_map is None:
        return ""
    if cell_map.test is None:
        return "Not tested: parts were removed one at a time."
    test = cell_map.test
    verdict = "holds" if test.holds else "does not hold: don't read it"
    return (
        f"The map {verdict}. On average over the removal of all parts, the number is {number(test.deletion)} if the "
        f"strongest go first, {number(test.random)} in random orders, {number(test.insertion)} if they go last."
    )


def explanation_text(rows: Sequence[RowExplanation], *, strongest: int = 3) -> str:
    """The explanations for a terminal, at most 80 characters a line where names allow it."""
    lines: list[str] = []
    for row in rows:
        for target in row.targets:
            answer = "" if target.answer is None else f" = {target.answer}"
            lines += [
                f"row {row.row}: {target.target}{answer}",
                f"  {target.title} {number(target.value)}; {number(target.prior)} with nothing in the row",
            ]
            width = max((len(column.name) for column in target.columns), default=0)
            for column in target.ranked:
                lines += _column_lines(column, target, min(width, 24), strongest)
        lines += [f"row {row.row}: {name} can't be explained: {reason}" for name, reason in row.refused.items()]
        lines += [f"  unreadable: {cell}" for cell in row.sample.unreadable]
    return "\n".join(lines)


def _column_lines(column: ColumnExplanation, target: TargetExplanation, width: int, strongest: int) -> list[str]:
    start = f"  {column.name:<{width}}  "
    if not column.is_present:
        return [f"{start}missing"]
    facts = [f"without it {number(column.without)}" if column.without is not None else ""]
    if column.answer_without is not None:
        facts[0] += f", {column.answer_without}"
    if column.num_flipped and column.swapped:
        facts.append(f"{column.num_flipped} of {len(column.swapped)} other cells change the answer")
    lines = _wrapped(f"{start}{signed(column.share):>7}  ", "; ".join(filter(None, facts)))
    if column.map is not None:
        named = [f"{name} {share}" for name, share in _strongest(column.map)[:strongest]]
        doubt = "" if column.map.test is None or column.map.test.holds else " (fails its own test)"
        if named:
            lines += _wrapped(" " * (len(start) + 9), "; ".join(named) + doubt)
    return lines


def _wrapped(start: str, text: str) -> list[str]:
    """Lines that go on below where the text begins."""
    return textwrap.wrap(
        text, _COLUMNS, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    ) or [start.rstrip()]
