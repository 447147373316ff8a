"""Dates with names of months and weekdays in the languages that are read."""

import datetime

import pytest

from polysense.errors import DecodeError
from polysense.modalities.date.months import LANGUAGES, month_number
from polysense.modalities.date.parse import is_spelled, parse_date

MARCH = datetime.date(2024, 3, 3)


@pytest.mark.parametrize(
    "text",
    ["3 März 2024", "3. März 2024", "03. Maerz 2024", "3. Mrz. 2024", "Sonntag, 3. März 2024", "So., 3. März 2024",
     "3 mars 2024", "dimanche 3 mars 2024", "3 de marzo de 2024", "3 marzo 2024", "3 de março de 2024", "3-mar-2024",
     "domingo, 3 de março de 2024", "3 maart 2024", "3 mrt. 2024", "3. mars 2024", "3. marts 2024", "3 marca 2024",
     "3 marca 2024 r.", "3. března 2024", "2024. március 3.", "3 martie 2024", "3 Mart 2024", "3 марта 2024",
     "3 марта 2024 г.", "3 березня 2024", "3 Μαρτίου 2024", "3. maaliskuuta 2024", "3 de març de 2024", "MÄRZ 3, 2024",
     "2024年3月3日", "2024년 3월 3일", "3 March 2024", "Mar 3, 2024", "Sun, 03 Mar 2024"],
)  # fmt: skip
def test_a_day_of_march_in_many_languages(text: str):
    assert is_spelled(text)
    moment = parse_date(text)
    assert moment is not None
    assert moment.date == MARCH


@pytest.mark.parametrize(
    ("text", "month"),
    [("5 janv. 2024", 1), ("1er févr. 2024", 2), ("5 avr. 2024", 4), ("5 mai 2024", 5), ("5 juin 2024", 6),
     ("14 juil. 2024", 7), ("15 août 2024", 8), ("15 aout 2024", 8), ("24 déc. 2024", 12), ("6 gen 2024", 1),
     ("5 ago 2024", 8), ("1 ene. 2024", 1), ("7 okt 2024", 10), ("7 out 2024", 10), ("24. Dez. 2024", 12),
     ("6. Jänner 2024", 1), ("12 paź 2024", 10), ("9 мая 2024", 5), ("1 сент. 2024", 9), ("23 Nisan 2024", 4)],
)  # fmt: skip
def test_abbreviations(text: str, month: int):
    moment = parse_date(text)
    assert moment is not None
    assert moment.date is not None
    assert moment.date.month == month


@pytest.mark.parametrize(
    "text", ["3. März 2024 14:30", "3. März 2024 um 14:30", "3 mars 2024 à 14:30", "3 mars 2024, 14:30"]
)
def test_a_time_after_it(text: str):
    moment = parse_date(text)
    assert moment is not None
    assert (moment.date, moment.seconds) == (MARCH, 14.5 * 3600)


def test_what_is_another_month_elsewhere_or_none_is_named_with_the_languages_that_are_read():
    for text, word in [("3 brumaire 2024", "brumaire"), ("3 jui 2024", "jui"), ("3 rooms 2024", "rooms")]:
        assert not is_spelled(text)
        with pytest.raises(DecodeError, match=rf"no month '{word}' in the languages that are read \(English, German"):
            parse_date(text)
    assert not is_spelled("platform 3 march 2024")


def test_every_language_names_twelve_months_and_no_name_is_two_months():
    assert {"English", "German", "French", "Spanish", "Italian", "Russian"} <= set(LANGUAGES)
    for name in ("january", "oktober", "listopada", "července", "червня", "lipca"):
        assert month_number(name) in range(1, 13)
