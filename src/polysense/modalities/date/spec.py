"""The date modality: dates and times in any usual spelling, as what recurs and how long ago."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polysense.core.modality_spec import Claim, ModelSize, Profile
from polysense.core.schema import Column
from polysense.core.value_spec import ValueSpec
from polysense.data.roles.profile import quote
from polysense.modalities.date.parse import SPELLED, day_first, is_missing_date
from polysense.modalities.date.record import DateColumn

__all__ = ["SPEC", "DateSpec"]

_MAJORITY = 0.9  # of the texts
_FEWEST = 0.3  # of the cells; the others are marked as missing


class DateSpec(ValueSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "date", 70, ("a date", "dates")
    record, column_type = DateColumn, "date"
    is_numeric, is_textual, is_discrete = False, False, False
    dtype = np.float32

    def claim(self, profile: Profile) -> Claim | None:
        texts = [text for text in profile.texts if not is_missing_date(text)]
        num_missing = len(profile.texts) - len(texts)
        if not texts or len(texts) < max(_MAJORITY * (len(profile.cells) - num_missing), _FEWEST * len(profile.cells)):
            return None
        if profile.num_distinct() <= 1:
            return None
        if sum(bool(SPELLED.fullmatch(text.strip())) for text in texts) < _MAJORITY * len(texts):
            return None
        # Rows lie in time, and a random split lets a model learn which day had which answer: such a model looks good
        # and knows nothing of tomorrow. Whether a date is known before the answer, and whether the split respects time,
        # no cell tells.
        order = day_first(texts)
        note = f" ({order})" if order.num_day_first or order.num_month_first or order.num_open else ""
        such = f"dates or times such as {quote(texts[0])}{note}"
        return Claim(
            confidence=0.95,
            is_used=False,
            evidence=f"{such}, from which a model may learn which day had "
            f"which answer; to use it, name it under columns with its type, date, and see that the test rows are later "
            f"than the rest",
            with_own_split=f"{such}, used since the table has its own split; a model that is to tell the future "
            "needs one whose test rows are later than the rest",
        )

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "date_mlp"}

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "date_parts"}]

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (DateColumn.of(column).num_values,)

    def summary(self, column: Column) -> Mapping[str, str]:
        column = DateColumn.of(column)
        facts = {"features": str(column.num_values)}
        return facts | ({"numbers count": column.unit} if column.unit else {})

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.date.decoder.DateDecoder"


SPEC = DateSpec()
