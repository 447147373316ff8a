"""Interval of a share that was counted: so many of so many."""

from __future__ import annotations

__all__ = ["binomial_interval"]


def binomial_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, "The Use of Confidence or Fiducial Limits", 1934).

    Args:
        hits: Of the total.
        total: At least 1.
        confidence: That it holds the share, or more.
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, total - hits + 1, tail))
    high = 1.0 if hits == total else float(betaincinv(hits + 1, total - hits, 1 - tail))
    return low, high
