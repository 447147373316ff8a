"""Generated texts as columns of a table, with their log probabilities and the next best ones where there are any."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.generation.record import GenerationTarget

__all__ = ["predicted_columns"]


def predicted_columns(
    target: GenerationTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The texts and their log probabilities; see `TaskSpec.decode`."""
    texts = [processor.render(value) for value in outputs["values"]]
    columns: dict[str, object] = {
        target.name: polars.Series(texts, dtype=polars.String),
        f"{target.name}_log_probability": outputs["scores"],
    }
    return columns | _alternatives(target.name, texts, outputs, processor) if "alternatives" in outputs else columns


def _alternatives(
    name: str, firsts: list[str], outputs: Arrays, processor: TargetProcessor
) -> dict[str, polars.Series]:
    """The next best texts of each row, in the order of preference, and their log probabilities."""
    rows: list[dict[str, float]] = []
    every = zip(firsts, outputs["alternatives"], outputs["alternative_scores"].tolist(), strict=True)
    for first, ids, scores in every:
        texts: dict[str, float] = {}
        for each, score in zip(ids, scores, strict=True):
            text = processor.render(each)
            # Other tokens may spell the same text: it is given once.
            if score > -math.inf and text != first:
                texts.setdefault(text, score)
        rows.append(texts)
    return {
        f"{name}_alternatives": polars.Series([list(texts) for texts in rows], dtype=polars.List(polars.String)),
        f"{name}_alternative_log_probabilities": polars.Series(
            [list(texts.values()) for texts in rows], dtype=polars.List(polars.Float32)
        ),
    }
