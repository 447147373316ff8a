"""Likeness: a short signature of a cell that near copies share: another format, another volume, a word exchanged.

Every modality makes its signatures of the same stuff, so that one search serves all: signs, -1 or 1, and 0 where a
component says nothing (a flat part of an image, silence). Two cells agree by the share of equal signs among the
components of which at least one of them says something. The signs of gradients are what perceptual hashes of images
and fingerprints of sounds are made of; the last bits of MinHash values are the signs of a text (b-bit minwise hashing,
Li and König, "Theory and Applications of b-Bit Minwise Hashing", 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8

from polysense.core.schema import Column

__all__ = ["FEWEST_SIGNS", "Likeness", "agreement"]

FEWEST_SIGNS = 24
"""Components that say something, of a signature that is compared at all."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How near copies among a modality's cells are recognized.

    Attributes:
        signature: From a fitted column, a cell as the table has it and its items, at least one, to int8 [components],
            of one length for all cells of the column; None where the cell holds too little to be told from others.
        threshold: The agreement from which two cells are near copies, where the column's other cells are less alike.
        keeps_label: Whether near copies have one label: two prints of a photograph do, while a word more may turn a
            sentence around.
        reads_items: Whether the items are looked at; else they may be left out.
    """

    signature: Callable[[Column, object, Sequence[np.ndarray]], np.ndarray | None]
    threshold: float
    keeps_label: bool = True
    reads_items: bool = True


def agreement(
    some: Int8[np.ndarray, "some components"], others: Int8[np.ndarray, "others components"]
) -> Float[np.ndarray, "some others"]:
    """The share of equal signs of every pair, float32; 0 where neither says anything."""
    positive, negative = (some > 0).astype(np.float32), (some < 0).astype(np.float32)
    other_positive, other_negative = (others > 0).astype(np.float32), (others < 0).astype(np.float32)
    equal = positive @ other_positive.T + negative @ other_negative.T
    says, other_says = positive + negative, other_positive + other_negative
    both = says @ other_says.T
    either = says.sum(axis=1)[:, None] + other_says.sum(axis=1)[None, :] - both
    return np.asarray(np.divide(equal, either, out=np.zeros_like(equal), where=either > 0))
