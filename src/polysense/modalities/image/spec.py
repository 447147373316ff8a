"""The image modality: raster files, as uint8 pixels of one size for the column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysense.core.backbones import Backbone, Backbones
from polysense.core.corruption import Corruption
from polysense.core.descriptor import Descriptor
from polysense.core.display import CellDisplay
from polysense.core.file_spec import FileSpec
from polysense.core.likeness import Likeness
from polysense.core.modality_spec import (
    FittedColumn,
    MakeParts,
    ModelSize,
    Preview,
    parts,
)
from polysense.core.preview import even_positions
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.data.media.raster import EXTENSIONS, decode_image, is_signature
from polysense.errors import DecodeError
from polysense.modalities.image.corruptions import CORRUPTIONS
from polysense.modalities.image.describe import DESCRIPTORS
from polysense.modalities.image.display import display_images
from polysense.modalities.image.likeness import LIKENESS
from polysense.modalities.image.parts import image_parts
from polysense.modalities.image.preview import thumbnail
from polysense.modalities.image.record import ImageColumn

__all__ = ["SPEC", "ImageSpec"]

_TOKENS = 64  # that an image counts as in a budget
_SMALLEST_PHOTO = 96  # pixels: below, a mirrored image is as likely a letter, a digit or a symbol
_NUM_LOOKED_AT = 8
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_BACKBONES = (
    Backbone(
        name="timm/resnet50.a1_in1k", license="Apache-2.0", parameters=25.6, megabytes=102,
        purpose="photographs", speed="108 ms an image",
    ),
    Backbone(
        name="facebook/dinov2-small", license="Apache-2.0", parameters=22.1, megabytes=88,
        purpose="images of any kind; trained without labels, good for parts and textures",
    ),
    Backbone(
        name="timm/vit_small_patch16_224.augreg_in21k_ft_in1k", license="Apache-2.0", parameters=22.1, megabytes=88,
        purpose="photographs of many classes", speed="104 ms an image",
    ),
    Backbone(
        name="timm/mobilenetv3_large_100.ra_in1k", license="Apache-2.0", parameters=5.5, megabytes=22,
        purpose="photographs where time is scarce", speed="13 ms an image",
    ),
    Backbone(
        name="timm/mobilenetv2_100.ra_in1k", license="Apache-2.0", parameters=3.5, megabytes=14,
        purpose="photographs where time is scarce", speed="30 ms an image",
    ),
    Backbone(
        name="timm/resnet18.a1_in1k", license="Apache-2.0", parameters=11.7, megabytes=47,
        purpose="photographs", speed="45 ms an image",
    ),
    Backbone(
        name="timm/convnext_tiny.fb_in22k_ft_in1k", license="Apache-2.0", parameters=28.6, megabytes=114,
        purpose="photographs of many classes", speed="125 ms an image",
    ),
    Backbone(
        name="microsoft/resnet-18", license="Apache-2.0", parameters=11.7, megabytes=47, purpose="photographs"
    ),
    Backbone(
        name="microsoft/resnet-50", license="Apache-2.0", parameters=25.6, megabytes=102, purpose="photographs"
    ),
    Backbone(
        name="google/vit-base-patch16-224-in21k", license="Apache-2.0", parameters=86.4, megabytes=346,
        purpose="photographs of many classes; slow without a GPU",
    ),
    Backbone(
        name="google/vit-base-patch16-224", license="Apache-2.0", parameters=86.6, megabytes=346,
        purpose="photographs; slow without a GPU",
    ),
    Backbone(
        name="facebook/dinov2-base", license="Apache-2.0", parameters=86.6, megabytes=346,
        purpose="images of any kind; slow without a GPU",
    ),
    Backbone(
        name="facebook/convnext-tiny-224", license="Apache-2.0", parameters=28.6, megabytes=114, purpose="photographs"
    ),
)  # fmt: skip


class ImageSpec(FileSpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "image", 20, ("an image", "images")
    record, column_type = ImageColumn, "image"
    extensions = EXTENSIONS
    is_spatial, dtype, length_multiple = True, np.uint8, None

    def recognizes(self, head: bytes) -> bool:
        return is_signature(head)

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "resnet"} | ({} if size is None else {"channels": size.channels})

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "hog"}, {"type": "color_histogram"}, {"type": "local_binary_patterns"}]

    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object]:
        # A mirrored photo shows the same thing; a mirrored digit, letter or chest does not.
        return {"type": "image", "flip": _are_photos(cells, root), "erase_probability": 0.0}

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        column = ImageColumn.of(column)
        return (column.num_channels, *column.image_size)

    def cost(self, column: Column, length: float | int) -> float:
        return float(_TOKENS * length)

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        return [1 for _ in parts(cell)]

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        images = [thumbnail(items[i], side) for i in even_positions(len(items), most)]
        note = f"{len(images)} of {len(items)} images" if len(items) > len(images) else ""
        return Preview(images=images, note=note)

    def display(self, cell: object, root: Path) -> CellDisplay:
        return display_images(cell, root)

    def preview_reconstruction(self, column: Column, value: np.ndarray) -> Preview:
        return Preview(images=[thumbnail(_as_pixels(value * 255))])

    def summary(self, column: Column) -> Mapping[str, str]:
        column = ImageColumn.of(column)
        height, width = column.image_size
        facts = {"size": f"{width} x {height} pixels", "channels": "gray" if column.num_channels == 1 else "RGB"}
        for limits, what in ((column.whole_range, "values"), (column.float_range, "values of floats")):
            if limits is not None:
                facts[f"{what} from black to white"] = f"{limits[0]:,g} to {limits[1]:,g}"
        return facts

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    @property
    def aligner(self) -> Unsupported:
        return Unsupported("what lies in an image is a region, not a segment")

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        return DESCRIPTORS

    @property
    def likeness(self) -> Likeness:
        return LIKENESS

    @property
    def cell_parts(self) -> MakeParts:
        return image_parts

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.image.decoder.PixelDecoder"

    def backbones(self, cells: Sequence[object]) -> Backbones:
        return Backbones(known=_BACKBONES, kind="image", files=_PROCESSORS, encoders=("timm", "pretrained"))

    @property
    def pretrained(self) -> str:
        return "polysense.modalities.image.encoders.pretrained.PretrainedImage"

    @property
    def onnx(self) -> str:
        return "polysense.modalities.image.encoders.onnx.OnnxImage"


def _are_photos(cells: Sequence[object], root: Path) -> bool:
    """Whether images look like photographs: in color, and large enough to be more than a symbol."""
    known = [cell for cell in cells if isinstance(cell, (str, bytes, dict))]
    votes: list[bool] = []
    for cell in known[:: max(len(known) // _NUM_LOOKED_AT, 1)][:_NUM_LOOKED_AT]:
        try:
            pixels = decode_image(cell, root)
        except DecodeError:
            continue
        channels, height, width = pixels.shape
        votes.append(channels == 3 and min(height, width) >= _SMALLEST_PHOTO and bool(np.ptp(pixels, axis=0).max() > 8))
    return 2 * sum(votes) > len(votes)


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


SPEC = ImageSpec()
