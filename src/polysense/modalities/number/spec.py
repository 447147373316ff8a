"""The number modality: quantities, centered and scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.descriptor import Descriptor
from polysense.core.modality_spec import Claim, ModelSize, Profile
from polysense.core.schema import Column
from polysense.core.value_spec import ValueSpec
from polysense.data.values.notation import Notation
from polysense.errors import DecodeError
from polysense.modalities.number.corruptions import CORRUPTIONS
from polysense.modalities.number.record import NumberColumn

__all__ = ["SPEC", "NumberSpec"]

_PLAIN = Notation()

_MAJORITY = 0.9  # of the cells; the others will be missing
_FEW = 20  # integers with at most so many values may be codes


class NumberSpec(ValueSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "number", 50, ("a number", "numbers")
    record, column_type = NumberColumn, "number"
    is_numeric, is_textual, is_discrete = True, False, True
    dtype = np.float32

    def claim(self, profile: Profile) -> Claim | None:
        num_cells = len(profile.cells)
        if profile.are_lists or all(isinstance(cell, bool) for cell in profile.cells):
            return None
        if profile.num_numbers < _MAJORITY * num_cells:
            return None
        low, high, is_whole = profile.range_of_numbers()
        odd = num_cells - profile.num_numbers
        rest = f"; {profile.numbers}" if profile.numbers else ""
        rest += f"; {odd:,} of {num_cells:,} looked at are no numbers and will be missing" if odd else ""
        mark = profile.decimal_mark
        if mark is not None:
            rest += f"; decimal mark {mark!r}, as in the other columns, or as semicolons between the fields say"
        settings = {} if mark is None else {"decimal": mark}
        if not is_whole and profile.code is None:
            evidence = f"from {low} to {high}, {profile.counts()}{rest}"
            return Claim(confidence=Claim.SURE, evidence=evidence, settings=settings)
        few = profile.num_distinct() <= _FEW
        hint = "; if they are codes without an order, its type is category" if few else ""
        evidence = f"integers from {low} to {high}, {profile.counts()}{rest}{hint}"
        return Claim(confidence=0.6, evidence=evidence, settings=settings)

    def is_missing(self, text: str) -> bool:
        return Notation().is_missing(text)

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "number_mlp"}

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "value_and_quantile"}]

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (1,)

    def summary(self, column: Column) -> Mapping[str, str]:
        column = NumberColumn.of(column)
        facts = {"center": f"{column.mean:.6g}", "scale": f"{column.std:.6g}"}
        return facts | ({"read as": column.reading} if column.reading else {})

    def identity(self, cell: object) -> str:
        try:
            return repr(_PLAIN.read(cell))
        except DecodeError:
            return str(cell)

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        return (
            Descriptor(
                name="value", low="{column} below {value}", high="{column} of {value} or more", measure=_unscaled
            ),
        )

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.number.decoder.NumberDecoder"


def _unscaled(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The number; of several their mean."""
    column = NumberColumn.of(column)
    return float(np.mean([float(item[0]) for item in items])) * column.std + column.mean


SPEC = NumberSpec()
