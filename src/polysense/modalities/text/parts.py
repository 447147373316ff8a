"""A text in parts: its words, or runs of words where there are many. A removed word is left out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import CellParts, Place, stretches
from polysense.core.geometry import Placement
from polysense.core.modality_spec import FittedColumn, parts
from polysense.core.sample import SourceInfo
from polysense.modalities.text.reading import read_text

__all__ = ["TextParts", "text_parts"]

# Scripts that put no space between words are taken letter by letter: Thai, Lao, Burmese, Khmer, kana, Han.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
    r"|\w+(?:['\u2019]\w+)*|[^\w\s]"
)
_SPACES = re.compile(r"[ \t]{2,}")
_MOST_CHARACTERS = 20_000  # of a text that are looked at: a model reads less
_MOST_NAMED = 60  # characters of a part's name


def text_parts(
    fitted: FittedColumn,
    cell: object,
    root: Path,
    items: Sequence[np.ndarray],
    most: int,
    placement: Placement | None = None,
) -> TextParts:
    """The words of a cell's texts; see `core.modality_spec.MakeParts`."""
    return TextParts(fitted, cell, root, most)


class TextParts(CellParts):
    """The words of one text, or of several."""

    removed = "left out"
    closes_up = True

    def __init__(self, fitted: FittedColumn, cell: object, root: Path, most: int) -> None:
        self._fitted, self._root, self._is_list = fitted, root, isinstance(cell, list)
        self.texts = [read_text(part) for part in parts(cell)]
        words = [[match.span() for match in _WORD.finditer(text[:_MOST_CHARACTERS])] for text in self.texts]
        total = sum(map(len, words))
        self.places: list[Place] = []
        self._spans: list[list[tuple[int, int]]] = []
        for item, spans in enumerate(words):
            share = max(1, most * len(spans) // max(total, 1))
            for start, end in stretches(len(spans), share) if spans else ():
                first, last = spans[start][0], spans[end - 1][1]
                name = " ".join(self.texts[item][first:last].split())
                name = name if len(name) <= _MOST_NAMED else f"{name[: _MOST_NAMED - 3]}..."
                self.places.append(Place(item=item, name=f"'{name}'", span=(first, last)))
                self._spans.append(spans[start:end])

    def without(self, removed: Collection[int]) -> tuple[object, list[np.ndarray]]:
        texts = list[str]()
        for item, text in enumerate(self.texts):
            gone = [span for i in removed if self.places[i].item == item for span in self._spans[i]]
            kept, position = list[str](), 0
            for start, end in sorted(gone):
                kept.append(text[position:start])
                position = end
            kept.append(text[position:])
            left = _SPACES.sub(" ", "".join(kept)).strip() if gone else text
            if left:
                texts.append(left)
        if not texts:
            return None, []
        cell: object = texts if self._is_list else texts[0]
        source = SourceInfo(table="explanation", row=0, column=self._fitted.name)
        return cell, self._fitted.transform(cell, source, self._root)
