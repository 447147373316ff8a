"""Numbers of bytes as people write them: 500MB, 20GiB, 1.5TB."""

from __future__ import annotations

import re

from polysense.errors import ConfigError

__all__ = ["parse_bytes", "spell_bytes"]

_TEXT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(?:([kmgtp])(i?)b?|b)?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SPELLED = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def parse_bytes(text: str | int, where: str) -> int:
    """A number of bytes.

    Args:
        text: "20GiB", "20GB" (of 1000), "500m", "1.5T"; a number without a unit is bytes.
        where: What messages call it.

    Raises:
        ConfigError: It is none.
    """
    match = _TEXT.fullmatch(str(text).strip())
    if match is None:
        raise ConfigError(f"{where}: found {str(text)!r}, expected a number of bytes such as 500MB, 20GiB or 1.5TB")
    number, prefix, binary = match.groups()
    unit = 1 if prefix is None else (1024 if binary else 1000) ** _POWERS[prefix.lower()]
    return int(float(number) * unit) if "." in number else int(number) * unit


def spell_bytes(number: int) -> str:
    """In the largest unit: 812 bytes, 3.4 MiB, 20 GiB."""
    power = max(0, min(len(_SPELLED) - 1, (max(number, 1).bit_length() - 1) // 10))
    value = number / 1024**power
    return f"{value:.0f} {_SPELLED[power]}" if power == 0 or value >= 100 else f"{value:.3g} {_SPELLED[power]}"
