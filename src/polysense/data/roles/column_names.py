"""Words of a column's name in any style and script: "PatientID", "id_patient" and "Patientennummer" name patients.

Accents are dropped, so that "usuário" and "usuario" are one word, but not the marks that make another kana of one;
digits separate words; a script without spaces gives one word for each run of its characters.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["folded_words", "name_words", "without_identifier"]


_VOICING = "\u3099\u309a"  # か with it is が: another letter, not an accent


def name_words(name: str) -> list[str]:
    """The words of a name, lower-case and without accents, in order."""
    spaced = _spaced(unicodedata.normalize("NFC", name))
    plain = unicodedata.normalize("NFD", spaced.casefold())
    letters = (
        "".join(c for c in plain if c in _VOICING or not unicodedata.combining(c)).replace("ı", "i").replace("ł", "l")
    )
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", letters))


def _spaced(name: str) -> str:
    """A name with a mark where a word begins without one: a capital after a small letter, letters of another kind."""
    pieces = []
    before = ""
    for char in name:
        begins = before.isalnum() and not before.isupper() and char.isupper()
        if begins or (before.isalpha() and char.isalpha() and _has_case(before) != _has_case(char)):
            pieces.append("_")
        pieces.append(char)
        if not unicodedata.category(char).startswith("M"):  # a mark belongs to the letter before it
            before = char
    return "".join(pieces)


def _has_case(char: str) -> bool:
    return char.isupper() or char.islower() or char.istitle()


def without_identifier(words: list[str]) -> tuple[list[str], bool]:
    """A name's words without those at its ends that make it an identifier's, and whether there were any."""
    rest = list(words)
    while len(rest) > 1 and rest[-1] in _IDENTIFIER:
        rest.pop()
    if len(rest) > 1 and rest[0] in _FIRST:
        rest.pop(0)
    if rest and rest == words:
        glued = next((end for end in _GLUED if rest[-1].endswith(end) and len(rest[-1]) > len(end) + 1), None)
        if glued is not None:
            rest[-1] = rest[-1].removesuffix(glued)
    return rest, rest != words


def folded_words(text: str) -> frozenset[str]:
    """Words as `name_words` spells them."""
    return frozenset(name_words(text))


_IDENTIFIER = folded_words(
    """id ids uid uuid guid pk key code kod codigo codice hash no nr num number numero nummer numer name nom nombre nome
    naam namen pseudonym alias handle email mail address adresse ref identifier identifiant kennung kürzel kennzeichen
    αριθμός κωδικός όνομα номер код имя 编号 编码 名 名前 番号"""
)
_FIRST = folded_words("id code codigo nom nombre nome номер код имя")  # "id_patient", "nom du client"
_GLUED = ("nummer", "number", "kennung", "id", "nr", "no", "name", "code", "编号", "番号", "名")
