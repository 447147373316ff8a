"""Numbers of bytes, read and spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.num_bytes import parse_bytes, spell_bytes
from polysense.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), ("0", 0), ("5b", 5), ("500MB", 500_000_000), ("20GiB", 20 * 2**30), ("1.5 t", 1_500_000_000_000),
     (".5KiB", 512), (7, 7)],
)  # fmt: skip
def test_units(text: str | int, number: int) -> None:
    assert parse_bytes(text, "--max-bytes") == number


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "5 X", "5GBs", "nan", "1,5GB"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--max-bytes: found .*, expected a number of bytes such as 500MB"):
        parse_bytes(text, "--max-bytes")


@given(st.integers(0, 2**60))
def test_what_is_spelled_is_read_again_within_a_percent(number: int) -> None:
    assert abs(parse_bytes(spell_bytes(number).removesuffix("ytes"), "x") - number) <= 0.01 * number


def test_whole_units_are_spelled_plainly() -> None:
    assert [spell_bytes(number) for number in (0, 999, 2**10, 20 * 2**30)] == [
        "0 bytes",
        "999 bytes",
        "1 KiB",
        "20 GiB",
    ]
