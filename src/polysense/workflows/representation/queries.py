"""What is asked for, in the space that an index is in: texts, images, audio clips, rows, one of them or several
together.

In a joint embedding space anything can be compared with anything. Without one, a column's summaries compare with
themselves alone, and summaries of all columns together with those of a row that has only what was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from polysense.bundle import Bundle
from polysense.core.registry import modality
from polysense.data.media.sniff import kind_of_path
from polysense.errors import SearchError
from polysense.workflows.representation.embed import embeddings, shared_space

__all__ = ["Item", "parse_item", "query_vector"]

_LONGEST_PATH = 1024  # characters: a longer text is no path, and asking the file system fails


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is asked for.

    Attributes:
        text: As it was given.
        column: The input column that reads it.
        value: The cell.
        file: The image, sound or video, if it is one.
    """

    text: str
    column: str
    value: str
    file: Path | None = None


def parse_item(text: str, bundle: Bundle, column: str | None) -> Item:
    """Says which input column reads what was given: a file by its ending, COLUMN=VALUE by its name, else a text.

    Args:
        text: As it was given.
        bundle: The model.
        column: What the index holds; preferred where several columns could read it.

    Raises:
        SearchError: No column of the model reads it, several do, the file is not there, or the index holds vectors that
            it can't be compared with.
    """
    usable, why = _comparable(bundle, column)
    name, equals, value = text.partition("=")
    if equals and name in bundle.schema.names:
        chosen = name
        medium: str | None = next(one.modality for one in bundle.schema.columns if one.name == name)
    else:
        value, medium = text, kind_of_path(text)
        place = Path(text).expanduser()
        if medium is None and "/" in text and len(text) < _LONGEST_PATH and place.exists():
            kind = "a folder" if place.is_dir() else "a file without an ending that says what it is"
            raise SearchError(
                f"{text}: is {kind}; expected a text, or an image, audio or video file. COLUMN=VALUE says "
                "which column reads it"
            )
        fitting = [
            one.name
            for one in bundle.schema.columns
            if one.name in usable and (modality(one.modality).is_prose if medium is None else one.modality == medium)
        ]
        if not fitting:
            kinds = ", ".join(f"{one.name} ({one.modality})" for one in bundle.schema.columns if one.name in usable)
            raise SearchError(
                f"{text!r} is inferred as {_article(medium)}, and no column reads it; {why}: {kinds}. "
                "COLUMN=VALUE says which column reads it"
            )
        if len(fitting) > 1 and column not in fitting:
            raise SearchError(
                f"{text!r}: several columns read {_article(medium)}: {', '.join(fitting)}; say which, as "
                f"{fitting[0]}={text!r}"
            )
        chosen = column if column is not None and column in fitting else fitting[0]
    if chosen not in usable:
        raise SearchError(f"{text!r}: column {chosen!r} can't be compared with the index: {why}: {', '.join(usable)}")
    file = None
    if medium is not None and modality(medium).is_file:
        file = Path(value).expanduser().absolute()
        if not file.is_file():
            what = "names no file" if not value.strip() else "is a folder" if file.is_dir() else "no such file"
            raise SearchError(f"{value.strip() or text}: {what}; expected {_article(medium)}")
        value = str(file)
    return Item(text=text, column=chosen, value=value, file=file)


def query_vector(
    items: Sequence[Item], bundle: Bundle, column: str | None, weights: Sequence[float] | None = None
) -> Float32[np.ndarray, " dim"]:
    """The vector of what is asked for: the items' directions, averaged.

    Args:
        items: What is asked for together.
        bundle: The model.
        column: What the index holds; None: all columns together.
        weights: One for each item; a negative one leads away from it.

    Raises:
        SearchError: An item can't be read, or the items cancel out.
    """
    if weights is not None and len(weights) != len(items):
        raise SearchError(f"found {len(weights)} weights for {len(items)} items of the query; give one for each")
    if wrong := [weight for weight in weights or () if not math.isfinite(weight)]:
        raise SearchError(f"expected numbers as weights of the query, a negative one leads away; found {wrong[0]}")
    together = column is None and shared_space(bundle) is None
    total: np.ndarray | None = None
    for item, weight in zip(items, weights or [1.0] * len(items), strict=True):
        row: dict[str, str | None] = {part.source: None for part in bundle.processor.columns.values()}
        row |= {bundle.processor.columns[item.column].source: item.value}
        embedded = embeddings(bundle, [row], root=Path.cwd())
        vectors = embedded.of(None if together else item.column)[1]
        if not len(vectors):
            reason = embedded.unreadable[0].reason if embedded.unreadable else "it is empty"
            raise SearchError(f"{item.text!r}: can't be read as {item.column!r}: {reason}")
        wide = vectors[0].astype(np.float64)
        wide = weight * wide / np.linalg.norm(wide)
        total = wide if total is None else total + wide
    length = 0.0 if total is None else float(np.linalg.norm(total))
    if total is None or length < 1e-6:
        raise SearchError("the query has no direction: its items and weights cancel out, or there are none")
    return np.asarray(total / length, dtype=np.float32)


def _comparable(bundle: Bundle, column: str | None) -> tuple[Sequence[str], str]:
    """The columns that can be asked for, and why no others."""
    space = shared_space(bundle)
    if space is not None and (column is None or column in space.members):
        return space.members, "the columns in the model's joint embedding space are"
    if column is None:
        return bundle.schema.names, "the model's columns are"
    return [column], "outside a joint embedding space a column is compared only with itself, here"


def _article(medium: str | None) -> str:
    return "a text" if medium is None else modality(medium).nouns[0]
