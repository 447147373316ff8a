"""Write numbers as people read them: few decimals, true minus signs, a dash for what is undefined."""

from __future__ import annotations

import math

__all__ = ["axis_end", "compact", "count", "number", "percent", "signed"]


def number(value: float) -> str:
    """Three decimals, fewer for what is large, a dash for what is undefined."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return "0.000" if digits == "-0.000" else digits.replace("-", "−")


def compact(value: float) -> str:
    """Four digits; thousands with commas, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def signed(value: float) -> str:
    """`number` with its sign."""
    digits = number(value)
    return f"+{digits}" if value > 0 and digits != "0.000" else digits


def count(value: float | None) -> str:
    """A whole number with separators, one decimal below 10; empty for what is unknown."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def percent(share: float, decimals: int = 1) -> str:
    """A share of 1 in percent."""
    return f"{100 * share:.{decimals}f}%" if math.isfinite(share) else "–"


def axis_end(value: float) -> str:
    """The end of an axis: 0 to 100 rather than 0.000 to 100.00."""
    digits = number(value)
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
