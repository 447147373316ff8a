"""Length levels: the padded shape of a row at prediction, as a function of that row alone.

A kernel that multiplies matrices or convolves picks its algorithm by shape, so the same row padded to another length
gives other last bits. Padding to the longest in the batch would make a row's result depend on its neighbours;
padding all to the longest possible would cost a model ten times its time. Levels lie between: they double, so a row
is padded at most twofold, and a table has a handful of shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.sample import Sample
from polysense.core.schema import Column, Schema
from polysense.data.collate import VARIABLE_LENGTH, round_up

__all__ = ["Level"]

_SHORTEST = -2  # a quarter of the typical length; below it, shorter padding saves little and makes more shapes


@dataclass(frozen=True)
class Level:
    """A level, hashable.

    Attributes:
        exponent: Text and audio are padded to typical_length * 2^exponent, from -2 on.
        items: Per column of the schema the items that a cell is padded to: what the schema says, or for a cell that
            has more, the next power of two.
    """

    exponent: int
    items: tuple[int, ...]

    @staticmethod
    def of(sample: Sample, schema: Schema) -> Level:
        """The lowest level that holds a row."""
        exponent = _SHORTEST
        items = []
        for column in schema:
            cell = sample.values.get(column.name, ())
            items.append(column.max_items if len(cell) <= column.max_items else 1 << (len(cell) - 1).bit_length())
            if column.modality in VARIABLE_LENGTH:
                longest = max(map(len, cell), default=0)
                while _padded_length(column, exponent) < longest:
                    exponent += 1
        return Level(exponent, tuple(items))

    def shape(self, schema: Schema) -> dict[str, tuple[int, int]]:
        """Per column (items, length), as `collate` takes it."""
        return {
            column.name: (items, _padded_length(column, self.exponent))
            for column, items in zip(schema, self.items, strict=True)
        }

    def growth(self, schema: Schema) -> float:
        """How many times a typical row's size this level's rows are, at least 1."""
        grown = max(
            (items / column.max_items for column, items in zip(schema, self.items, strict=True)),
            default=1.0,
        )
        return float(2 ** max(self.exponent, 0) * max(grown, 1.0))


def _padded_length(column: Column, exponent: int) -> int:
    multiple = VARIABLE_LENGTH.get(column.modality)
    if multiple is None:
        return 1
    typical = max(column.typical_length, 1)
    length = typical << exponent if exponent >= 0 else -(-typical >> -exponent)  # rounded up
    return round_up(length, multiple)
