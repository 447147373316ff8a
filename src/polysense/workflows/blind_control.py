"""Exchange the rows' media: a model that generates as well from a stranger's image has not looked at the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from polysense.core.random import permutation
from polysense.core.registry import modality, task
from polysense.core.schema import Schema
from polysense.data.tables.sources import Table

__all__ = ["generates", "shuffled_inputs"]


def generates(schema: Schema) -> bool:
    """Whether a target is generated step by step."""
    return any(task(target.task).generates for target in schema.targets)


def shuffled_inputs(table: Table, schema: Schema, seed: int) -> Table | None:
    """The blind control's table: every row has the media of another row, all of them of the same one.

    Who writes as well from a stranger's image has not looked at the image. Where no column is an image, an audio clip
    or a video, all inputs are exchanged.

    Args:
        table: The rows.
        schema: Which columns are inputs.
        seed: Of the exchange.

    Returns:
        None where nothing is generated, or there is no other row to take them from.
    """
    if not generates(schema) or len(table) < 2:
        return None
    media = [column.table_column for column in schema if modality(column.modality).is_file]
    media = list(dict.fromkeys(media or [column.table_column for column in schema]))
    # Each row takes those of the next one in a random order: one circle, so no row keeps its own.
    order = permutation(len(table), seed, "shuffled inputs")
    taken = np.empty_like(order)
    taken[order] = np.roll(order, -1)
    foreign = table.frame.select(name for name in media if table.has(name))[taken]
    # What filled the row's cells was made of its own media.
    return dataclasses.replace(table, frame=table.frame.with_columns(pl.Series(s) for s in foreign), imputations=None)
