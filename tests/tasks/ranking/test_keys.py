"""Keys and times as tables spell them."""

from __future__ import annotations

import datetime

import pytest

from polysense.errors import DecodeError
from polysense.tasks.ranking.keys import key_of, number_of, time_of


@pytest.mark.parametrize(("cell", "key"), [(7, "7"), (7.0, "7"), ("7", "7"), (" a ", "a"), ("", None), (None, None)])
def test_a_key_is_the_same_in_every_container(cell: object, key: str | None) -> None:
    assert key_of(cell) == key


def test_what_is_no_key_or_time_is_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="expected text or a number"):
        key_of(["a"])
    with pytest.raises(DecodeError, match="expected a number, or a date"):
        time_of("last week")
    with pytest.raises(DecodeError, match="expected a number"):
        number_of("many")


def test_times_grow_whatever_they_are() -> None:
    day = 86_400.0
    assert time_of("1970-01-02") == day
    assert time_of("1970-01-02T00:00:00Z") == day
    assert time_of("1970-01-02T01:00:00+01:00") == day
    assert time_of("1970/01/02") == day
    assert time_of(datetime.date(1970, 1, 2)) == day
    assert time_of("881250949") == 881250949.0
    assert time_of("") is None
    assert number_of(" 4.5") == 4.5
