"""The category modality: values that are the same or not, as ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.modality_spec import Claim, ModelSize, Profile
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.core.value_spec import ValueSpec
from polysense.data.values.category_key import category_key
from polysense.errors import DecodeError
from polysense.modalities.category.column import HASHED
from polysense.modalities.category.corruptions import CORRUPTIONS
from polysense.modalities.category.record import CategoryColumn

__all__ = ["SPEC", "CategorySpec"]

_MAJORITY = 0.9  # of the cells
_MAX_CATEGORIES = 1_000
_MAX_CODES, _FEWEST_ROWS = 100, 10  # codes say something if each occurs often
_CODE_NAMES = {"class", "label", "category", "cat", "type", "kind", "code", "cls", "grade", "zip", "zipcode"}


class CategorySpec(ValueSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "category", 60, ("a category", "categories")
    record, column_type = CategoryColumn, "category"
    is_numeric, is_textual, is_discrete = False, True, True
    dtype = np.int64

    def claim(self, profile: Profile) -> Claim | None:
        if profile.are_lists or any(isinstance(cell, (dict, bytes)) for cell in profile.cells[:1]):
            return None
        evidence = self._evidence(profile)
        return None if evidence is None else Claim(confidence=Claim.SURE, evidence=evidence)

    def _evidence(self, profile: Profile) -> str | None:
        distinct, present = profile.num_distinct(), profile.num_present
        if distinct <= 1:
            share = present / profile.num_rows
            if not 0.05 <= share <= 0.95:
                return None
            return f"only {profile.example()}, in {share:.0%} of the rows: whether it is there may say something"
        if all(isinstance(cell, bool) for cell in profile.cells):
            return "true or false"
        if profile.code is not None:
            recurs = distinct <= _MAX_CODES and present / distinct >= _FEWEST_ROWS
            return f"{profile.code}, {profile.counts()}" if recurs else None
        if profile.num_numbers >= _MAJORITY * len(profile.cells):
            return self._numeric(profile, distinct)
        return self._textual(profile, distinct)

    def _numeric(self, profile: Profile, distinct: int) -> str | None:
        low, high, is_whole = profile.range_of_numbers()
        if not is_whole or profile.is_index:
            return None
        if distinct == 2:
            return f"two integers, {low} and {high}, a flag"
        named = set(profile.words) & _CODE_NAMES
        if named and distinct <= _MAX_CATEGORIES and profile.num_present >= 5 * distinct:
            return f"integers {low} to {high} that are codes by the column's name, {profile.counts()}"
        return None

    def _textual(self, profile: Profile, distinct: int) -> str | None:
        if len(profile.texts) < _MAJORITY * len(profile.cells) or not profile.recurs:
            return None
        return f"{profile.counts()}, such as {profile.example()}"

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "category_embedding"}

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "one_hot"}]

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (CategoryColumn.of(column).num_hashes,)

    def summary(self, column: Column) -> Mapping[str, str]:
        column = CategoryColumn.of(column)
        facts = {"categories": f"{column.num_categories - 1:,}"}
        if column.collision_rate is not None:
            facts["hashes shared with another"] = f"{column.collision_rate:.2%}"
        return facts

    def identity(self, cell: object) -> str:
        try:
            return category_key(cell) or ""
        except DecodeError:
            return str(cell)

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    def decoder(self, column: Column) -> str | Unsupported:
        if CategoryColumn.of(column).is_hashed:
            return Unsupported(HASHED)
        return "polysense.modalities.category.decoder.CategoryDecoder"


SPEC = CategorySpec()
