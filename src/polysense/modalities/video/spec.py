"""The video modality: frames, each of which is an item of the image modality."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysense.core.backbones import Backbones
from polysense.core.corruption import Corruption
from polysense.core.descriptor import Descriptor
from polysense.core.display import CellDisplay
from polysense.core.file_spec import Content, FileSpec
from polysense.core.likeness import Likeness
from polysense.core.modality_spec import (
    Claim,
    FittedColumn,
    MakeParts,
    ModalitySpec,
    ModelSize,
    Preview,
    Profile,
    parts,
)
from polysense.core.registry import modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.data.media.media import locate
from polysense.data.media.raster import is_animation
from polysense.errors import DecodeError
from polysense.modalities.video.column import FRAMES, VideoProcessor
from polysense.modalities.video.decode import (
    EXTENSIONS,
    has_only_sound,
    is_signature,
    is_transport_stream,
    num_requested,
    video_info,
)
from polysense.modalities.video.describe import motion
from polysense.modalities.video.display import display_videos
from polysense.modalities.video.parts import parts_of_frames
from polysense.modalities.video.record import VideoColumn

__all__ = ["SPEC", "VideoSpec"]

_NUM_LOOKED_AT = 20
_FRAMES_COMPARED = 4


class VideoSpec(FileSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "video", 40, ("a video", "videos")
    record, column_type = VideoColumn, "video"
    extensions = EXTENSIONS
    is_spatial, dtype, length_multiple = True, np.uint8, None

    def claim(self, profile: Profile) -> Claim | None:
        shares = profile.file_shares
        how = f"{FRAMES} frames of each (frames)"
        if shares.get(self.name, 0.0) > 0:
            # An image among videos is a video of one frame.
            return self.claim_files(profile, besides=(self.item_modality,), how=how)
        if shares.get(self.item_modality, 0.0) > 0 and self._move(profile):
            return self.claim_files(profile, besides=(self.item_modality,), how=f"moving images, {how}")
        return None

    def _move(self, profile: Profile) -> bool:
        """Whether most images are moving ones, of 20 looked at; only formats that are made for it."""
        items = profile.items
        able = [item for item in items if _can_move(item)]
        looked_at = able[:_NUM_LOOKED_AT]
        moving = sum(is_animation(item, profile.root) for item in looked_at)
        return 2 * len(able) > len(items) and 2 * moving > len(looked_at)

    def recognizes(self, head: bytes) -> bool:
        return is_signature(head)

    def content(self, item: object, root: Path) -> Content:
        if _may_be_program(item):
            try:
                is_video = is_transport_stream(locate(item, root, self.name).read(400))
            except DecodeError:
                is_video = False
            if not is_video:
                return Content(None)
        if has_only_sound(item, root):
            return Content("audio", "they hold sound and no images")
        return Content(self.name)

    @property
    def _frame(self) -> ModalitySpec:
        return modality(self.item_modality)

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return self._frame.default_encoder(size)

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [*self._frame.default_features(num_rows), {"type": "motion_energy"}, {"type": "film_strip"}]

    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object] | None:
        # The frames of a video move together, or what moves in them is lost in what doesn't.
        frame = self._frame.default_augmentation((), root)
        return None if frame is None else {**frame, "together": True}

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return self._frame.item_shape(self.item_column(column), length)

    def padding(self, column: Column) -> int:
        return self._frame.padding(self.item_column(column))

    def cost(self, column: Column, length: float | int) -> float:
        return self._frame.cost(self.item_column(column), length)

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        assert isinstance(fitted, VideoProcessor)
        config = fitted.config
        if not fitted.column.multiple:
            return [1 for _ in parts(cell)]
        if config.frames_per_second is None:
            return [1 for _ in parts(cell) for _ in range(config.num_frames)]
        numbers = []
        for part in parts(cell):
            _, num_there, seconds = video_info(part, root, max_pixels=config.max_pixels)
            numbers.append(min(num_there, num_requested(seconds, config.num_frames, config.frames_per_second)))
        return [1 for number in numbers for _ in range(number)]

    def item_column(self, column: Column) -> Column:
        column = VideoColumn.of(column)
        return dataclasses.replace(
            column.frame,
            name=column.name,
            source=column.source,
            multiple=column.multiple,
            max_items=column.max_items,
            num_features=column.num_features,
        )

    @property
    def item_modality(self) -> str:
        return "image"

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        return self._frame.preview(self.item_column(column), cell, items, most=most, side=side, playable=playable)

    def display(self, cell: object, root: Path) -> CellDisplay:
        return display_videos(cell, root)

    def preview_reconstruction(self, column: Column, value: np.ndarray) -> Preview | None:
        return self._frame.preview_reconstruction(self.item_column(column), value)

    def summary(self, column: Column) -> Mapping[str, str]:
        return {"frames": str(column.max_items), **self._frame.summary(self.item_column(column))}

    @property
    def corruptions(self) -> Sequence[Corruption] | Unsupported:
        known = self._frame.corruptions
        return known if isinstance(known, Unsupported) else [self._of_frames(each) for each in known]

    def _of_frames(self, corruption: Corruption) -> Corruption:
        """Every frame damaged as its image would be."""
        of_item = corruption.of_item
        assert of_item is not None, f"{corruption.name} damages files, and frames are none"
        return Corruption(
            name=corruption.name,
            of_item=lambda column, item, severity, draws: of_item(self.item_column(column), item, severity, draws),
        )

    @property
    def aligner(self) -> Unsupported:
        return Unsupported("segments of videos are not read yet")

    @property
    def descriptors(self) -> Sequence[Descriptor] | Unsupported:
        frame = self._frame.descriptors
        return (motion,) if isinstance(frame, Unsupported) else (*frame, motion)

    @property
    def likeness(self) -> Likeness | Unsupported:
        frame = self._frame.likeness
        if isinstance(frame, Unsupported):
            return frame
        return dataclasses.replace(
            frame, signature=lambda column, cell, items: self._frames_signature(frame, column, cell, items)
        )

    def _frames_signature(
        self, frame: Likeness, column: Column, cell: object, items: Sequence[np.ndarray]
    ) -> np.ndarray | None:
        """Those of four frames that are spread over the video, one after another."""
        one = self.item_column(column)
        chosen = [items[i * (len(items) - 1) // (_FRAMES_COMPARED - 1)] for i in range(_FRAMES_COMPARED)]
        signatures = [signature for item in chosen if (signature := frame.signature(one, cell, [item])) is not None]
        return np.concatenate(signatures) if len(signatures) == _FRAMES_COMPARED else None

    @property
    def cell_parts(self) -> MakeParts | Unsupported:
        make = self._frame.cell_parts
        return make if isinstance(make, Unsupported) else parts_of_frames(make)

    def decoder(self, column: Column) -> str | Unsupported:
        return self._frame.decoder(self.item_column(column))

    def backbones(self, cells: Sequence[object]) -> Backbones | Unsupported:
        return self._frame.backbones(())

    @property
    def pretrained(self) -> str | Unsupported:
        return self._frame.pretrained

    @property
    def onnx(self) -> str | Unsupported:
        return self._frame.onnx


def _can_move(item: object) -> bool:
    if isinstance(item, dict):
        item = item.get("bytes") or item.get("path")
    if isinstance(item, bytes):
        return item[:4] == b"GIF8" or item[8:12] == b"WEBP"
    return isinstance(item, str) and item.strip().lower().endswith((".gif", ".webp", ".apng"))


def _may_be_program(item: object) -> bool:
    """Whether a path ends as those of MPEG-TS do, and of programs (TypeScript) and translations (Qt) too."""
    if isinstance(item, dict):
        item = None if item.get("bytes") else item.get("path")
    return isinstance(item, str) and item.strip().lower().endswith(".ts")


SPEC = VideoSpec()
