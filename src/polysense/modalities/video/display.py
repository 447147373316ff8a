"""A video as a person watches it: the file itself where browsers play its container, with frames to fall back on."""

from __future__ import annotations

from pathlib import Path

from polysense.core.display import CellDisplay, DisplayFile, DisplayMedia
from polysense.core.modality_spec import parts
from polysense.core.preview import as_jpeg, side_by_side
from polysense.data.media.media import locate
from polysense.data.media.raster import is_signature as is_raster
from polysense.modalities.video.decode import decode_video

__all__ = ["display_videos"]

_HEAD = 16
_FRAMES = 6
_FRAME_SIDE = 320  # pixels
_ANIMATED = ((b"GIF8", "image/gif"), (b"RIFF", "image/webp"), (b"\x89PNG", "image/png"))


def display_videos(cell: object, root: Path) -> CellDisplay:
    """Every video of a cell; see `ModalitySpec.display`."""
    return CellDisplay(media=[_display(part, root) for part in parts(cell)])


def _display(part: object, root: Path) -> DisplayMedia:
    media = locate(part, root, "video")
    head = media.read(_HEAD)
    frames = DisplayMedia(element="img", read=lambda: _frames(part, root))
    if is_raster(head):
        media_type = next((name for start, name in _ANIMATED if head.startswith(start)), None)
    elif head[4:8] == b"ftyp":
        media_type = "video/mp4"
    else:
        media_type = "video/webm" if head.startswith(b"\x1aE\xdf\xa3") else None
    if media_type is None:
        return frames

    def read() -> DisplayFile:
        path = media.path if media.is_whole_file else None
        return DisplayFile(media_type=media_type, path=path, data=None if path else media.read())

    # A browser may play the container and not the codec within; it then asks for the frames.
    return DisplayMedia(element="img" if is_raster(head) else "video", read=read, fallback=frames.read)


def _frames(part: object, root: Path) -> DisplayFile:
    frames = decode_video(part, root, num_frames=_FRAMES, size_hint=(_FRAME_SIDE, _FRAME_SIDE))
    return DisplayFile(media_type="image/jpeg", data=as_jpeg(side_by_side([frame.pixels for frame in frames])))
