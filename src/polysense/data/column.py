"""ColumnConfig and ColumnProcessor, the bases of every input column's preprocessing.

A processor is fitted once, on the training split, saved in the bundle, and is the same object in training, evaluation
and serving. What every modality shares is here: absence, lists of items, the sample that statistics come from. A
member only says how one item becomes an array (`_item`), what it learns (`_fit`) and what it keeps beside its config
and its Column (`_state`, `_restore`). What it learns from is in `data.training_cells`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np

from polysense.config.base import Family
from polysense.config.codec import from_dict, to_dict
from polysense.config.limits import PositiveInt
from polysense.core.checksum import folder_checksums
from polysense.core.geometry import Placement
from polysense.core.logs import get_logger
from polysense.core.modality_spec import FittedColumn
from polysense.core.record import read_record
from polysense.core.registry import modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column, Requirements
from polysense.core.stored import Cut, DecodedCell
from polysense.data.cleaning import CellCleaner
from polysense.data.features import CellFeatures, FeatureConfig
from polysense.data.media.time_limit import within_limit
from polysense.data.store.prepared import PreparedColumn
from polysense.data.training_cells import (
    NUM_FOR_FEATURES,
    NUM_SAMPLED,
    TIMES_TYPICAL,
    PresentCells,
    TrainingCells,
    cut_warning,
    length_limit,
    sampled,
)
from polysense.data.values.notation import Notation, NotationEvidence
from polysense.errors import BundleError, ColumnError, DecodeError

__all__ = [
    "NUM_SAMPLED", "ColumnConfig", "ColumnProcessor", "Item", "PlacedItem", "TrainingCells", "length_limit", "sampled",
]  # fmt: skip

_NUM_MEDIA = 200  # cells that the scale of features is taken from where they are files, which are slow to read
# Facts that say nothing of how a cell is read.
_NAMES = ("name", "column", "source", "num_features", "typical_length", "max_items")
_FEWEST_ITEMS = 32  # of a list, that are always read

_log = get_logger("polysense.data.columns")


class PlacedItem(NamedTuple):
    """An item, and where its values lie in the original."""

    values: np.ndarray
    placement: Placement


Item: TypeAlias = np.ndarray | PlacedItem
"""What one value of a cell becomes."""


@dataclass(frozen=True, kw_only=True)
class ColumnConfig(Family, ABC, family="column", homes=("modalities.*.column",)):
    """How the cells of one input column are read and prepared.

    Attributes:
        column: The table's column, if its name differs from this one: one column can be read in two ways, as a video's
            frames and its sound track.
        max_items: Items of a list that are read, the first ones; auto is 4 times as many as 95% of the training lists
            have, and 32 at least, so that one long list can't fill the memory. null reads all.
    """

    modality: ClassVar[str]  # its columns' modality

    column: str | None = None
    max_items: PositiveInt | Literal["auto"] | None = "auto"

    def source(self, name: str) -> str:
        """The table's column that the input column of that name is read from."""
        return name if self.column is None else self.column

    @abstractmethod
    def build(self, name: str) -> ColumnProcessor:
        """The preprocessing of the column of that name, not yet fitted."""

    def notation(self, cells: Sequence[object]) -> Notation:
        """How cells write numbers, of a column whose cells are numbers (`ModalitySpec.is_numeric`)."""
        return NotationEvidence.of(cells).notation


class ColumnProcessor(FittedColumn):
    """The preprocessing of one input column.

    Attributes:
        name: The input column's name; in the table too, unless the config names another column.
        config: How it was asked for.
        warnings: What of the training cells may be read otherwise than it was meant, or loses its meaning. Not saved.
        most_items: Items of a list that are read; None: all.
        features: The feature vectors that are made of its cells; None: there are none.
        cleaner: What its cells are changed by before they are read.
        num_truncated: Items and lists cut so far (in this process; those cut while fitting are not counted).
        prepared: Cells that were decoded before; None: all are decoded. Not saved.
    """

    packages: ClassVar[tuple[str, ...]] = ()  # of other people, whose version may change what a file is decoded to

    def __init__(self, name: str, config: ColumnConfig) -> None:
        self.name = name
        self.config = config
        self.warnings: tuple[str, ...] = ()
        self.num_truncated = 0
        self.most_items: int | None = None
        self.features: CellFeatures | None = None
        self.cleaner = CellCleaner()
        self.prepared: PreparedColumn | None = None
        self._column: Column | None = None
        self._cuts: list[Cut] = []

    @property
    def is_fitted(self) -> bool:
        """Whether `column` is known."""
        return self._column is not None

    @property
    def column(self) -> Column:
        """What the encoder needs to know; complete once fitted."""
        assert self._column is not None, f"column {self.name!r} is not fitted"
        return self._column

    def fit(
        self, cells: Sequence[object], sources: Sequence[SourceInfo], root: Path, requirements: Requirements
    ) -> Column:
        """Learns from the training split.

        Args:
            cells: The training rows' cells, None where missing.
            sources: Where each comes from.
            root: The folder that relative paths start from.
            requirements: What a pretrained encoder asks of this column.

        Raises:
            ColumnError: The column is empty, nothing in it can be read, or the encoder's requirements contradict the
                config.
        """
        self.prepared, self.warnings, self.num_truncated = None, (), 0
        cells = self.cleaner.fitted(cells)
        if self.joins_lists:
            cells = [self._joined(cell) if isinstance(cell, list) else cell for cell in cells]
        present, sizes = array("q"), array("q", [1])  # a list takes 40 bytes for each
        for i, cell in enumerate(cells):  # once: cells may be files
            if cell is not None:
                present.append(i)
                sizes.append(len(cell) if isinstance(cell, list) else 1)
        limit = self.config.max_items
        self.most_items = length_limit(sizes, _FEWEST_ITEMS) if limit == "auto" else limit
        max_items = max(sizes) if self.most_items is None else min(max(sizes), self.most_items)
        if not present:
            where = sources[0].table if len(sources) else "the training split"
            raise ColumnError(
                f"{where}, column {self.name!r}: all {len(cells)} training cells are missing; leave this column out"
            )
        fitted = self._fit(TrainingCells(cells, sources, present, self.most_items), root, requirements)
        self.num_truncated, self._cuts = 0, []
        self.warnings = (*self.warnings, *cut_warning(sizes[1:], self.most_items, "max_items", "items"))
        for warning in self.warnings:
            _log.warning("column %r: %s", self.name, warning)
        max_items *= fitted.max_items
        self._column = dataclasses.replace(
            fitted, source=self.config.column or "", multiple=max_items > 1, max_items=max_items
        )
        return self._column

    def fit_features(
        self,
        configs: Sequence[FeatureConfig],
        cells: Sequence[object],
        sources: Sequence[SourceInfo],
        root: Path,
        *,
        most_cells: int = NUM_FOR_FEATURES,
    ) -> None:
        """Learns how feature vectors are made of the cells; what is learned before from the same configs stays.

        Args:
            configs: What they consist of; none: there are none.
            cells: As in `fit`.
            sources: As in `fit`.
            root: As in `fit`.
            most_cells: Cells that they are learned from, at most.

        Raises:
            ConfigError: One of them can't be made of such a column.
            ColumnError: No cell that was tried can be read.
        """
        if self.features is None or self.features.configs != tuple(configs):
            self.features = None
            if configs:
                present = array("q", (i for i, cell in enumerate(cells) if cell is not None))
                limit = min(most_cells, _NUM_MEDIA) if self.is_media else most_cells
                examples = []
                for i in sampled(present, limit):
                    with contextlib.suppress(DecodeError):  # it is listed when its row is read
                        examples.append((self._read(cells[i]), self.transform(cells[i], sources[i], root)))
                self.num_truncated = 0
                features = CellFeatures(configs, self.column)
                features.fit(PresentCells(cells, present, self._read, most_cells), examples)
                self.features = features
        num_features = 0 if self.features is None else self.features.num_features
        self._column = dataclasses.replace(self.column, num_features=num_features)

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """The feature vector of a cell, float32 [features].

        Args:
            cell: As the table has it.
            items: What `transform` made of it, at least one.
        """
        assert self.features is not None, f"column {self.name!r} has no features"
        return self.features.extract(self._read(cell), items)

    def _read(self, cell: object) -> object:
        """The part of a cell that is read: a list as one item where it is one, and no longer than it may be."""
        cell = self.cleaner.cell(cell)
        if isinstance(cell, list):
            cell = self._joined(cell) if self.joins_lists else cell
        return cell[: self.most_items] if isinstance(cell, list) else cell

    def transform(self, cell: object, source: SourceInfo, root: Path) -> list[np.ndarray]:
        """Prepares one cell.

        Args:
            cell: As the table has it, None if missing; a list holds several items.
            source: Where it comes from.
            root: The folder that relative paths start from.

        Returns:
            The items, see core.sample.Sample for their types; empty if the cell is absent.

        Raises:
            DecodeError: The cell, or one item of its list, can't be read; the message says why, not where.
        """
        return self.placed(cell, source, root)[0]

    def placed(self, cell: object, source: SourceInfo, root: Path) -> tuple[list[np.ndarray], Placement | None]:
        """As `transform`, with where the items lie in the original; None where they have no places there, or where each
        lies in a way of its own, as images of different sizes do."""
        decoded = None if self.prepared is None or cell is None else self.prepared.read(cell, root)
        if decoded is None:
            decoded = self.decoded(cell, source, root)
        for cut in decoded.cuts:
            self._report_cut(source, cut)
        return [self.finished(item) for item in decoded.items], decoded.placement

    def decoded(self, cell: object, source: SourceInfo, root: Path) -> DecodedCell:
        """A cell as far as it may be stored: what `placed` finishes. Arguments and errors as of `transform`."""
        self._cuts = []
        if self.is_media:
            items = within_limit(lambda: self._parts(cell, source, root), cell)
        else:
            items = self._parts(cell, source, root)
        placements = [item.placement for item in items if isinstance(item, PlacedItem)]
        alike = bool(placements) and all(placement.same(placements[0]) for placement in placements[1:])
        values = tuple(item.values if isinstance(item, PlacedItem) else item for item in items)
        return DecodedCell(values, placements[0] if alike else None, tuple(self._cuts))

    def finished(self, item: np.ndarray) -> np.ndarray:
        """An item of `decoded` as the model takes it: the cheap rest, which may depend on what was learned.

        By default nothing is left to do. It never fails, and needs no file.
        """
        return item

    def _parts(self, cell: object, source: SourceInfo, root: Path) -> Sequence[Item]:
        cell = self.cleaner.cell(cell)
        if self.joins_lists and isinstance(cell, list):
            cell = self._joined(cell)
        if cell is None:
            return []
        if not isinstance(cell, list):
            return self._items(cell, source, root)
        items: list[Item] = []
        if self.most_items is not None and len(cell) > self.most_items:
            self._cut(f"max_items={self.most_items}", self.config.max_items == "auto")
        for position, part in enumerate(cell[: self.most_items]):
            if part is None:
                continue
            try:
                items += self._items(part, source, root)
            except DecodeError as error:
                raise DecodeError(f"item {position} of {len(cell)}: {error}") from None
        if len(items) > 1 and not self.column.multiple:
            raise DecodeError(
                f"holds {len(items)} items; each cell of the training rows held one, so the model has no position for "
                f"more: give one, or train on rows that hold several"
            )
        return items

    def _cut(self, limit: str, is_auto: bool) -> None:
        """Remembers that an item or list is cut, and to what; a cell that is stored says so too whenever it is read."""
        self._cuts.append(Cut(limit, is_auto))

    def _report_cut(self, source: SourceInfo, cut: Cut) -> None:
        """Says of the first item or list that is cut where it is and what it is cut to, and counts them all."""
        self.num_truncated += 1
        if self.num_truncated == 1:
            setting = f"data.columns.{self.name}.{cut.limit.partition('=')[0]}"
            typical = f"{TIMES_TYPICAL} times what 95% of the training cells have"
            more = f" ({typical}; {setting} sets it)" if cut.is_auto else ""
            _log.warning("%s: cut to %s%s; further cuts are counted only", source, cut.limit, more)

    def _items(self, value: Any, source: SourceInfo, root: Path) -> Sequence[Item]:
        result = self._item(value, source, root)
        if isinstance(result, np.ndarray | PlacedItem):
            return [result]
        return () if result is None else result

    def taken_over(self, name: str, column: str | None) -> ColumnProcessor:
        """The same fitted preprocessing for an input column of another model, whose encoder came along with it.

        Args:
            name: The input column there.
            column: The table's column that it is read from, where it has another name.
        """
        other = copy.copy(self)
        other.name, other.config = name, dataclasses.replace(self.config, column=column)
        other._column = dataclasses.replace(self.column, name=name, source=column or "")
        return other

    def save(self, folder: Path) -> dict[str, Any]:
        """Everything needed to rebuild it: plain values for JSON, larger things as files in `folder`."""
        return {
            "config": to_dict(self.config),
            "column": to_dict(self.column),
            "most_items": self.most_items,
            # Not a file for each column: bringing thousands of them to the disk takes longer than all else.
            "features": None if self.features is None else self.features.plain(),
            "cleaning": self.cleaner.plain(),
            **self._state(folder),
        }

    def facts(self) -> dict[str, Any]:
        """All that decides which items a cell becomes, for JSON: the same for two columns that read cells alike,
        whatever they are called."""
        with tempfile.TemporaryDirectory() as folder:
            state = self._state(Path(folder))
            files = folder_checksums(Path(folder))
        return {
            "config": {key: value for key, value in to_dict(self.config).items() if key not in _NAMES},
            "column": {key: value for key, value in to_dict(self.column).items() if key not in _NAMES},
            "most_items": self.most_items,
            "cleaning": self.cleaner.plain(),
            "state": state,
            "files": files,
        }

    def decoding_facts(self) -> dict[str, Any]:
        """The facts that decide what `decoded` gives; a subclass leaves out what only `finished` reads."""
        return self.facts()

    @staticmethod
    def load(state: Mapping[str, Any], folder: Path) -> ColumnProcessor:
        """Rebuilds what `save` wrote.

        Raises:
            BundleError: The state or its files are broken.
        """
        try:
            column = _record(state["column"])
            if column.max_items > 1 and not column.multiple:
                raise ValueError(f"max_items: found {column.max_items:,}, expected 1 where a cell holds one item")
            processor = from_dict(ColumnConfig, state["config"], where="the saved column").build(column.name)  # type: ignore[type-abstract]
            processor._column, processor.most_items = column, state["most_items"]
            processor.cleaner = CellCleaner.restored(state["cleaning"])
            processor._restore(state, folder)
            if state["features"] is not None:
                processor.features = CellFeatures.restored(state["features"], column)
        except Exception as error:
            raise BundleError(
                f"{folder}: the saved preprocessing of a column can't be read: {type(error).__name__}: {error}"
            ) from error
        return processor

    @property
    def source(self) -> str:
        """The table's column that its cells stand in."""
        return self.config.source(self.name)

    @property
    def is_media(self) -> bool:
        """Whether cells refer to files."""
        return modality(self.config.modality).is_file

    @property
    def why_unwritten(self) -> str | None:
        """Why no cell can be made of what a model reconstructs; None if one can."""
        return "its cells hold several items" if self.column.multiple else self._why_unwritten

    def restore(self, value: np.ndarray, *, spelled: bool = True) -> object:
        """What a model reconstructed, as a cell in the table's own terms.

        Args:
            value: Of one row, see `TaskSpec.reconstructions`.
            spelled: As the training table spelled it, for a column of texts; else as a plain value.

        Returns:
            Text, a number or an image's PNG file. None where there is nothing to write: a number
            that is not finite, a text without a word.
        """
        assert self.why_unwritten is None, f"column {self.name!r}: {self.why_unwritten}"
        return self._cell_of(value, spelled)

    def shift(self, items: Sequence[np.ndarray]) -> str | None:
        """How items of another table lie outside what was fitted, for a warning; None if they do not.

        Args:
            items: Some of the other table's, as `transform` gives them.
        """
        return None

    def is_missing(self, cell: object) -> bool:
        """Whether a cell is read as missing; where a modality knows words for that, those are."""
        return cell is None

    def unfamiliar(self, cells: Iterable[object]) -> str | None:
        """What of another table's cells can be read and still means little to a model that was fitted on others.

        Args:
            cells: All of the other table's, None where missing.

        Returns:
            For a warning, with counts: "all 120 cells hold categories that training did not know (0, 1)". None if there
            is nothing to say.
        """
        return None

    def conflict(self, cells: Sequence[object]) -> str | None:
        """Why cells of another table can't be read as the training cells were ("its decimal mark is ..."), or None."""
        return None

    @property
    def joins_lists(self) -> bool:
        """Whether a cell that is a list is one item and not several."""
        return False

    ending: ClassVar[str] = ""  # of the files that `restore` makes

    @property
    def _why_unwritten(self) -> str | None:
        """Why no cell can be made of a reconstruction, beside that there are several in one; None if one can."""
        return None

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        """The cell that a reconstruction is; see `restore`."""
        raise AssertionError(f"column {self.name!r} is not written")

    def _joined(self, cell: list[Any]) -> object:
        """The one item that a list is."""
        raise AssertionError(f"column {self.name!r} joins no lists")

    @abstractmethod
    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> Column:
        """Learns; gives the record, of which `fit` adds where the cells stand and how many items one holds. `max_items`
        is how many items one value of a cell becomes at most."""

    @abstractmethod
    def _item(self, value: Any, source: SourceInfo, root: Path) -> Item | Sequence[Item] | None:
        """One item as an array, placed where it is an image; None if there is nothing in it, a list if it is several.

        Raises DecodeError.
        """

    def _state(self, folder: Path) -> dict[str, Any]:
        """What has been learned and has no place in the record, such as a tokenizer's file."""
        return {}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        """Takes back what `_state` gave."""


def _record(plain: Mapping[str, Any]) -> Column:
    """A column's record, of the class of its modality; records may hold others."""
    within = {key: _record(value) for key, value in plain.items() if isinstance(value, dict) and "modality" in value}
    return read_record(modality(plain["modality"]).record, {**plain, **within})
