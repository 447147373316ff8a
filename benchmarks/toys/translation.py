"""A toy translation: phrases that count things, from English to Greek, made by rule.

"two hundred and three small houses" is «διακόσια τρία μικρά σπίτια», "two hundred and three small cities" is «διακόσιες
τρεις μικρές πόλεις»: the numbers one, three and four, the hundreds and the thousands follow the gender of what is
counted, which English doesn't say. So a word has no one translation, another alphabet has to be written letter by
letter, and yet every answer is known.

What is held out is the composition: no number of the test split occurs in the training split with any noun, so who
only remembers phrases knows none of them. Up to 9,999 numbers, 12 nouns and 4 adjectives make 599,940 phrases.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from polysense.core import random
from polysense.errors import UserError

__all__ = ["NUM_PHRASES", "english_number", "greek_number", "make_translation", "phrase"]

_UNITS = (
    "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

# By gender (masculine, feminine, neuter) where they differ.
_GREEK_UNITS: tuple[str | tuple[str, str, str], ...] = (
    "", ("ένας", "μία", "ένα"), "δύο", ("τρεις", "τρεις", "τρία"), ("τέσσερις", "τέσσερις", "τέσσερα"), "πέντε", "έξι",
    "επτά", "οκτώ", "εννέα", "δέκα", "έντεκα", "δώδεκα", ("δεκατρείς", "δεκατρείς", "δεκατρία"),
    ("δεκατέσσερις", "δεκατέσσερις", "δεκατέσσερα"), "δεκαπέντε", "δεκαέξι", "δεκαεπτά", "δεκαοκτώ", "δεκαεννέα",
)  # fmt: skip
_GREEK_TENS = ("", "", "είκοσι", "τριάντα", "σαράντα", "πενήντα", "εξήντα", "εβδομήντα", "ογδόντα", "ενενήντα")
_GREEK_HUNDREDS = (
    "", "", "διακόσι", "τριακόσι", "τετρακόσι", "πεντακόσι", "εξακόσι", "επτακόσι", "οκτακόσι", "εννιακόσι",
)  # fmt: skip
_ENDINGS = ("οι", "ες", "α")
_FEMININE = 1

# English singular and plural, gender, Greek singular and plural.
_NOUNS = (
    ("road", "roads", 0, "δρόμος", "δρόμοι"),
    ("friend", "friends", 0, "φίλος", "φίλοι"),
    ("garden", "gardens", 0, "κήπος", "κήποι"),
    ("man", "men", 0, "άντρας", "άντρες"),
    ("woman", "women", 1, "γυναίκα", "γυναίκες"),
    ("city", "cities", 1, "πόλη", "πόλεις"),
    ("day", "days", 1, "μέρα", "μέρες"),
    ("door", "doors", 1, "πόρτα", "πόρτες"),
    ("house", "houses", 2, "σπίτι", "σπίτια"),
    ("book", "books", 2, "βιβλίο", "βιβλία"),
    ("child", "children", 2, "παιδί", "παιδιά"),
    ("tree", "trees", 2, "δέντρο", "δέντρα"),
)
# English; Greek singular and plural by gender.
_ADJECTIVES = (
    ("", ("", "", ""), ("", "", "")),
    ("small", ("μικρός", "μικρή", "μικρό"), ("μικροί", "μικρές", "μικρά")),
    ("big", ("μεγάλος", "μεγάλη", "μεγάλο"), ("μεγάλοι", "μεγάλες", "μεγάλα")),
    ("beautiful", ("όμορφος", "όμορφη", "όμορφο"), ("όμορφοι", "όμορφες", "όμορφα")),
    ("old", ("παλιός", "παλιά", "παλιό"), ("παλιοί", "παλιές", "παλιά")),
)
_LARGEST = 9_999
NUM_PHRASES = _LARGEST * len(_NOUNS) * len(_ADJECTIVES)
"""Phrases that there are."""

_SPLITS = ("train",) * 8 + ("validation",) + ("test",)


def english_number(number: int) -> str:
    """1 to 9,999 in words, with the British "and"."""
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = [f"{_UNITS[thousands]} thousand"] if thousands else []
    words += [f"{_UNITS[hundreds]} hundred"] if hundreds else []
    if below:
        words += ["and"] if words else []
        tens, units = divmod(below, 10)
        words.append(_UNITS[below] if below < 20 else "-".join(part for part in (_TENS[tens], _UNITS[units]) if part))
    return " ".join(words)


def greek_number(number: int, gender: int) -> str:
    """1 to 9,999 in words; gender 0 (masculine), 1 (feminine) or 2 (neuter) of what is counted."""
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words: list[str] = []
    if thousands == 1:
        words.append("χίλι" + _ENDINGS[gender])
    elif thousands:
        words += [_unit(thousands, _FEMININE), "χιλιάδες"]  # thousands are feminine themselves
    if hundreds == 1:
        words.append("εκατόν" if below else "εκατό")
    elif hundreds:
        words.append(_GREEK_HUNDREDS[hundreds] + _ENDINGS[gender])
    if below:
        tens, units = divmod(below, 10)
        words += [_unit(below, gender)] if below < 20 else [_GREEK_TENS[tens], _unit(units, gender)]
    return " ".join(word for word in words if word)


def _unit(number: int, gender: int) -> str:
    word = _GREEK_UNITS[number]
    return word if isinstance(word, str) else word[gender]


def phrase(number: int, noun: int, adjective: int) -> tuple[str, str]:
    """A phrase in English and in Greek.

    Args:
        number: 1 to 9,999.
        noun: Which of the 12.
        adjective: Which of the 4, from 1; 0 for none.
    """
    singular, plural, gender, greek_singular, greek_plural = _NOUNS[noun]
    english, of_one, of_many = _ADJECTIVES[adjective]
    greek = (of_one if number == 1 else of_many)[gender]
    return (
        " ".join(filter(None, (english_number(number), english, singular if number == 1 else plural))),
        " ".join(filter(None, (greek_number(number, gender), greek, greek_singular if number == 1 else greek_plural))),
    )


def make_translation(folder: str | Path, *, seed: int = 0, num_rows: int = 5_000) -> Path:
    """Writes the table.

    Args:
        folder: Where to write; made if it is not there.
        seed: Which phrases; the same seed and number of rows give the same bytes.
        num_rows: Distinct pairs in all splits together, 10 to 100,000: about 80% train, 10% validation, 10% test.

    Returns:
        The path of translation.csv, with the columns english, greek and split.

    Raises:
        UserError: `num_rows` is out of range, or the folder can't be written.
    """
    if not 10 <= num_rows <= 100_000:
        raise UserError(f"the toy translation can have 10 to 100,000 rows, not {num_rows:,}: choose another num_rows")
    # Numbers of one to four digits are equally frequent, or nearly all would have four.
    draws = random.uniforms(4, seed, "translation", 0, np.arange(8 * num_rows))
    pairs: dict[tuple[int, int, int], str] = {}
    for digits, place, noun, adjective in draws:
        low = 10 ** int(4 * digits)
        number = low + int(9 * low * place)
        key = (number, int(len(_NOUNS) * noun), int(len(_ADJECTIVES) * adjective))
        pairs.setdefault(key, _SPLITS[int(random.uniforms(1, seed, "translation split", number)[0] * len(_SPLITS))])
        if len(pairs) == num_rows:
            break
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "translation.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["english", "greek", "split"])
            writer.writerows([*phrase(*key), split] for key, split in pairs.items())
    except OSError as error:
        raise UserError(
            f"the toy translation can't be written to {folder}: {error}; name a folder that can be written"
        ) from error
    return path
