"""Properties of cells that texts speak of, and their words: what an augmentation must not change unseen.

A caption that says "left" is wrong beside its mirrored photograph. Each transform declares which properties it disturbs
(`TransformConfig.disturbs`); the words here tell in which columns something speaks of them. They are those that are
rarely meant otherwise, in English, German, French and Spanish, and where they are alike in Italian, Portuguese and
Dutch. No list is complete, and a word may be meant otherwise ("all right"): so this warns, and what is left out of
presets is left out for nothing at worst.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping

from polysense.data.roles.column_names import name_words

__all__ = ["PROPERTIES", "spoken_words"]

_SHORT = 80  # characters up to which a text is read as a name: turnLeft, lung_left

PROPERTIES: Mapping[str, str] = {
    "left and right": (
        "left|right|(?:left|right)(?:most|wards?|hand|side|sided)|"
        "links|rechts|link(?:e[nrsm]?)|rechte[nrsm]|linksseitig|rechtsseitig|"
        "gauches?|droites?|izquierd[ao]s?|derech[ao]s?|sinistr[aoei]|destr[aoei]|esquerd[ao]s?|direit[ao]s?"
    ),
    "the direction of a turn": (
        "(?:anti|counter)?clockwise|cw|ccw|(?:gegen)?uhrzeigersinns?|(?:links|rechts)herum|linksdrehend|rechtsdrehend|"
        "anti ?horaires?|sens horaire|aiguilles d.une montre|antihorari[ao]|sentido horario|antiorario"
    ),
    "up and down": (
        "above|below|top|bottom|upper|lower|up|down|(?:up|down)wards?|upside|vertical(?:ly)?|horizontal(?:ly)?|"
        "oben|unten|ober(?:e[nrsm]?|halb)|unter(?:halb|en|er|es)|aufrecht|senkrecht|waagerecht|"
        "haut|bas|dessus|dessous|arriba|abajo|encima|debajo|superior(?:es)?|inferior(?:es)?|sopra|sotto"
    ),
    "colors": (
        "colou?r(?:s|ed|ful)?|red|blue|green|yellow|orange|purple|violet|pink|brown|black|white|gr[ae]y|"
        "farben?|farbig|rot(?:e[nrsm]?)?|blau(?:e[nrsm]?)?|grun(?:e[nrsm]?)?|gelb(?:e[nrsm]?)?|lila|rosa|"
        "braun(?:e[nrsm]?)?|schwarz(?:e[nrsm]?)?|weiss(?:e[nrsm]?)?|grau(?:e[nrsm]?)?|"
        "couleurs?|rouges?|bleue?s?|verte?s?|jaunes?|noire?s?|blanc(?:he)?s?|grise?s?|marron|"
        "colore?s|roj[ao]s?|azul(?:es)?|verdes?|amarill[ao]s?|naranja|morad[ao]s?|negr[ao]s?|blanc[ao]s?|gris(?:es)?|"
        "ross[aoie]|giall[aoie]|ner[aoie]|bianc[aoh]i?e?|vermelh[ao]s?|amarel[ao]s?|rood|blauw|groen|geel|zwart|wit"
    ),
    "light and dark": (
        "bright(?:er|ness|ly)?|dark(?:er|ness)?|dim|(?:over|under)exposed|dunkel|dunkle[nrsm]?|heller|hellste[nrsm]?|"
        "uberbelichtet|unterbelichtet|sombres?|foncee?s?|oscur[ao]s?|brillantes?|escur[ao]s?|donker"
    ),
    "large and small": (
        "large[rst]*|big(?:ger|gest)?|small(?:er|est)?|tiny|huge|size|gross(?:e[nrsm]?)?|klein(?:e[nrsm]?)?|winzig|"
        "grand(?:e?s?)|petite?s?|taille|grandes?|pequen[ao]s?|tamano"
    ),
    "loud and quiet": (
        "loud(?:er|ly|ness)?|quiet(?:er|ly)?|whisper(?:s|ed|ing)?|shout(?:s|ed|ing)?|scream(?:s|ed|ing)?|volume|"
        "laut(?:er|e[nsm]?)?|leise[rnsm]?|fluster[nt]|geflustert|schreien?|lautstarke|"
        "bruyante?s?|silencieu(?:x|se)s?|chuchote[r]?|crier|ruidos[ao]s?|silencios[ao]s?|susurr[ao]r?|gritar"
    ),
    "pitch": (
        "pitch(?:ed)?|soprano|tenor|baritone|octaves?|male|female|tonhohe|mannlich(?:e[nrsm]?)?|weiblich(?:e[nrsm]?)?|"
        "aigue?s?|masculin|feminin|agud[ao]s?|masculin[ao]|femenin[ao]"
    ),
    "fast and slow": (
        "fast(?:er|est)?|slow(?:er|ly)?|quick(?:er|ly)?|tempo|bpm|speed|schnell(?:er|e[nsm]?)?|langsam(?:er|e[nsm]?)?|"
        "rapides?|lente?s?|vitesse|rapid[ao]s?|lent[ao]s?|velocidad"
    ),
    "noise": "nois[ey]|hiss|static|rausch(?:en|t)|verrauscht|gerausch|bruits?|ruidos?|rumore",
    "echo": "echo(?:es)?|reverb(?:eration|erant)?|nachhall|hallig|reverberacion|eco",
    "the order of words": (
        "order|sequence|reihenfolge|wortstellung|ordre|orden|word order|first|last|before|after|zuerst|zuletzt|"
        "avant|apres|antes|despues"
    ),
}  # fmt: skip
"""Per property its words, as a regular expression of what is left of them without accents."""


def spoken_words(name: str, text: str) -> Iterator[str]:
    """The words of a text that speak of a property.

    Args:
        name: Of `PROPERTIES`.
        text: Of any length; a short one may be a name, whose words stand together.
    """
    plain = " ".join(name_words(text)) if len(text) <= _SHORT else _folded(text)
    for match in _pattern(name).finditer(plain):
        yield match.group()


def _folded(text: str) -> str:
    """In small letters without accents."""
    plain = unicodedata.normalize("NFD", text.casefold())
    return plain if plain.isascii() else "".join(char for char in plain if not unicodedata.combining(char))


@functools.cache
def _pattern(name: str) -> re.Pattern[str]:
    letter = r"[^\W\d_]"
    return re.compile(rf"(?<!{letter})(?:{PROPERTIES[name]})(?!{letter})")
