"""Durations as people write them: 30s, 10m, 1h, 1h30m."""

from __future__ import annotations

import re

from polysense.errors import ConfigError

__all__ = ["parse_duration", "spell_duration"]

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "sec": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(min|sec|[dhms])\s*", re.IGNORECASE)


def parse_duration(text: str | float, where: str) -> float:
    """Seconds.

    Args:
        text: "30s", "10m", "1.5h", "1h30m", "2d"; a number without a unit is seconds.
        where: What messages call it.

    Raises:
        ConfigError: It is no duration, or none above 0.
    """
    plain = str(text).strip()
    try:
        seconds = float(plain)
    except ValueError:
        parts = list(_PART.finditer(plain))
        if not parts or "".join(part.group() for part in parts) != plain:
            raise ConfigError(f"{where}: found {plain!r}, expected a duration such as 30s, 10m, 1h or 1h30m") from None
        seconds = sum(float(part[1]) * _UNITS[part[2].lower()] for part in parts)
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{where}: found {plain!r}, expected a duration above 0 such as 30s, 10m, 1h or 1h30m")
    return seconds


def spell_duration(seconds: float) -> str:
    """In the two largest units: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        large, small = f"{whole // 60} min", f" {whole % 60} s" if whole % 60 else ""
    else:
        large, small = f"{whole // 3600} h", f" {whole // 60 % 60} min" if whole // 60 % 60 else ""
    return large + small
