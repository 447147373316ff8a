"""Cleaning: named changes of cells before they are read, each asked for, fitted on training cells and counted.

Nothing is cleaned unless `data.cleaning` says so, since what looks like dirt may be what a column is about (capitals in
a complaint, silence before an answer). A cleaning sees one value at a time, an item of a list or a cell, so what a cell
becomes depends on the cell and on what was learned from training cells alone; with the state it is part of the bundle.
How many training cells each one changed, and one of them before and after, stand in the report.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from polysense.config.base import Configured, Family
from polysense.config.codec import from_dict, to_dict
from polysense.core.spelling import shortened
from polysense.errors import ConfigError

__all__ = ["NUM_COUNTED", "CellCleaner", "Cleaning", "CleaningConfig", "MediaCleaning"]

NUM_COUNTED = 100
"""Training cells whose files are decoded to count what is changed."""

_SHOWN = 60  # characters of an example


@dataclass(frozen=True, kw_only=True)
class CleaningConfig(Family, ABC, family="cleaning", homes=("modalities.*.cleaning",)):
    """A change of cells before they are read."""

    modalities: ClassVar[frozenset[str]] = frozenset()
    """Whose cells it changes."""

    cleans_targets: ClassVar[bool] = False
    """Whether it can change a target's cells too."""

    is_proposed: ClassVar[bool] = False
    """Whether a check proposes it, with its default settings, where it would change cells: what it changes is hardly
    ever what a column is about."""

    moves: ClassVar[bool] = False
    """Whether what it leaves lies at other places, so that no target can lie in the column."""

    @classmethod
    def reads(cls) -> frozenset[str]:
        """The modalities whose cells it takes."""
        return cls.modalities

    def check(self, name: str, kind: str | None) -> None:
        """Checks that it can clean a column.

        Args:
            name: The input's or the target's.
            kind: The input's modality; None of a target.

        Raises:
            ConfigError: It can't.
        """
        if kind is None and not self.cleans_targets:
            raise ConfigError(f"data.cleaning.{name}: {self.type!r} can't clean a target; leave it out")
        if kind is not None and kind not in self.reads():
            raise ConfigError(
                f"data.cleaning.{name}: {self.type!r} cleans {', '.join(sorted(self.reads()))}; column {name!r} is "
                f"{kind}. Take another cleaning for it, or leave it out"
            )

    def create(self) -> Cleaning:
        """The cleaning, not yet fitted.

        Raises:
            DependencyError: A package that it needs is not installed.
        """
        if self.builds is None:
            raise ConfigError(f"the cleaning {self.type!r} can't be made: no class names its config")
        made: Cleaning = self.builds(self)
        return made


class Cleaning(Configured, ABC):
    """Changes values of cells.

    Args:
        config: The settings.
    """

    def __init__(self, config: CleaningConfig) -> None:
        del config

    def fit(self, values: Iterable[object]) -> None:
        """Learns from the training cells' values, lists unfolded; by default nothing."""

    @abstractmethod
    def clean(self, value: object) -> object:
        """A value as it should have been; the same object where nothing is to be changed, None where nothing is left.

        Args:
            value: Of a table, not missing.
        """

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values for JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""


class MediaCleaning(Cleaning):
    """Changes what a file holds, once it is decoded; its values are what its modality decodes files to."""


class CellCleaner:
    """The cleanings of one column, one after the other.

    Attributes:
        configs: The cleanings, in order.
        num_cells: Training cells that they were fitted on.
        changed: Of each cleaning, how many of them it changed.
        examples: Of each, one before and after.
    """

    def __init__(self, configs: Sequence[CleaningConfig] = ()) -> None:
        self.configs = tuple(configs)
        self._cleanings = [config.create() for config in configs]
        self._of_values = [i for i, each in enumerate(self._cleanings) if not isinstance(each, MediaCleaning)]
        self._of_media = [i for i, each in enumerate(self._cleanings) if isinstance(each, MediaCleaning)]
        self._is_restored = False
        self.num_cells = 0
        self.changed = [0] * len(configs)
        self.examples: list[tuple[str, str] | None] = [None] * len(configs)

    def __bool__(self) -> bool:
        return bool(self.configs)

    def fitted(self, cells: Sequence[object]) -> Sequence[object]:
        """Learns from the training cells, counts what changes, and gives the cleaned cells; what was restored learns
        nothing any more."""
        if not self._of_values:
            return cells
        if self._is_restored:
            return [self.cell(cell) for cell in cells]
        self.num_cells = sum(cell is not None for cell in cells)
        for i in self._of_values:
            cleaning = self._cleanings[i]
            cleaning.fit(_values(cells))
            cleaned = [_cleaned(cleaning, cell) for cell in cells]
            pairs = [(a, b) for a, b in zip(cells, cleaned, strict=True) if a is not b and a != b]
            self.changed[i] = len(pairs)
            if pairs:
                self.examples[i] = (shortened(pairs[0][0], _SHOWN), shortened(pairs[0][1], _SHOWN))
            cells = cleaned
        return cells

    def cell(self, cell: object) -> object:
        """A cell as it is read, None if nothing is left."""
        for i in self._of_values:
            cell = _cleaned(self._cleanings[i], cell)
        return cell

    def media(self, decoded: Any) -> Any:
        """What a file holds, as it is read; of the modality's own kind."""
        for i in self._of_media:
            decoded = self._cleanings[i].clean(decoded)
        return decoded

    def count_media(self, decoded: Callable[[], Iterable[Any]]) -> None:
        """Counts what changes in some of the training cells' files, decoded only if there is what cleans them."""
        for value in decoded() if self._of_media else ():
            self.num_cells += 1
            for i in self._of_media:
                cleaned = self._cleanings[i].clean(value)
                self.changed[i] += cleaned is not value
                value = cleaned

    def remarks(self) -> list[str]:
        """What each cleaning did to the training cells, in a sentence."""
        results = []
        for config, changed, example in zip(self.configs, self.changed, self.examples, strict=True):
            tried = " tried" if self._of_media else ""
            shown = "" if example is None else f", such as {example[0]} to {example[1]}"
            results.append(
                f"cleaning {config.type} changed {changed:,} of {self.num_cells:,} training cells{tried}{shown}"
            )
        return results

    def plain(self) -> list[dict[str, Any]]:
        """The cleanings with what they learned, as plain values."""
        return [
            {"config": to_dict(config), "state": cleaning.state()}
            for config, cleaning in zip(self.configs, self._cleanings, strict=True)
        ]

    @staticmethod
    def restored(plain: Sequence[Mapping[str, Any]]) -> CellCleaner:
        """Rebuilds what `plain` gave."""
        configs: list[CleaningConfig] = [
            from_dict(CleaningConfig, each["config"], where="the saved cleaning") for each in plain
        ]
        cleaner = CellCleaner(configs)
        for cleaning, each in zip(cleaner._cleanings, plain, strict=True):
            cleaning.restore(each["state"])
        cleaner._is_restored = True
        return cleaner


def _values(cells: Iterable[object]) -> Iterator[object]:
    for cell in cells:
        yield from (item for item in (cell if isinstance(cell, list) else [cell]) if item is not None)


def _cleaned(cleaning: Cleaning, cell: object) -> object:
    if cell is None:
        return None
    if not isinstance(cell, list):
        return cleaning.clean(cell)
    items = [None if item is None else cleaning.clean(item) for item in cell]
    return None if all(item is None for item in items) else items
