"""The date modality: dates and times in any usual spelling, as what recurs and how long ago."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.modality_spec import Claim, ModelSize, Profile
from polysense.core.schema import Column
from polysense.core.value_spec import ValueSpec
from polysense.data.roles.profile import quote
from polysense.modalities.date.corruptions import CORRUPTIONS
from polysense.modalities.date.months import LANGUAGES
from polysense.modalities.date.parse import day_first, is_missing_date, is_spelled, unread_month
from polysense.modalities.date.record import DateColumn
from polysense.modalities.date.stamps import Stamps

__all__ = ["SPEC", "DateSpec"]

_MAJORITY = 0.9  # of the texts
_FEWEST = 0.3  # of the cells; the others are marked as missing
_UNSURE = 0.1  # less than any other modality's claim
_FEWEST_MONTHS, _MOST_MONTHS = 3, 24  # words in the month's place; more are no months


class DateSpec(ValueSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "date", 70, ("a date", "dates")
    record, column_type = DateColumn, "date"
    is_numeric, is_textual, is_discrete = False, False, False
    dtype = np.float32

    def claim(self, profile: Profile) -> Claim | None:
        if profile.num_distinct() <= 1:
            return None
        if profile.num_numbers >= _MAJORITY * len(profile.cells):
            return _claim_numbers(profile)
        texts = [text for text in profile.texts if not is_missing_date(text)]
        num_missing = len(profile.texts) - len(texts)
        if not texts or len(texts) < max(_MAJORITY * (len(profile.cells) - num_missing), _FEWEST * len(profile.cells)):
            return None
        if sum(map(is_spelled, texts)) < _MAJORITY * len(texts):
            return _claim_unread(texts)
        order = day_first(texts)
        note = f" ({order})" if order.num_day_first or order.num_month_first or order.num_open else ""
        return _left_out(f"dates or times such as {quote(texts[0])}{note}")

    def is_missing(self, text: str) -> bool:
        return is_missing_date(text)

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

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.date.decoder.DateDecoder"


def _left_out(what: str) -> Claim:
    """Dates, which are no input unasked.

    Rows lie in time, and a random split lets a model learn which day had which answer: such a model looks good and
    knows nothing of tomorrow. Whether a date is known before the answer, and whether the split respects time, no cell
    tells.
    """
    return Claim(
        confidence=0.95,
        is_used=False,
        evidence=f"{what}, from which a model may learn which day had which answer; to use it, name it under columns "
        f"with its type, date, and see that the test rows are later than the rest",
        with_own_split=f"{what}, used since the table has its own split; a model that is to tell the future needs one "
        "whose test rows are later than the rest",
    )


def _claim_numbers(profile: Profile) -> Claim | None:
    stamps = None if profile.is_index or profile.code else Stamps.of(profile.cells, profile.words)
    if stamps is None:
        return None
    hint = f"if they are {stamps}, its type is date"
    if stamps.is_sure:
        hint = (
            f"they look like {stamps}, and are read as plain numbers, from which a model may learn which day had which "
            f"answer; to read them as dates, name it under columns with its type, date (--column {profile.name}=date)"
        )
    return Claim(confidence=_UNSURE, evidence=str(stamps), hint=hint, warns=stamps.is_sure)


def _claim_unread(texts: Sequence[str]) -> Claim | None:
    """Dates by their shape whose months have names that are not read."""
    months = [unread_month(text) for text in texts]
    unread = {month.casefold() for month in months if month is not None}
    shaped = sum(month is not None or is_spelled(text) for month, text in zip(months, texts, strict=True))
    if shaped < _MAJORITY * len(texts) or not _FEWEST_MONTHS <= len(unread) <= _MOST_MONTHS:
        return None
    example = next(text for text, month in zip(texts, months, strict=True) if month is not None)
    return Claim(
        confidence=0.95,
        is_used=False,
        evidence=f"dates by their shape, such as {quote(example)}, that are not read: no month is called "
        f"{quote(unread_month(example))} in the languages that are read ({', '.join(LANGUAGES)}); write them as "
        f"2024-01-31, or name the column under columns with another type",
    )


SPEC = DateSpec()
