"""Names of the columns of a table of predictions: none is lost, whatever the targets are called.

A target's prediction stands under the name of its column in the training table, so that the two can be compared. All
else that is told of a row (probabilities, scores, which inputs are missing) has a name that is made here and may meet a
target's: a target `label_probability` beside a target `label`, or a target called `missing`. The one rule: what the
training table named keeps its name, and a made name that is taken gets "_" at its end until it is free. Where two
sources have one name (a prediction, and the kept column with the truth), it is the first one's. It depends on the
targets and the kept columns alone, never on rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

__all__ = ["free_name", "output_columns"]

V = TypeVar("V")


def free_name(name: str, taken: Collection[str]) -> str:
    """A name, with as many "_" at its end as it takes to be none of those taken."""
    while name in taken:
        name += "_"
    return name


def output_columns(parts: Sequence[tuple[Collection[str], Mapping[str, V]]]) -> dict[str, V]:
    """Columns from several sources as those of one table, in order.

    Args:
        parts: Of each source which names are the table's, and its columns; a name that several have is the first's.
    """
    owners: dict[str, int] = {}
    for index, (own, columns) in enumerate(parts):
        for name in columns:
            if name in own:
                owners.setdefault(name, index)
    result: dict[str, V] = {}
    for index, (_, columns) in enumerate(parts):
        for name, values in columns.items():
            # A name that is not made yet is taken as well: two sources may both be free to have it.
            result[name if owners.get(name) == index else free_name(name, owners.keys() | result.keys())] = values
    return result
