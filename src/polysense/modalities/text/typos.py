"""Typing errors: letters exchanged with their neighbors, left out, doubled, or those of a neighboring key.

The unit is what a reader takes for one letter (a grapheme cluster, UAX #29): an accent, a vowel sign or a Hangul block
is never torn. A letter is exchanged only with one of its own script, and by its own script's keyboard; where none is
known the other kinds of errors remain. What is no letter (digits, punctuation, emoji, spaces) stays, and so does at
least the first letter of a word when others are left out, so that no word goes missing.

Belinkov and Bisk, "Synthetic and natural noise both break neural machine translation", ICLR 2018, section 3.2 (swap,
key); Pruthi, Dhingra, Lipton, "Combating adversarial misspellings with robust word recognition", ACL 2019, section 3
(swap, drop, add, key).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from tokenizers import Regex, pre_tokenizers

__all__ = ["graphemes", "with_typos"]

# Keys by row, each row half a key to the right of the one above; a space is a key without a letter.
_KEYBOARDS = (
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
    (" ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),
    ("  קראטוןםפ", "שדגכעיחלך", "זסבהנמצתץ"),
    ("ضصثقفغعهخحج", "شسيبلاتنمكط", "ئءؤر ىةوزظ"),
)
_BESIDE = ((0, -1), (0, 1), (1, -1), (1, 0), (-1, 0), (-1, 1))
_DRAWS = 3  # of a letter: whether it is mistyped, how, and what for
_CLUSTERS = pre_tokenizers.Split(Regex(r"\X"), "isolated")


def graphemes(text: str) -> list[str]:
    """What a reader takes for the characters of a text, in order."""
    if text.isascii() and "\r" not in text:
        return list(text)
    return [cluster for cluster, _ in _CLUSTERS.pre_tokenize_str(text)]


def with_typos(text: str, rate: float, draw: Callable[[int], np.ndarray]) -> str:
    """A text with typing errors.

    Args:
        text: Any.
        rate: How many of the letters are mistyped, from 0 to 1.
        draw: Gives so many uniforms in [0, 1).

    Returns:
        A text of at most twice as many grapheme clusters, with as many words; the text itself at a rate of 0.
    """
    clusters = graphemes(text)
    scripts = [_script(cluster) for cluster in clusters]
    if rate <= 0 or not any(scripts):
        return text
    draws = draw(_DRAWS * len(clusters)).reshape(-1, _DRAWS)
    result: list[str] = []
    is_kept = False  # whether the letter before is there, as itself or as another
    i = 0
    while i < len(clusters):
        cluster, script, after = clusters[i], scripts[i], scripts[i + 1] if i + 1 < len(clusters) else ""
        typed, num = [cluster], 1
        if script and draws[i, 0] < rate:
            errors = [[cluster, cluster]]
            if after == script and clusters[i + 1] != cluster:
                errors.append([clusters[i + 1], cluster])
            if is_kept and scripts[i - 1] == script:
                errors.append([])
            if keys := _keys(cluster):
                errors.append([keys[int(draws[i, 2] * len(keys))]])
            typed = errors[int(draws[i, 1] * len(errors))]
            num = 2 if len(typed) == 2 and typed[0] != typed[1] else 1
        result += typed
        is_kept = bool(typed)
        i += num
    typed_text = "".join(result)
    # Letters that meet anew may be one to a reader, as parts of Hangul blocks are.
    return typed_text if graphemes(typed_text) == result else text


@lru_cache(maxsize=4096)
def _script(cluster: str) -> str:
    """The script of a letter with its marks, by the first word of its name; "" of anything else."""
    is_letter = unicodedata.category(cluster[0])[0] == "L"
    if not is_letter or any(unicodedata.category(mark)[0] != "M" for mark in cluster[1:]):
        return ""
    return unicodedata.name(cluster[0], "").partition(" ")[0]


@lru_cache(maxsize=1)
def _neighbors() -> dict[str, str]:
    """The letters on the keys beside each letter's."""
    result: dict[str, str] = {}
    for rows in _KEYBOARDS:
        keys = {(r, k): letter for r, row in enumerate(rows) for k, letter in enumerate(row) if letter != " "}
        for (r, k), letter in keys.items():
            result[letter] = "".join(keys.get((r + down, k + right), "") for down, right in _BESIDE)
    return result


def _keys(cluster: str) -> Sequence[str]:
    """What the keys beside a letter's type, in its case."""
    small = cluster.lower()
    beside = _neighbors().get(small, "")
    return beside if cluster == small else beside.upper()
