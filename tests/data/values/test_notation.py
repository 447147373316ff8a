"""Numbers as people write them, and the notation that a column of them has."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.values.notation import Notation, NotationEvidence
from polysense.data.values.numbers import is_number, spell
from polysense.errors import DecodeError

STANDARD = Notation(decimal=".", groups=",", thousandths=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1), (" -2.5 ", -2.5), ("+3", 3), ("1,5", 1.5), ("0,123", 0.123), ("1 000", 1000),
        ("1\u202f000,25", 1000.25),
        ("1'000", 1000), ("1,234,567", 1234567), ("1.234.567", 1234567), ("1,234.5", 1234.5), ("1.234,5", 1234.5),
        ("1,234", 1234), ("1.234", 1.234), ("1e3", 1000), ("1.5E-2", 0.015), ("\u22127", -7),
        (".5", 0.5), (",5", 0.5), ("5.", 5), ("007", 7),
        ("1\u2019234.50", 1234.5), ("1,23,456", 123456), ("\uff11\uff12\uff0e\uff15", 12.5),
        ("\u0661\u0662\u0663", 123),
        ("\u0661\u066c\u0662\u0663\u0664\u066b\u0665", 1234.5), ("(1,234)", -1234), ("(12.5)", -12.5), ("123-", -123),
        ("5,-", 5), ("~15", 15), ("ca. 15", 15),
        ("\u00bd", 0.5), ("1\u00bd", 1.5), ("2 3/4", 2.75), ("1\u00a0234", 1234), ("\u20091", 1),
    ],
)  # fmt: skip
def test_texts_are_read_as_meant(text: str, expected: float) -> None:
    assert is_number(text)
    assert STANDARD.read(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("$1,234.50", "$", 1234.5), ("-$5", "$", -5), ("$-5", "$", -5), ("\u20ac 5", "EUR", 5),
        ("5,00 \u20ac", "EUR", 5),
        ("EUR 5", "EUR", 5), ("CHF 1'234.50", "CHF", 1234.5), ("($5.00)", "$", -5), ("$1.5k", "$", 1500),
        ("1.5 Mio \u20ac", "EUR", 1.5e6), ("23.9 kg", "kg", 23.9), ("23.9kg", "kg", 23.9), ("12 lbs", "lb", 12),
        ("37.2 \u00b0C", "\u00b0C", 37.2), ("5 m\u00b2", "m2", 5), ("100 mg/dl", "mg/dl", 100), ("300 K", "K", 300),
        ("3 rooms", "room", 3), ("1 room", "room", 1), ("50%", "%", 50), ("50 %", "%", 50), ("50\uff05", "%", 50),
        ("2 hours", "h", 2), ('27"', "in", 27), ("12 sq ft", "ft2", 12),
    ],
)  # fmt: skip
def test_a_unit_is_told_from_its_number(text: str, unit: str, expected: float) -> None:
    spelled = spell(text)
    assert spelled is not None
    assert spelled.unit == unit
    assert Notation(decimal=".", groups=",", unit=unit).read(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["12a", "1f600", "A12", "12:30", "192.168.1.1", "5-10", "1/2/2024", "10\u00b2", "2024-01-31", "v1.2", "3 of 5"],
)
def test_codes_times_and_ranges_are_no_numbers(text: str) -> None:
    assert spell(text) is None


@pytest.mark.parametrize(
    "cell", [None, math.nan, "", " ", "NA", "NaN", "null", "#N/A", "?", "-", "n/a", "Unknown", "\u2014"]
)
def test_missing_spellings_are_absent(cell: object) -> None:
    assert STANDARD.read(cell) is None


@pytest.mark.parametrize(
    "cell",
    [
        "twelve", "inf", "-inf", "1e999", "1,2,3", "1 2", "0x10", "1_000", "--1", math.inf, 10**400, [1, 2], {}, b"1",
        "<0.5", ">100", "90+", "\u22653", "\u221e", "5 kg", "50%", "\u20ac5",
    ],
)  # fmt: skip
def test_what_is_no_finite_number_without_unit_is_refused(cell: object) -> None:
    with pytest.raises(DecodeError, match="expected a"):
        STANDARD.read(cell)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234", "0,5"], [1.234, 0.5]),
        (["1,234", "2.5"], [1234, 2.5]),
        (["1.234", "1.234,5"], [1234, 1234.5]),
        (["1,234", "1,234.50"], [1234, 1234.5]),
        (["1.234", "2.345.678"], [1234, 2345678]),
        (["45.678", "894", "12.000"], [45678, 894, 12000]),  # thousands above a thousand, bare integers below
        (["45.678", "894", "0.5"], [45.678, 894, 0.5]),
        (["1.5k", "900", "2M"], [1500, 900, 2e6]),
        (["1.5M", "2M"], [1.5, 2]),  # the one letter of all is a unit
        (["$7", "8", "$9.50"], [8, 7, 9.5]),
    ],
)
def test_a_columns_cells_settle_one_another(cells: list[str], values: list[float]) -> None:
    evidence = NotationEvidence.of([float(cell) if cell == "8" else cell for cell in cells])
    assert list(evidence.values) == pytest.approx(values)
    assert evidence.settled == "cells"
    assert not evidence.warnings("here")


def test_what_no_cell_settles_is_said() -> None:
    evidence = NotationEvidence.of(["45.678", "12.345"])
    (warning,) = evidence.warnings("set data.columns.c.decimal to '.' or ','")
    assert "can be read in two ways, as 45.678 or as 45,678, and are read as 45.678" in warning
    assert warning.endswith("to settle it, set data.columns.c.decimal to '.' or ','")
    stated = NotationEvidence.of(["45.678", "12.345"], ",")
    assert list(stated.values) == [45678, 12345]
    assert not stated.warnings("")


def test_where_both_marks_are_decimal_marks_what_is_open_is_refused() -> None:
    evidence = NotationEvidence.of(["0,5", "0.5", "1,234"])
    assert list(evidence.values) == [0.5, 0.5]
    assert "are unreadable" in evidence.warnings("")[0]


def test_shares_of_a_percentage_and_of_one_are_not_put_on_one_scale() -> None:
    notation = NotationEvidence.of(["50%", "12.5%"]).notation
    assert notation.read("3 %") == 3
    for cell in (0.5, "0.5"):
        with pytest.raises(DecodeError, match="expected a number with %"):
            notation.read(cell)
    with pytest.raises(DecodeError, match="without unit"):
        NotationEvidence.of([0.5, 0.125]).notation.read("50%")


def test_limits_are_said_to_lose_their_meaning() -> None:
    evidence = NotationEvidence.of(["<0.5", "0.7", math.inf])
    assert list(evidence.values) == [0.7]
    (warning,) = evidence.warnings("")
    assert "'inf'" in warning
    assert "they count as missing, and what they say is lost" in warning


@pytest.mark.parametrize("cells", [["12 Monkeys", "300 Spartans"], ["a1", "b2"], ["yes", "no"], [math.inf, -math.inf]])
def test_what_is_no_column_of_numbers(cells: list[object]) -> None:
    assert not NotationEvidence.of(cells).is_numeric


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([".", ","]))
def test_what_python_writes_is_read_back(value: float, mark: str) -> None:
    notation = NotationEvidence.of([], mark).notation  # type: ignore[arg-type]
    assert notation.read(value) == value
    assert notation.read(repr(value).replace(".", mark)) == value
    assert Notation.restored(json.loads(json.dumps(notation.plain()))) == notation


@given(st.text("0123456789.,- %eE'+()$kg<\u00a0", max_size=12))
def test_inference_and_preprocessing_agree_on_what_is_a_number(text: str) -> None:
    evidence = NotationEvidence.of([text] * 3)
    if evidence.values:
        assert evidence.notation.read(text) == evidence.values[0]
    elif not evidence.marks and text.strip():
        with pytest.raises(DecodeError):
            evidence.notation.read(text)


@given(st.sampled_from(["", "-", "+"]), st.from_regex(r"[0-9]{1,6}\.[0-9]{3}", fullmatch=True))
def test_three_decimals_are_read_as_by_the_whole_grammar(sign: str, digits: str) -> None:
    """They are so frequent that they have a way of their own; a wide point takes the other."""
    assert spell(sign + digits) == spell((sign + digits).replace(".", "\uff0e"))


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_no_float_holds_keep_their_sign(sign: int) -> None:
    assert NotationEvidence.of([1, sign * 10**301, sign * 10**400]).values == [1.0, sign * 1e300, sign * 1e300]
