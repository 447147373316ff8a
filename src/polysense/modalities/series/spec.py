"""The series modality: measurements in time, as float32 [steps, channels], NaN where not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysense.core.backbones import Backbones
from polysense.core.corruption import Corruption
from polysense.core.descriptor import Descriptor
from polysense.core.display import CellDisplay, DisplayFile, DisplayMedia
from polysense.core.file_spec import FileSpec, file_identity
from polysense.core.likeness import Likeness
from polysense.core.modality_spec import (
    Claim,
    FittedColumn,
    MakeParts,
    ModelSize,
    Preview,
    Profile,
)
from polysense.core.preview import as_jpeg
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.errors import DecodeError
from polysense.modalities.series.column import SeriesProcessor
from polysense.modalities.series.corruptions import CORRUPTIONS
from polysense.modalities.series.decode import SUFFIXES, is_numeric_list, read_series
from polysense.modalities.series.describe import DESCRIPTORS
from polysense.modalities.series.likeness import LIKENESS
from polysense.modalities.series.parts import series_parts
from polysense.modalities.series.record import LENGTH_MULTIPLE, SeriesColumn
from polysense.modalities.series.sparkline import sparkline

__all__ = ["SPEC", "SeriesSpec"]

_MAJORITY = 0.9  # of the cells; the others will be missing
_LEAST_STEPS = 4  # shorter lists of numbers are more often coordinates or ratings
_STEPS_PER_TOKEN = 8
_DISPLAYED = (960, 240)  # width and height in pixels


class SeriesSpec(FileSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "series", 45, ("a time series", "time series")
    record, column_type = SeriesColumn, "series"
    extensions = frozenset(suffix.removeprefix(".") for suffix in SUFFIXES)
    dtype, length_multiple = np.float32, LENGTH_MULTIPLE

    def claim(self, profile: Profile) -> Claim | None:
        numeric = [cell for cell in profile.cells if is_numeric_list(cell)]
        if len(numeric) < _MAJORITY * len(profile.cells) or not numeric:
            return self._claim_series_files(profile)
        steps = sorted(len(cell[0]) if isinstance(cell[0], (list, tuple)) else len(cell) for cell in numeric)  # type: ignore[index,arg-type]
        channels = {len(cell) if isinstance(cell[0], (list, tuple)) else 1 for cell in numeric}  # type: ignore[index,arg-type]
        if steps[len(steps) // 2] < _LEAST_STEPS or len(channels) > 1:
            return None
        count = channels.pop()
        return Claim(
            confidence=Claim.SURE,
            evidence=f"lists of {steps[0]:,} to {steps[-1]:,} numbers"
            + (f" in {count} channels" if count > 1 else "")
            + f", in {profile.num_present:,} of {profile.num_rows:,} rows",
        )

    def _claim_series_files(self, profile: Profile) -> Claim | None:
        """Files whose names end like those of series, if the first can be read as one."""
        claim = self.claim_files(profile)
        if claim is None:
            return None
        for item in profile.items[:20]:
            try:
                read_series(item, profile.root)
            except DecodeError:
                continue
            return claim
        return None

    def recognizes(self, head: bytes) -> bool:
        return head.startswith(b"\x93NUMPY")

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "series_cnn"} | ({} if size is None else {"channels": max(size.channels, 16)})

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "series_statistics"}, {"type": "series_spectrum"}, {"type": "autocorrelation"}]

    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object]:
        return {"type": "series"}

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return length, SeriesColumn.of(column).num_channels

    def cost(self, column: Column, length: int | float) -> float:
        return length / _STEPS_PER_TOKEN

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        return [len(item) for item in fitted.transform(cell, source, root)]

    def longest(self, fitted: FittedColumn) -> int | None:
        assert isinstance(fitted, SeriesProcessor)
        return fitted.max_steps

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        column = SeriesColumn.of(column)
        chosen = items[:most]
        rate = column.steps_per_second
        lengths = [
            f"{len(item):,} {'step' if len(item) == 1 else 'steps'}" + (f", {len(item) / rate:.3g} s" if rate else "")
            for item in chosen
        ]
        more = f", and {len(items) - len(chosen)} more" if len(items) > len(chosen) else ""
        return Preview(
            images=[sparkline(item, 2 * side, side // 2) for item in chosen],
            note="; ".join(lengths) + more,
            stretches=True,
        )

    def display(self, cell: object, root: Path) -> CellDisplay:
        series = read_series(cell, root)

        def drawn() -> DisplayFile:
            image = sparkline(series.values, *_DISPLAYED)
            return DisplayFile(media_type="image/jpeg", data=as_jpeg(image))

        steps = len(series.values)
        rate = series.steps_per_second
        note = f"{steps:,} steps" + (f", {steps / rate:.3g} s" if rate else "")
        channels = f"; {', '.join(series.channels[:7])}" if series.channels else ""
        return CellDisplay(media=[DisplayMedia(element="img", read=drawn)], note=note + channels)

    def summary(self, column: Column) -> Mapping[str, str]:
        column = SeriesColumn.of(column)
        facts = {
            "channels": ", ".join(column.channels),
            "length of a long series": f"{column.typical_length:,} steps",
        }
        if column.steps_per_second is not None:
            facts["sampling rate"] = f"{column.steps_per_second:.3g} a second"
        return facts

    def identity(self, cell: object) -> str:
        return repr(cell) if isinstance(cell, (list, tuple)) else file_identity(cell)

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    @property
    def aligner(self) -> Unsupported:
        return Unsupported("segments of series are not read yet")

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        return DESCRIPTORS

    @property
    def likeness(self) -> Likeness:
        return LIKENESS

    @property
    def cell_parts(self) -> MakeParts:
        return series_parts

    def decoder(self, column: Column) -> Unsupported:
        return Unsupported("series of any length and rate are encoded, and not made from a code")

    def backbones(self, cells: Sequence[object]) -> Backbones | Unsupported:
        return Unsupported("there is no pretrained backbone for series of any channels")

    @property
    def pretrained(self) -> Unsupported:
        return Unsupported("there is no pretrained backbone for series of any channels")

    @property
    def onnx(self) -> Unsupported:
        return Unsupported("networks in ONNX format of series are not run yet")


SPEC = SeriesSpec()
