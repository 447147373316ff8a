"""Times as tables spell them."""

from __future__ import annotations

import datetime

import pytest

from polysense.data.values.times import time_of
from polysense.errors import DecodeError


def test_times_grow_whatever_they_are() -> None:
    day = 86_400.0
    assert time_of("1970-01-02") == day
    assert time_of("1970-01-02T00:00:00Z") == day
    assert time_of("1970-01-02T01:00:00+01:00") == day
    assert time_of("1970/01/02") == day
    assert time_of(datetime.date(1970, 1, 2)) == day
    assert time_of("881250949") == 881250949.0
    assert time_of("") is None


def test_what_is_no_time_is_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="expected a number, or a date"):
        time_of("last week")
