"""How well a pretrained tokenizer's vocabulary knows the language of some texts.

Measured on the texts: a vocabulary of another language cuts them into twice as many tokens, or does not know their
letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from polysense.core.modality_spec import parts

__all__ = ["texts_of", "vocabulary_fit"]

# Tokens to a letter. MiniLM needs 0.22 for English, 0.39 to 0.44 for French, Italian, Spanish, German and Dutch, 0.5
# for Polish and Turkish, 0.96 for Russian; a vocabulary of such a language needs about as many as an English one for
# English.
_MOST_PIECES = 0.33
_LETTERS_OF_A_SYLLABLE = 3.5  # in scripts that write a syllable or a word with one sign
_MOST_UNKNOWN = 0.01
_MEASURED = 200  # texts


def vocabulary_fit(path: Path, texts: Sequence[str]) -> str | None:
    """Why a tokenizer's vocabulary does not know some texts; "" if it does, None if it can't be read.

    Args:
        path: Its tokenizer.json.
        texts: In the language that it has to know.
    """
    measured = _pieces(path, texts)
    if measured is None:
        return None
    pieces, unknown = measured
    if pieces > _MOST_PIECES or unknown > _MOST_UNKNOWN:
        return f"its vocabulary does not know the language of these texts ({pieces:.2f} tokens to a letter)"
    return ""


def _pieces(path: Path, texts: Sequence[str]) -> tuple[float, float] | None:
    """Tokens to a letter, and the share of unknown tokens; None where the tokenizer can't be read."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokens = [
            token for each in tokenizer.encode_batch(list(texts), add_special_tokens=False) for token in each.tokens
        ]
    except Exception:  # noqa: BLE001 (tokenizers raises Exception itself)
        return None
    letters = sum(_letters(text) for text in texts)
    unknown = sum(token.strip("[]<>").lower() == "unk" for token in tokens)
    return len(tokens) / max(letters, 1), unknown / max(len(tokens), 1)


def _letters(text: str) -> float:
    """Letters, as many as an alphabet would need."""
    letters = [letter for letter in text if letter.isalpha()]
    signs = sum(unicodedata.category(letter) == "Lo" and ord(letter) >= 0x2E80 for letter in letters)
    return len(letters) + (_LETTERS_OF_A_SYLLABLE - 1) * signs


def texts_of(cells: Iterable[object]) -> Iterator[str]:
    """Some texts of cells, for `vocabulary_fit`."""
    each = (part for cell in cells for part in parts(cell) if isinstance(part, str) and part.strip())
    for text, _ in zip(each, range(_MEASURED), strict=False):
        yield text
