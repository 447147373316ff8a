"""Cells side by side: what looks and what it finds, the right ones marked; and the page of a run's neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polysense.evaluation.cells import Input, shown_input_html
from polysense.evaluation.page import document, text

__all__ = ["Search", "Tile", "render_neighbours", "tiles_html"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Tile:
    """One cell.

    Attributes:
        shown: What it holds.
        caption: What is said below, in a line or two.
        mark: "query", "right" (belongs to the query), "missed" (belongs to it and was not found) or "".
    """

    shown: Input
    caption: str
    mark: Literal["query", "right", "missed", ""] = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """What one direction finds.

    Attributes:
        title: Which column looks for which.
        note: How well that goes over all rows.
        rows: Per query its tiles, the query first.
    """

    title: str
    note: str
    rows: Sequence[Sequence[Tile]]


def tiles_html(tiles: Sequence[Tile]) -> str:
    """A line of tiles."""
    signs = {"query": "", "right": '<span class="good">✓</span> ', "missed": '<span class="good">✓</span> ', "": ""}
    captions = ["<br>".join(map(text, tile.caption.splitlines())) for tile in tiles]
    parts = [
        f'<figure class="tile {tile.mark}">{shown_input_html(tile.shown)}'
        f'<figcaption class="small">{signs[tile.mark]}{caption}</figcaption></figure>'
        for tile, caption in zip(tiles, captions, strict=True)
    ]
    return f'<div class="tiles">{"".join(parts)}</div>'


def render_neighbours(title: str, searches: Sequence[Search], note: str) -> str:
    """The whole page as HTML.

    Args:
        title: Of the run.
        searches: Each direction.
        note: Which rows these are.
    """
    parts = [f'<header><h1>{text(title)}: what is found</h1><p class="lead">{text(note)}</p></header>']
    for search in searches:
        lines = "".join(tiles_html(tiles) for tiles in search.rows)
        parts.append(
            f'<section><h2>{text(search.title)}</h2><p class="mute small">{text(search.note)}</p>{lines}</section>'
        )
    return document(f"{title}: neighbours", "\n".join(parts), media=True)
