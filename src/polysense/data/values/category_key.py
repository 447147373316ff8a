"""Categories and classes: one spelling each, so that 1, 1.0 and "1", or True and "true", are the same one.

Texts that look the same are the same: letters are composed (NFC, since a Mac types "é" as two characters), spaces of
all widths are one, and what has no width is left out. Truth values are the same in a column that holds a pair of them
(True and False, "Y" and "N"; not "T" and "N") and at most one word beside: True in one table, 1, "yes" or "Y" in the
next.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

import polars as pl

from polysense.core.unicode_text import ODD_SPACES
from polysense.data.media.media import short
from polysense.errors import DecodeError

__all__ = ["case_note", "category_key", "num_categories", "truth_keys", "unified", "unified_note"]

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
_LOOKALIKES = str.maketrans(dict.fromkeys(ODD_SPACES, " ") | dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff", ""))
_PAIRS = (
    ("true", "false"), ("1", "0"), ("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"), ("ja", "nein"), ("j", "n"),
    ("oui", "non"), ("si", "no"), ("sí", "no"), ("sim", "não"), ("sim", "nao"), ("wahr", "falsch"), ("vrai", "faux"),
)  # fmt: skip
# What `category_key` may change: spaces around, letters beyond ASCII, "1.0" and "True".
_NOT_ITS_OWN_KEY = re.compile(r"^ | $|[^ -~]|\.0+$|^(?i:true|false)$")
_SHORT = 100_000  # texts, which are told apart faster than polars has begun
_AT_ONCE = 65_536
_TRUTH: Mapping[str, bool] = {word: word == pair[0] for pair in _PAIRS for word in pair}


def unified(text: str) -> str:
    """A text without the differences that nobody sees, and without surrounding spaces."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFC", text.translate(_LOOKALIKES)).strip()


def unified_note(values: Iterable[object]) -> str | None:
    """Says how many texts differ from what they are taken for; None if none does."""
    num_texts, changed, example = 0, 0, ""
    for value in values:
        if isinstance(value, str):
            num_texts += 1
            if not value.isascii() and value.strip() != unified(value):
                changed, example = changed + 1, example or unified(value)
    if not changed:
        return None
    return (
        f"{changed:,} of {num_texts:,} cells are written with other Unicode characters than they look like, such as "
        f"{short(example)} in decomposed form (NFD) or with odd spaces: they are taken for what they look like"
    )


def case_note(names: Iterable[str]) -> str | None:
    """Says which classes differ in case alone; None if none do. Single letters do where letters are told apart."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if len(name) > 1:
            groups.setdefault(name.casefold(), []).append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return None
    listed = ", ".join(short(name) for name in alike[0][:3])
    more = f", and so do {len(alike) - 1:,} more groups" if len(alike) > 1 else ""
    advice = "each is a class of its own; if they are one, write it alike"
    return f"{listed} differ in upper and lower case alone{more}: {advice}"


def truth_keys(keys: Iterable[str]) -> Mapping[str, str]:
    """For a column of truth values, by the other ways of writing one the key that it has in this column.

    Args:
        keys: Those of the column. Other columns than of a pair of truth values (and one word beside, such as "unknown")
            give nothing. Beside a single letter ("T", "F" and "S") letters may be codes, and only words are told.
    """
    known = list(keys)
    truths = {key: _TRUTH[key.casefold()] for key in known if key.casefold() in _TRUTH}
    others = [key for key in known if key not in truths]
    by_value = {value: key for key, value in truths.items()}
    if len(truths) != 2 or len(by_value) != 2 or len(others) > 1 or (others and set(truths) == {"0", "1"}):
        return {}
    if (by_value[True].casefold(), by_value[False].casefold()) not in _PAIRS:
        return {}
    are_codes = any(len(key) == 1 for key in others)
    return {
        word: by_value[value]
        for word, value in _TRUTH.items()
        if word not in truths and not (are_codes and len(word) == 1)
    }


def category_key(value: object) -> str | None:
    """The one spelling of a category or a class; None if the cell is missing.

    Raises:
        DecodeError: The cell is no category: bytes, a list or a dict.
    """
    if isinstance(value, str):
        text = unified(value)
        whole = _WHOLE.fullmatch(text)
        if whole:
            return "0" if whole[1] == "-0" else whole[1]
        lower = text.lower()
        return lower if lower in ("true", "false") else text or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if value is None:
        return None
    raise DecodeError(
        f"found {short(value)} ({type(value).__name__}), expected one category: text, a number or a boolean"
    )


def num_categories(texts: pl.Series) -> int:
    """How many different categories texts are, missing ones left out; most texts are their own key."""
    if len(texts) < _SHORT:
        values = {*texts.to_list()} - {None}
        odd = {text for text in values if _NOT_ITS_OWN_KEY.search(text)}
        return len((values - odd) | ({category_key(text) for text in odd} - {None}))
    # A million Python texts at once would take 100 MB.
    distinct = texts.drop_nulls().unique()
    is_odd = distinct.str.contains(_NOT_ITS_OWN_KEY.pattern)
    plain, odd_texts = distinct.filter(~is_odd), distinct.filter(is_odd)
    keys = [
        pl.Series([*{category_key(text) for text in odd_texts[start : start + _AT_ONCE].to_list()}], dtype=pl.String)
        for start in range(0, len(odd_texts), _AT_ONCE)
    ]
    if not keys:
        return len(plain)
    made = pl.concat(keys).drop_nulls().unique()
    return len(plain) + int((~made.is_in(plain.implode())).sum())
