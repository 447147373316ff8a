"""Length levels: the padded shape of a row at prediction, as a function of that row alone.

A kernel that multiplies matrices or convolves picks its algorithm by shape, so the same row padded to another length
gives other last bits. Padding to the longest in the batch would make a row's result depend on its neighbors;
padding all to the longest possible would cost a model ten times its time. Levels lie between: they double, so a row
is padded at most twofold, and a table has a handful of shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.registry import modality
from polysense.core.sample import Sample
from polysense.core.schema import Column, Schema, Target
from polysense.data.batches.collate import PROMPT_MULTIPLE, round_up

__all__ = ["LengthBucket"]

_SHORTEST = -2  # a quarter of the typical length; below it, shorter padding saves little and makes more shapes


@dataclass(frozen=True)
class LengthBucket:
    """A level, hashable.

    Attributes:
        exponent: Items that have a length are padded to typical_length * 2^exponent, from -2 on.
        items: Per column of the schema the items that a cell is padded to: what the schema says, or for a cell that
            has more, the next power of two.
        prompt_exponent: Prompts are padded to typical_prompt * 2^prompt_exponent, from -2 on. They have one of their
            own: a prompt 50 times as long as the others is nothing rare, an audio clip of that length is.
    """

    exponent: int
    items: tuple[int, ...]
    prompt_exponent: int = _SHORTEST

    @staticmethod
    def of(sample: Sample, schema: Schema) -> LengthBucket:
        """The lowest level that holds a row."""
        exponent = _SHORTEST
        items = []
        for column in schema:
            cell = sample.item_lengths(column.name)
            items.append(column.max_items if len(cell) <= column.max_items else 1 << (len(cell) - 1).bit_length())
            if modality(column.modality).length_multiple is not None:
                longest = max(cell, default=0)
                assert column.longest is None or longest <= column.longest, f"{column.name!r}: {longest} were not cut"
                while _padded_length(column, exponent) < longest:
                    exponent += 1
        prompt_exponent = _SHORTEST
        for name, prompt in sample.prompts.items():
            while _prompt_length(schema.target(name), prompt_exponent) < len(prompt):
                prompt_exponent += 1
        return LengthBucket(exponent, tuple(items), prompt_exponent)

    def shape(self, schema: Schema) -> dict[str, tuple[int, int]]:
        """Per column (items, length), as `collate` takes it."""
        return {
            column.name: (items, _padded_length(column, self.exponent))
            for column, items in zip(schema, self.items, strict=True)
        }

    def prompts(self, schema: Schema) -> dict[str, int]:
        """Per target whose texts go on from prompts the prompts' length, as `collate` takes it."""
        return {
            target.name: _prompt_length(target, self.prompt_exponent)
            for target in schema.targets
            if target.typical_prompt
        }

    def growth(self, schema: Schema) -> float:
        """How many times a typical row's size this level's rows are, at least 1."""
        grown = max((items / column.max_items for column, items in zip(schema, self.items, strict=True)), default=1.0)
        return float(2 ** max(self.exponent, self.prompt_exponent, 0) * max(grown, 1.0))


def _padded_length(column: Column, exponent: int) -> int:
    multiple = modality(column.modality).length_multiple
    if multiple is None:
        return 1
    length = _scaled(column.typical_length, exponent, multiple)
    return length if column.longest is None else min(length, column.longest)


def _prompt_length(target: Target, exponent: int) -> int:
    return _scaled(target.typical_prompt, exponent, PROMPT_MULTIPLE)


def _scaled(typical: int, exponent: int, multiple: int) -> int:
    typical = max(typical, 1)
    length = typical << exponent if exponent >= 0 else -(-typical >> -exponent)  # rounded up
    return round_up(length, multiple)
