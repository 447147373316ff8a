"""Words of a text, two ways, since a published number belongs to the tokenization that it was made with.

- `caption_words`: small letters, no punctuation, in the manner of the Penn Treebank tokenizer that the COCO caption
  evaluation runs in Java (Chen et al., "Microsoft COCO Captions", 2015, section 4.1). An approximation: it has the
  clitics ("does n't", "dog 's"), hyphens, numbers and the commonest abbreviations, not the whole grammar, and drops
  brackets, whose names the original keeps by accident.
- `answer_words`: what is left of an answer when spelling is set aside, for comparing short answers.

Both are safe for any script: an accent or a vowel sign stays with its letter, and where a script has no spaces between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character is a word. BLEU has sacreBLEU's words instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

__all__ = [
    "Tokenize",
    "Words",
    "answer_words",
    "are_unspaced",
    "caption_words",
    "check_texts",
    "composed",
    "mean_score",
    "row_scores",
]

Words = Sequence[str]
Tokenize = Callable[[str], Words]
"""Splits one text into words."""

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF),
)  # fmt: skip
_QUOTES = frozenset((0x2018, 0x2019, 0x201B, 0xFF07))
# What only changes how its neighbor is drawn: the joiner in an emoji, variation selectors, the byte order mark.
_DROPPED = frozenset((0x200D, 0xFE0E, 0xFE0F, 0xFEFF))

_LETTER = r"[^\s!-/:-@\[-`{-~]"
_TOKEN = re.compile(
    rf"""
    (?:st|rd|ave|dr|mr|mrs|ms|jr|sr|vs|etc)\.   # abbreviations keep their point
    | (?:[a-z]\.){{2,}}                         # u.s., a.m.
    | \d+(?:[.,:]\d+)+                          # 3.5, 1,000, 10:30
    | n't(?!{_LETTER})
    | '(?:s|re|ve|ll|d|m)(?!{_LETTER})
    | {_LETTER}+?(?=n't(?!{_LETTER}))           # do + n't
    | {_LETTER}+(?:[-/]{_LETTER}+)*             # black-and-white, refrigerator/freezer
    | [$%&#@+=*<>^|~/]
    """,
    re.VERBOSE,
)
_SPLIT = {
    "cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta"),
    "lemme": ("lem", "me"), "gimme": ("gim", "me"),
}  # fmt: skip

_ARTICLES = frozenset(("a", "an", "the"))
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A sign before a number and what stands between its digits are part of its value: -5 is not 5, 3.5 is not 35.
_IN_NUMBER = re.compile(r"(?<!\S)[-+](?=\d)|(?<=\d)[.,:/](?=\d)")
_ASCII_SYMBOLS = frozenset("$+<=>^`|~")


class _Plain(dict[int, str]):
    """How `str.translate` writes a character for `caption_words`; worked out when the character first comes."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        result = chr(code)
        if code in _DROPPED:
            result = ""
        elif code in _QUOTES:
            result = "'"
        elif code >= 0x80 and (category[0] in "PZ" or category == "Cc"):
            result = " "
        self[code] = result
        return result


class _Unpunctuated(dict[int, str]):
    """Likewise for `answer_words`: punctuation goes, whatever the script."""

    def __missing__(self, code: int) -> str:
        gone = code in _DROPPED or chr(code) in _ASCII_SYMBOLS or unicodedata.category(chr(code))[0] == "P"
        self[code] = "" if gone else chr(code)
        return self[code]


class _Kind(dict[str, str]):
    """A character's place in a word: "alone" (a word by itself), "mark" (part of the one before it) or "letter"."""

    def __missing__(self, char: str) -> str:
        category = unicodedata.category(char)
        alone = category == "So" or any(low <= ord(char) <= high for low, high in _UNSPACED)
        self[char] = "mark" if category[0] == "M" else "alone" if alone and not char.isspace() else "letter"
        return self[char]


_PLAIN, _UNPUNCTUATED, _KIND = _Plain(), _Unpunctuated(), _Kind()


def check_texts(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> None:
    """Raises ValueError where rows do not match, have no reference, or are a text instead of a list of them."""
    if len(references) != len(hypotheses):
        raise ValueError(f"found {len(references)} rows of references and {len(hypotheses)} hypotheses")
    for row, texts in enumerate(references):
        if isinstance(texts, str) or not len(texts):
            result = f"the text {texts[:40]!r}" if isinstance(texts, str) else "none"
            raise ValueError(f"row {row}: expected a list of one or more references, found {result}")


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): what looks the same, an accent typed apart, is the same."""
    return unicodedata.normalize("NFC", text)


def are_unspaced(texts: Sequence[str]) -> bool:
    """Whether most letters are of scripts that put no spaces between words; False where there are no letters."""
    letters = [char for text in texts for char in text if char.isalpha()]
    unspaced = sum(any(low <= ord(char) <= high for low, high in _UNSPACED) for char in letters)
    return 2 * unspaced > len(letters)


def caption_words(text: str) -> list[str]:
    """Small letters, no punctuation, clitics apart: see the module."""
    words: list[str] = []
    for word in _TOKEN.findall(_apart(text.lower().translate(_PLAIN))):
        words.extend(_SPLIT.get(word, (word,)))
    return words


def answer_words(text: str) -> list[str]:
    """The words by which short answers are compared.

    Compatibility forms are folded (NFKC, so full-width digits are digits), and case. Punctuation, thousands' commas and
    the articles a, an and the go. The sign and the point of a number stay. What would be left empty ("?", or "A" as the
    letter of a choice) is kept as it was.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    bare = _THOUSANDS.sub("", folded)
    pieces: list[str] = []
    end = 0
    for retained in _IN_NUMBER.finditer(bare):
        pieces += (bare[end : retained.start()].translate(_UNPUNCTUATED), retained[0])
        end = retained.end()
    plain = "".join(pieces) + bare[end:].translate(_UNPUNCTUATED)
    words = [word for word in _apart(plain).split() if word not in _ARTICLES]
    return words or folded.split()


def row_scores(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    tokenize: Tokenize,
    score: Callable[[Words, Sequence[Words]], float],
) -> np.ndarray:
    """What a score that each row has on its own sums over rows; `mean_score` computes the value from the sums.

    Args:
        references: One or more texts per row.
        hypotheses: The generated texts.
        tokenize: Splits a text into words.
        score: From a text's words and those of each reference.

    Returns:
        float64 [rows, 2]: the score, 1.
    """
    result = np.ones((len(hypotheses), 2))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        result[row, 0] = score(tokenize(hypothesis), [tokenize(text) for text in texts])
    return result


def mean_score(sums: np.ndarray) -> np.ndarray:
    """The mean of a score that each row has on its own.

    Args:
        sums: [resamples, 2], sums of (score, 1).

    Returns:
        [resamples], NaN where no row was counted.
    """
    value, count = sums[:, 0], sums[:, 1]
    return np.where(count > 0, value / np.where(count > 0, count, 1.0), np.nan)


def _apart(text: str) -> str:
    """Spaces around each character that is a word by itself, with its marks."""
    if text.isascii():
        return text
    pieces: list[str] = []
    inside = False
    for char in text:
        kind = _KIND[char]
        if kind != "mark":
            if inside or kind == "alone":
                pieces.append(" ")
            inside = kind == "alone"
        pieces.append(char)
    return "".join(pieces)
