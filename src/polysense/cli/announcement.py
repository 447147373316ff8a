"""The first line of a training: what is going to be done, said before torch is imported and the table is read.

Imports and reading take seconds, on a busy machine half a minute. What can be said before is read from the beginning of
the file alone; the plan and a measured estimate follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polysense.core.duration import parse_duration
from polysense.escaping import visible

__all__ = ["first_line"]

_READ = 2**22
"""Bytes of a file that are looked at: small ones are counted, of large ones the rest is taken to be alike."""

_SEPARATORS = {".csv": ",;|\t", ".tsv": "\t"}

_SMALL = 2_000
"""Rows up to which tables were measured: 18 to 123 s on an idle machine, to 4 minutes with weights on a busy one."""


def first_line(source: str | Path, targets: Sequence[str], time: str | None) -> str:
    """What a training is going to do, as far as is known at once; "" where the source is no file.

    Args:
        source: What the command was given: a table's path, a recipe's, or another.
        targets: What is to be predicted, where the command names it.
        time: As `--time` has it, or a preset that is a time.

    Raises:
        ConfigError: The time is none.
    """
    if time is not None:
        parse_duration(time, "time")
    path = Path(source)
    if not path.is_file():  # which is an error, or a data set's name
        return ""
    size = None if path.suffix.lower() not in _SEPARATORS else _size(path)
    rows = None if size is None else size[0]
    what = "" if size is None else f" (about {size[0]:,} rows of {size[1]:,} columns)"
    target = f" to predict {', '.join(map(visible, targets))}" if targets else ""
    if time is not None:
        long = f"in {visible(time)} at most"
    elif rows is not None and rows <= _SMALL:
        long = "usually up to 4 minutes on two cores"
    else:
        long = "minutes to hours, by rows and media"
    return (
        f"plan: reading {visible(path.name)}{what}, then training networks and simple models{target}, then a report: "
        f"{long}; the plan follows, and an estimate after the first steps"
    )


def _size(path: Path) -> tuple[int, int] | None:
    """About how many rows and columns a delimited file has; None where it can't be read, which is said later."""
    try:
        total = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_READ)
    except OSError:
        return None
    lines = head.split(b"\n")
    header = lines[0].decode("utf-8", errors="replace")
    columns = 1 + max(header.count(separator) for separator in _SEPARATORS[path.suffix.lower()])
    if total > len(head) and len(lines) > 2:  # the rest as the rows that were seen whole
        seen = len(head) - len(lines[-1])
        return max(0, round(total / seen * (len(lines) - 1)) - 1), columns
    return sum(1 for line in lines[1:] if line.strip()), columns
