"""An image as a person judges it: whole, upright and in color, as a JPEG that every browser draws."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from polysense.core.display import CellDisplay, DisplayFile, DisplayMedia
from polysense.core.modality_spec import parts
from polysense.core.preview import as_jpeg
from polysense.data.media.raster import shown_image

__all__ = ["display_images"]

_LONGEST = 1600  # pixels of the longer side


def display_images(cell: object, root: Path) -> CellDisplay:
    """Every image of a cell; see `ModalitySpec.display`."""
    return CellDisplay(media=[DisplayMedia(element="img", read=partial(_read, part, root)) for part in parts(cell)])


def _read(part: object, root: Path) -> DisplayFile:
    # Encoded anew: a file that only claims to be an image never reaches the browser.
    pixels, _ = shown_image(part, root, longest=_LONGEST)
    return DisplayFile(media_type="image/jpeg", data=as_jpeg(pixels))
