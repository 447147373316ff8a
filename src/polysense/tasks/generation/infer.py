"""Recognize a column of free text: most of its texts occur once, and they have several words."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile, num_words, quote

__all__ = ["claim"]

_FEWEST_TEXTS = 10
_LISTS, _TEXTS = 0.9, 0.7


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Texts, or lists of them that are references; see `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated", multiple=evidence.are_lists)
    if evidence.are_lists:
        items = [item for cell in evidence.cells if isinstance(cell, list) for item in cell]
        if not _are_free([item for item in items if isinstance(item, str)], len(set(map(str, items))), len(items)):
            return None
        return TargetClaim(confidence=_LISTS, evidence=f"lists of texts, such as {quote(items[0])}", multiple=True)
    texts = [cell for cell in evidence.cells if isinstance(cell, str)]
    if len(texts) <= 0.9 * len(evidence.cells):
        return None
    if not _are_free(texts, evidence.num_distinct(), evidence.num_present):
        return None
    hint = "; if they are classes, its type is classification"
    return TargetClaim(confidence=_TEXTS, evidence=f"texts, {evidence.counts()}, such as {quote(texts[0])}{hint}")


def _are_free(texts: list[str], distinct: int, num_present: int) -> bool:
    """Whether texts are free text.

    Where not one occurs twice, none can be a class that another row teaches, so two words will do.
    """
    if not texts or distinct <= 0.5 * num_present:
        return False
    words = sum(map(num_words, texts)) / len(texts)
    enough = 1.5 if distinct > 50 or distinct == num_present else 3.0
    return distinct >= _FEWEST_TEXTS and words >= enough
