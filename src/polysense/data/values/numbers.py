"""Numbers as people write them: "1,5", "1 000", "50%", "1e3", "1.234,5", "$1,234.50", "23.9 kg", "(1,234)".

A cell alone does not say which of comma and point is its decimal mark, nor whether its unit is its column's, so a
spelled number keeps both readings and its unit; `data.values.notation` settles them for a column. Digits of all
scripts, spaces of all widths and every minus sign are read alike. A word after the digits is a unit where it is known
as one or stands apart ("3 rooms"), so that codes ("12a", "1f600") are no numbers.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from polysense.core.unicode_text import ODD_SPACES
from polysense.data.values.cells import MISSING

__all__ = ["MARKS", "Spelled", "is_number", "known_unit", "spell"]

MARKS = frozenset(mark.casefold() for mark in MISSING) | frozenset({
    "?", "??", "???", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "\u2026", "*", "nil", "missing",
    "unknown", "undefined", "not available", "not applicable", "not measured", "no data", "nodata", "nd", "n.d.", "tbd",
    "k.a.", "k. a.", "keine angabe", "unbekannt", "fehlt", "s/o", "inconnu", "desconocido",
})  # fmt: skip
"""The spellings, case aside, of a number or a date that is missing; of other cells most of them may be values."""

_TRANSLATED = str.maketrans(
    dict.fromkeys(ODD_SPACES, " ")
    | dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63", "-")
    | dict.fromkeys("\u2019\u02bc\u2032\u00b4\u066c", "'")
    | {"\u066b": ",", "\u066a": "%", "\u3002": "."}
    | dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff", "")
    | {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)}  # full-width forms
)

_CURRENCIES = (
    "US$", "A$", "C$", "HK$", "R$", "$", "\u20ac", "\u00a3", "\u00a5", "\u20b9", "\u20bd", "\u20a9", "\u20ba", "\u20ab",
    "\u20aa", "\u20b4", "\u0e3f", "USD", "EUR", "GBP", "JPY", "CNY", "RMB", "CHF", "INR", "AUD", "CAD", "NZD", "SEK",
    "NOK", "DKK", "PLN", "CZK", "HUF", "BRL", "MXN", "ZAR", "RUB", "TRY", "KRW", "SGD", "HKD", "ILS", "THB", "Fr.",
    "Rs.", "Rs", "kr", "z\u0142", "K\u010d",
)  # fmt: skip
_UNITS = (
    "kg", "g", "mg", "\u03bcg", "t", "lb", "oz", "km", "m", "cm", "mm", "\u03bcm", "nm", "mi", "ft", "in", "yd",
    "nmi", "l", "ml", "cl", "dl", "hl", "gal", "s", "ms", "\u03bcs", "ns", "min", "h", "d", "wk", "yr", "km/h",
    "mph", "m/s", "kn", "\u00b0C", "\u00b0F", "\u00b0", "K", "V", "mV", "kV", "A", "mA", "W", "kW", "MW", "GW",
    "kWh", "MWh", "Wh", "Hz", "kHz", "MHz", "GHz", "Pa", "hPa", "kPa", "MPa", "bar", "mbar", "psi", "mmHg", "J",
    "kJ", "MJ", "cal", "kcal", "B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "m2", "cm2", "km2", "ft2", "ha",
    "m3", "cm3", "ft3", "ppm", "ppb", "bpm", "rpm", "dpi", "px", "mol", "mmol", "mmol/l", "mg/dl", "mg/l", "g/l",
    "g/dl", "\u03bcg/l", "ng/ml", "g/cm3", "kg/m3", "%", "\u2030", "dB", "\u03a9", "pt",
)  # fmt: skip
_ALIASES = {
    "\u20ac": "EUR", "\u00a3": "GBP", "\u20b9": "INR", "Rs": "INR", "US$": "USD", "Fr": "CHF",
    "lbs": "lb", "hr": "h", "hrs": "h", "std": "h", "hour": "h", "hours": "h", "mins": "min", "minute": "min",
    "minutes": "min", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "day": "d", "days": "d", "week": "wk",
    "weeks": "wk", "year": "yr", "years": "yr", "yrs": "yr", "y": "yr", "kph": "km/h", "kmh": "km/h", "ug": "\u03bcg",
    "KB": "kB", "sqft": "ft2", "sqm": "m2", "qm": "m2", "percent": "%", "pct": "%", "euro": "EUR", "euros": "EUR",
    "dollar": "$", "dollars": "$", "kilogram": "kg", "kilograms": "kg", "gram": "g", "grams": "g", "meter": "m",
    "meters": "m", "metre": "m", "metres": "m", "inch": "in", '"': "in", "inches": "in", "feet": "ft", "foot": "ft",
}  # fmt: skip
_BY_CASE = {name.casefold(): name for name in ("kg", "km", "cm", "lb", "lbs", "ml", "min", "kcal", "kWh", "Hz", "USD")}
_KNOWN = frozenset(_UNITS) | frozenset(sign.rstrip(".") for sign in _CURRENCIES) | frozenset(_ALIASES)
_LETTERS = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}
_WORDS = {
    "thousand": 1e3, "tsd": 1e3, "million": 1e6, "millions": 1e6, "mio": 1e6, "mln": 1e6, "mn": 1e6, "billion": 1e9,
    "billions": 1e9, "bn": 1e9, "mrd": 1e9, "mld": 1e9, "lakh": 1e5, "crore": 1e7,
}  # fmt: skip
_BOUNDS = ("<=", ">=", "\u2264", "\u2265", "<", ">")

_CURRENCY = "|".join(re.escape(sign) for sign in sorted(_CURRENCIES, key=len, reverse=True))
_WORD = r"[^\W\d_]{1,15}\.?[23\u00b2\u00b3]?"
_CELL = re.compile(
    rf"(?P<open>\()?\s?(?P<sign>[+-]?)\s?(?:(?P<before>{_CURRENCY})\s?(?P<inner>[+-]?))?"
    r"(?P<digits>\d(?:[\d.,' ]*\d)?[.,]?|[.,]\d+)(?P<power>[eE][+-]?\d{1,3})?(?P<gap> ?)"
    rf"(?:(?P<letter>[kKMB])(?![^\W_])\s?|(?P<word>(?i:{'|'.join(_WORDS)}))\b\.?\s?)?"
    rf"(?P<after>%|\u2030|\"|\u00b0 ?[CFKcf]?|{_CURRENCY}|(?:sq\.? ?)?{_WORD}(?: ?/ ?{_WORD})?)?"
    r"(?P<close>\))?(?P<late>-?)"
)
_BARE = re.compile(r"[+-]?\d+(?:\.(?:\d{1,2}|\d{4,}))?")  # neither reading differs
_ABOUT = re.compile(r"(?:~|\u2248|ca\. ?)(?=\d)")
_THOUSANDTHS = re.compile(r"[+-]?(\d+)\.\d{3}")  # three decimals, or thousands
_WHOLE_PRICE = re.compile(r"(?<=\d)[.,] ?[-\u2014]{1,2}(?=\D*$)")  # "5,-"
_POINT = re.compile(
    r"(?:(?P<plain>\d*)|(?P<groups>[1-9]\d{0,2}(?P<mark>[,' ])\d{3}(?:(?P=mark)\d{3})*|[1-9]\d?(?:,\d\d)+,\d{3}))"
    r"(?:\.(?P<decimals>\d*))?"
)
_MIXED = re.compile(r"(?<=\d) ([1-9]\d?)/([248]|16|32|64|3|5|6|10|100)(?!\d)")  # 1 3/4
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|\u221e)", re.IGNORECASE)
_SWAPPED = str.maketrans(".,", ",.")


@dataclass(frozen=True, slots=True)
class Spelled:
    """A number as a text has it, before its column's notation is known.

    Attributes:
        point: Its value if the decimal mark is a point; None where it can't be read so.
        comma: Likewise a comma.
        groups: The mark that can stand only between thousands; "" if there is none.
        mark: The one mark that either is the decimal mark or stands between thousands ("1,234"); "" if none is open.
        num_decimals: Digits after the decimal mark, of the reading that has any.
        unit: In one spelling for all that mean it; "" if there is none.
        letter: k, M, B after the digits, which is a factor or a unit ("300 K").
        factor: That of the letter or of a word ("1.5 million").
        bound: "<" or ">" where the number is a limit that the value is known to lie beyond.
        written: How it stands around its digits: "${}", "{} kg".
    """

    point: float | None
    comma: float | None
    groups: str = ""
    mark: str = ""
    num_decimals: int = 0
    unit: str = ""
    letter: str = ""
    factor: float = 1.0
    bound: str = ""
    written: str = "{}"


def known_unit(unit: str) -> bool:
    """Whether a unit is one that is known here, and not just any word after a number."""
    return unit in _KNOWN


def is_number(value: object) -> bool:
    """Whether a cell is a finite number or spells one, without a unit or in percent."""
    if isinstance(value, (int, float)):
        return not isinstance(value, float) or math.isfinite(value)
    spelled = spell(value) if isinstance(value, str) else None
    return spelled is not None and spelled.unit in ("", "%") and not spelled.bound and not spelled.letter


@lru_cache(maxsize=2**15)
def spell(text: str) -> Spelled | None:
    """What a text says as a number; None if it is none.

    Remembered for the cells of some columns, since a column's cells are read by several in turn.
    """
    text = text.strip()
    if len(text) > 80 or not text:
        return None
    if text[-1] == "+" and text[:-1].isdecimal():  # "90+" closes a scale of ages
        text = f">={text[:-1]}"
    text = _ABOUT.sub("", text)
    if text.isascii() and _BARE.fullmatch(text):
        whole, _, decimals = text.partition(".")
        return Spelled(float(text), None if decimals else float(whole), num_decimals=len(decimals))
    if (thousandths := _THOUSANDTHS.fullmatch(text)) is not None and text.isascii():
        whole = thousandths[1]
        if len(whole) > 3 or whole[0] == "0":
            return Spelled(float(text), None, num_decimals=3)
        return Spelled(float(text), float(text.replace(".", "")), mark=".", num_decimals=3)
    if not text.isascii():
        text = _ascii(text)
    if "/" in text:
        text = _MIXED.sub(lambda match: f"{int(match[1]) / int(match[2]):.6f}".strip("0"), text)
    if _INFINITE.fullmatch(text):
        return Spelled(None, None, bound="<" if text.startswith("-") else ">")
    bound = next((sign for sign in _BOUNDS if text.startswith(sign)), "")
    match = _CELL.fullmatch(_WHOLE_PRICE.sub("", text.removeprefix(bound).lstrip()))
    return None if match is None else _spelled(match, "<" if bound in ("<", "<=", "\u2264") else bound and ">")


def _spelled(match: re.Match[str], bound: str) -> Spelled | None:
    signs = [match["sign"], match["inner"] or "", match["late"]]
    if (match["open"] is None) is not (match["close"] is None) or sum(map(bool, signs)) + bool(match["open"]) > 1:
        return None
    before, after = match["before"] or "", match["after"] or ""
    if before and after:
        return None
    letter, unit = match["letter"] or "", _unit(before or after)
    is_apart = bool(before or match["gap"] or letter or match["word"])
    if unit and not is_apart and unit not in _KNOWN:
        return None  # a code, as 12a
    if letter == "K" and match["gap"] and not unit and not before:
        letter, unit = "", "K"  # kelvin
    sign, power = "-" if match["open"] or "-" in signs else "", match["power"] or ""
    point, comma = (_read(match["digits"].translate(table), sign, power) for table in ({}, _SWAPPED))
    if point is None and comma is None:
        return None
    factor = _WORDS.get((match["word"] or "").lower(), 1.0) * (_LETTERS[letter] if letter and before else 1.0)
    is_open = point is not None and comma is not None and point.value != comma.value
    only = point if comma is None else comma if point is None else None
    marks = {",": ",", ".": "."} if comma is None else {",": ".", ".": ","}
    return Spelled(
        None if point is None else point.value * factor,
        None if comma is None else comma.value * factor,
        marks.get(only.groups, "") if only is not None else "",
        ("." if "." in match["digits"] else ",") if is_open else "",
        max(reading.num_decimals for reading in (point, comma) if reading is not None),
        unit,
        "" if before else letter,
        _LETTERS[letter] if letter and not before else 1.0,
        bound,
        _written(match, before, after),
    )


def _written(match: re.Match[str], before: str, after: str) -> str:
    if before:
        return f"{before}{' ' if match.string[match.end('before') :].startswith(' ') else ''}{{}}"
    return f"{{}}{match['gap']}{after}" if after else "{}"


class _Reading(NamedTuple):
    """Digits read with a point as the decimal mark."""

    value: float
    groups: str
    num_decimals: int


def _read(digits: str, sign: str, power: str) -> _Reading | None:
    match = _POINT.fullmatch(digits)
    if match is None or not any(char.isdigit() for char in digits) or (power and match["groups"] is not None):
        return None
    whole, decimals = match["plain"] or re.sub(r"\D", "", match["groups"] or ""), match["decimals"] or ""
    groups = "" if match["groups"] is None else match["mark"] or ","
    return _Reading(float(f"{sign}{whole or 0}.{decimals or 0}{power}"), groups, len(decimals) if not power else 99)


def _unit(text: str) -> str:
    if not text:
        return ""
    text = unicodedata.normalize("NFKC", text).replace(" ", "").replace("sq.", "sq").rstrip(".")
    text = _BY_CASE.get(text.casefold(), text)
    folded = text.casefold()
    text = _ALIASES.get(text) or (_ALIASES.get(folded) if len(folded) > 2 else None) or text
    return text if text in _KNOWN or len(text) < 4 else folded.removesuffix("s")


def _ascii(text: str) -> str:
    """Digits, signs and spaces of all scripts as ASCII has them; a fraction such as \u00bd as decimals."""
    chars = []
    for char in text.translate(_TRANSLATED):
        if char.isdecimal():
            chars.append(str(unicodedata.decimal(char)))
        elif unicodedata.decomposition(char).startswith("<fraction>"):
            whole = "".join(chars).rstrip(" ")
            if whole and not whole[-1].isdigit() and whole[-1] not in "+-(":
                return text
            chars = [
                whole,
                f"{unicodedata.numeric(char):.6f}".rstrip("0").removeprefix("0" if whole[-1:].isdigit() else ""),
            ]
        else:
            chars.append(char)
    return "".join(chars).strip()
