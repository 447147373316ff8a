"""Cleanings of categories and labels: spellings that differ in case, spaces or Unicode form are one."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from polysense.data.cleaning import Cleaning, CleaningConfig

__all__ = ["MergeVariantsConfig"]


@dataclass(frozen=True, kw_only=True)
class MergeVariantsConfig(CleaningConfig):
    """One spelling for values that differ in case, whitespace and Unicode form alone: the training rows' commonest.

    Attributes:
        case: Whether case alone makes no other value.
        separators: Whether spaces, hyphens and underscores between words are alike.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"category"})
    cleans_targets: ClassVar[bool] = True
    is_proposed: ClassVar[bool] = True
    type: Literal["merge_variants"] = "merge_variants"
    case: bool = True
    separators: bool = False


class MergeVariants(Cleaning, config=MergeVariantsConfig):
    """See `MergeVariantsConfig`."""

    def __init__(self, config: MergeVariantsConfig) -> None:
        super().__init__(config)
        self._case, self._separators = config.case, config.separators
        self._spellings: dict[str, str] = {}

    def fit(self, values: Iterable[object]) -> None:
        """See `Cleaning`."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for value in values:
            if isinstance(value, str):
                text = _plain(value)
                counts[self._key(text)][text] += 1
        # Of equally frequent spellings the first by name.
        self._spellings = {
            key: min(each, key=lambda text, each=each: (-each[text], text))  # type: ignore[misc]
            for key, each in sorted(counts.items())
        }

    def clean(self, value: object) -> object:
        """See `Cleaning`."""
        if not isinstance(value, str):
            return value
        text = _plain(value)
        text = self._spellings.get(self._key(text), text)
        return value if text == value else text or None

    def state(self) -> dict[str, Any]:
        """See `Cleaning`."""
        return {"spellings": self._spellings}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Cleaning`."""
        self._spellings = {str(key): str(text) for key, text in state["spellings"].items()}

    def _key(self, text: str) -> str:
        if self._separators:
            text = " ".join(text.replace("-", " ").replace("_", " ").split())
        return unicodedata.normalize("NFC", text.casefold()) if self._case else text


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))
