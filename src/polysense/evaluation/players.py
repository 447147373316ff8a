"""Players: columns that are judged one by one, and groups of others that are judged together.

A column's verdict needs predictions without it and from it alone. Of 150 columns that is some 900 subsets, which takes
longer than a short training. Where that is so, columns are grouped, and a group is one player in the game whose value
is shared (a priori unions; Owen, "Values of Games with A Priori Unions", 1977): its drop, its value alone and its
Shapley value are its columns' together, and nothing is said of any of them by itself.

Which columns stay on their own is searched for: all others begin as one group, and the group whose removal moves the
predictions most is halved until there is no time for more. Columns that say the same are first put beside each other,
so that one of them is not judged while the other stands in for it from another group. The rows of the search are not
those that players are judged on: whoever is chosen by what it does on some rows looks better on them than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Player", "as_players", "halves", "ordered_by_likeness", "partition"]


@dataclass(frozen=True, kw_only=True)
class Player:
    """A column, or several that are judged together.

    Attributes:
        name: The column's; of several "x1 + 14 more", after the first of them.
        columns: Their names, in the table's order.
    """

    name: str
    columns: tuple[str, ...]

    @property
    def is_group(self) -> bool:
        """Whether it is several columns."""
        return len(self.columns) > 1


def as_players(groups: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[Player, ...]:
    """The groups as players, by their first columns in the table's order.

    Args:
        groups: Every column in one of them.
        names: All columns, in the table's order.
    """
    order = {name: i for i, name in enumerate(names)}
    players, taken = list[Player](), set(names)
    for group in sorted((sorted(group, key=order.__getitem__) for group in groups), key=lambda each: order[each[0]]):
        name = group[0]
        if len(group) > 1:
            name = f"{group[0]} + {len(group) - 1:,} more"
            while name in taken:  # a column may bear that name
                name += " columns"
        taken.add(name)
        players.append(Player(name=name, columns=tuple(group)))
    return tuple(players)


def ordered_by_likeness(likeness: Float[np.ndarray, "columns columns"]) -> list[int]:
    """The columns in an order in which those that are alike are near each other: leaves of average linkage.

    Args:
        likeness: From 0 to 1, symmetric.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(likeness) < 3:
        return list(range(len(likeness)))
    distances = np.clip(1 - likeness, 0, 1)
    np.fill_diagonal(distances, 0)
    ordered: list[int] = leaves_list(linkage(squareform(distances, checks=False), "average")).tolist()
    return ordered


def halves(group: Sequence[int], likeness: Float[np.ndarray, "columns columns"]) -> tuple[list[int], list[int]]:
    """A group of two columns or more, cut where its neighbors are least alike, a quarter from its ends at least.

    Args:
        group: Columns, in an order that `ordered_by_likeness` gives.
        likeness: Of all columns.
    """
    size = len(group)
    least = max(1, size // 4)
    cuts = range(least, size - least + 1)
    # Of equals the one that is nearest the middle.
    cut = min(cuts, key=lambda i: (likeness[group[i - 1], group[i]], abs(i - size / 2)))
    return list(group[:cut]), list(group[cut:])


def partition(
    groups: Sequence[Sequence[int]],
    effects: Callable[[Sequence[Sequence[int]]], Sequence[float]],
    likeness: Float[np.ndarray, "columns columns"],
    *,
    num_splits: int,
    most: int,
    at_once: int = 4,
) -> list[list[int]]:
    """Splits the groups whose removal matters most, and joins what matters least.

    Args:
        groups: To begin with; each in an order of likeness.
        effects: How much the predictions move while each of some groups is removed, 0 or more.
        likeness: Of all columns.
        num_splits: That there is time for, two effects each.
        most: Groups in the end, 2 or more: where there are more, those of the least effects are one.
        at_once: Groups that are split in a round, whose halves are measured together.

    Returns:
        The groups, those of the largest effects first.
    """
    assert most > 1, f"most {most}: nothing can be told apart in one group"
    known = list(zip([list(group) for group in groups], effects(groups), strict=True))
    while num_splits > 0:
        # The largest effects; of equals, as where nothing is known, the largest groups.
        known.sort(key=lambda entry: (-entry[1], -len(entry[0])))
        chosen = [entry for entry in known if len(entry[0]) > 1][: min(at_once, num_splits)]
        if not chosen:
            break
        num_splits -= len(chosen)
        split = [half for group, _ in chosen for half in halves(group, likeness)]
        known = [entry for entry in known if entry not in chosen] + list(zip(split, effects(split), strict=True))
    known.sort(key=lambda entry: (-entry[1], -len(entry[0])))
    kept = [group for group, _ in known]
    if len(kept) <= most:
        return kept
    return [*kept[: most - 1], [column for group in kept[most - 1 :] for column in group]]
