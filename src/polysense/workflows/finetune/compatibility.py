"""Compatibility of a new recipe with a trained model: which parts mean the same in both, and what comes with them.

Weights mean something only behind the preprocessing that they were trained with, so this comes along with them, and
every setting that would give them another meaning is a reason against a transfer. Equal shapes are no proof: four
heads of attention have the weights of eight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from polysense.bundle import Bundle
from polysense.config.codec import to_dict
from polysense.core.schema import Target
from polysense.data.cleaning import CellCleaner
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.recipe import Recipe

__all__ = ["Compatibility"]

# Settings under which a weight means what it meant: they act in training alone, or on what is made of the outputs.
_HARMLESS = frozenset(
    {
        *(
            "dropout",
            "loss_weight",
            "label_smoothing",
            "learn_temperature",
            "duplicates",
            "tune",
            "learning_rate_scale",
        ),
        *("chunk", "decoding", "packing"),
    }
)
# Where in the table something stands, not what is made of it.
_PLACES = frozenset({"column", "columns", "cells", "rejected"})


class Compatibility:
    """Compares a new recipe with a trained model.

    Args:
        recipe: Of the new one.
        bundle: The trained one.
        table: The new one's training rows.
        names: Per part of the new one its name there.
    """

    def __init__(self, recipe: Recipe, bundle: Bundle, table: Table, names: Mapping[str, str]) -> None:
        self._recipe, self._bundle, self._table = recipe, bundle, table
        self._old_names = {name: names[f"encoders.{name}"].partition(".")[2] for name in recipe.model.encoders}

    def why_not(self, here: str, there: str) -> str | None:
        """Why a part can't start from another; None if it can."""
        return next(self._reasons(here, there), None)

    def preprocessing(
        self, transfers: Mapping[str, str]
    ) -> tuple[dict[str, ColumnProcessor], dict[str, TargetProcessor]]:
        """What comes along with the parts that move."""
        columns: dict[str, ColumnProcessor] = {}
        targets: dict[str, TargetProcessor] = {}
        data, known = self._recipe.data, self._bundle.processor
        for here, there in transfers.items():
            kind, _, name = here.partition(".")
            source = there.partition(".")[2]
            if kind == "encoders":
                columns[name] = known.columns[source].taken_over(name, data.columns[name].column)
            elif kind == "heads" and not data.targets[name].reads_inputs:
                targets[name] = known.targets[source].taken_over(name, data.targets[name])
        return columns, targets

    def _reasons(self, here: str, there: str) -> Iterator[str]:
        kind, _, name = here.partition(".")
        source = there.partition(".")[2]
        new, old = self._recipe.model, self._bundle.model_config
        if new.width != old.width:
            yield f"model.width is {new.width} here and {old.width} there"
        if kind == "encoders":
            if source not in old.encoders:
                yield f"there is no column {source!r} (there are: {', '.join(old.encoders)})"
                return
            yield from self._column_reasons(name, source)
            yield from _differences(new.encoders[name], old.encoders[source], f"model.encoders.{name}")
            if new.missing != old.missing:
                yield f"model.missing is {new.missing} here and {old.missing} there"
        elif kind == "fusion":
            yield from _differences(new.fusion, old.fusion, "model.fusion")
            yield from self._order_reasons("it joins")
        else:
            if source not in old.heads:
                yield f"there is no target {source!r} (there are: {', '.join(old.heads)})"
                return
            yield from _differences(new.heads[name], old.heads[source], f"model.heads.{name}")
            if self._bundle.model.unimodal_losses():
                yield from self._order_reasons("its columns' own heads are of")
            yield from self._target_reasons(name, source)

    def _order_reasons(self, what: str) -> Iterator[str]:
        """Whether weights that follow the columns in their order can be the trained one's."""
        columns = tuple(self._old_names[column] for column in self._recipe.data.columns)
        if columns != self._bundle.schema.names:
            there = ", ".join(self._bundle.schema.names)
            here = ", ".join(columns)
            yield f"{what} {here} here and {there} there, and its weights follow the columns in their order"

    def _column_reasons(self, name: str, source: str) -> Iterator[str]:
        """Whether the column's preprocessing can be the trained one's."""
        new, old = self._recipe.data.columns[name], self._bundle.processor.columns[source]
        if new.type != old.config.type:
            yield f"the column is {new.type} here and {old.config.type} there"
            return
        fields = {each.name: each.default for each in dataclasses.fields(new)}
        for key, requested in to_dict(new).items():
            was = to_dict(old.config)[key]
            if key not in _PLACES and requested != was and requested != fields[key]:
                yield (
                    f"data.columns.{name}.{key} is {requested} here and {was} there; its preprocessing comes with it, "
                    "so leave the key out"
                )
        yield from self._cleaning_reasons(name, old.cleaner)
        cells = new.source(name)
        if self._table.has(cells) and not old.column.multiple and not old.joins_lists:
            lists = (cell for cell in self._table.cells(cells) if isinstance(cell, list))
            if any(sum(item is not None for item in cell) > 1 for cell in lists):
                yield "cells hold several items here, and one there"

    def _target_reasons(self, name: str, source: str) -> Iterator[str]:
        """Whether the target's preprocessing can be the trained one's."""
        new, old = self._recipe.data.targets[name], self._bundle.processor.targets[source]
        if new.type != old.config.type:
            yield f"the target is {new.type} here and {old.config.type} there"
            return
        yield from _differences(new, old.config, f"data.targets.{name}", _PLACES)
        yield from self._cleaning_reasons(name, old.cleaner)
        # Else it is fitted once the columns are, and labels that are unknown there are listed as unreadable.
        if not new.lies_in_input:
            fitted = self._fitted(name, old.cleaner)
            unknown = sorted(set(fitted.classes) - set(old.target.classes), key=str)
            if unknown:
                yield f"the model there knows no class {', '.join(map(repr, unknown[:5]))}"
            members = tuple(self._old_names.get(column, column) for column in fitted.members)
            if members != old.target.members:
                yield f"it is about {', '.join(members)} here and {', '.join(old.target.members)} there"

    def _cleaning_reasons(self, name: str, cleaner: CellCleaner) -> Iterator[str]:
        """Whether cells are cleaned as there; a recipe that names no cleaning takes what comes with the part."""
        requested = self._recipe.data.cleaning.get(name, ())
        if requested and requested != cleaner.configs:
            here, there = ([each.type for each in configs] for configs in (requested, cleaner.configs))
            differ = "with other settings there" if here == there else f"{', '.join(there) or 'none'} there"
            yield (
                f"data.cleaning.{name} is {', '.join(here)} here and {differ}; its preprocessing comes with it, so "
                f"leave the key out"
            )

    def _fitted(self, name: str, cleaner: CellCleaner) -> Target:
        data = self._recipe.data
        inputs = {column: config.type for column, config in data.columns.items()}
        requirements = self._recipe.model.target_requirements()
        processor = data.target_processor(name)
        if cleaner:
            processor.cleaner = CellCleaner.restored(cleaner.plain())
        return processor.fit(self._table, requirements.get(name), inputs)


def _differences(new: Any, old: Any, where: str, harmless: frozenset[str] = _HARMLESS) -> Iterator[str]:
    """The settings in which two configs differ so that a weight of one means something else to the other."""
    if new.type != old.type:
        yield f"{where} is {new.type} here and {old.type} there"
        return
    mine, theirs = to_dict(new), to_dict(old)
    for key in mine:
        if key not in harmless and mine[key] != theirs[key]:
            yield f"{where}.{key} is {mine[key]} here and {theirs[key]} there"
