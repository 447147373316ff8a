"""Chess positions for the tests over all modalities."""

from __future__ import annotations

import random


def example_cell(i: int) -> str:
    """A position of both kings and a few pieces more."""
    draws = random.Random(i)
    squares = ["K", "k", *draws.choices("PNBRQpnbrq", k=8 + i)]
    squares += ["1"] * (64 - len(squares))
    draws.shuffle(squares)
    return "/".join("".join(squares[at : at + 8]) for at in range(0, 64, 8)) + (" w", " b")[i % 2]
