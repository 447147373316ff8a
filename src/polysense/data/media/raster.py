"""Raster files as uint8 arrays: any common file format in, gray or RGB out, whole or not at all.

Pillow decodes, restricted to the formats below: its full list runs Ghostscript on a PostScript file, unpacks a gzip
bomb in a FITS file, and has stubs that read nothing. A JPEG that is much larger than needed is decoded at a fraction of
its size (`draft`, 2-4 times faster). The number of pixels is checked in the header, before anything is allocated.

What a picture becomes: upright (EXIF orientation applied); more than 8 bits per channel scaled to 8, not cut (by the
column's range, see `deep_pixels`); transparency composited on white; CMYK, palette and YCbCr as RGB; gray stays one
channel; of an animation or a multi-page TIFF the first frame.

Pillow's warnings (a large picture, a damaged EXIF block) say nothing that the caller can act on here, and under
`-W error` would turn a readable picture into an unreadable one. They are switched off for Pillow's own modules at the
first decode; scoped `catch_warnings` would cost other libraries their once-per-place rule at each decoded cell.
"""

from __future__ import annotations

import functools
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from polysense.data.media.colors import as_gray_or_rgb, channels_last, colors, from_array, from_deep
from polysense.data.media.deep_pixels import DEEP_MODES, DeepRange, Extent, deep_array, extent_of
from polysense.data.media.media import Media, Stream, describe_bytes, locate, reason, too_many_pixels
from polysense.errors import DecodeError

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "ImageInfo",
    "Upright",
    "decode_image",
    "image_info",
    "image_size",
    "is_animation",
    "is_signature",
    "open_animation",
    "open_upright",
    "shown_image",
]

EXTENSIONS = frozenset(
    {"png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "tif", "tiff", "bmp", "ppm", "pgm", "pbm", "pnm",
     "tga", "icb", "vda", "vst", "jp2", "j2k", "jpx", "jpf", "j2c", "jpc", "avif", "heic", "heif", "ico", "icns", "cur",
     "apng", "pcx", "dcx", "dds", "dib", "mpo", "psd", "sgi", "ras", "xbm", "xpm", "qoi"}
)  # fmt: skip


MAX_PIXELS = 100_000_000
"""Default limit: 100 megapixels are 300 MB as RGB; the largest cameras have about 150."""

_SIGNATURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51", b"\0\0\1\0", b"\0\0\2\0", b"icns", b"DDS ", b"8BPS", b"qoif", b"\x59\xa6\x6a\x95",
    b"\x01\xda\0\1", b"\x01\xda\1\1", b"\x0a\2\1", b"\x0a\3\1", b"\x0a\5\1", b"/* XPM */",
)  # fmt: skip
_PNM = re.compile(rb"P[1-7fFy][\s#]")
_FORMATS = (
    "PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO", "CUR", "ICNS", "PCX", "DCX",
    "DDS", "DIB", "PSD", "SGI", "SUN", "QOI", "XBM", "XPM",
)  # fmt: skip
_COMMON = "PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF, JPEG 2000, PPM, TGA, ICO, PCX and others that Pillow reads"
_TGA = frozenset({".tga", ".icb", ".vda", ".vst"})  # a format without a signature: taken for it only by name or footer
_TGA_FOOTER = b"TRUEVISION-XFILE."
# Read by loops in Python, of some microseconds a pixel.
_SLOW, _SLOW_PIXELS = frozenset({"QOI", "DDS", "XPM"}), 2**24
_NESTED = frozenset(
    {"ICO", "CUR", "ICNS"}
)  # they hold a picture of another format, whose size is known once it is read
_READ_WHOLE = 64 * 2**20  # bytes: below, one read is faster than Pillow's many small ones (0.076 against 0.108 ms)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_EXIF_KEYS = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})
# All that Pillow's plugins were seen to raise on damaged input (its own list for `open` is the second line).
_PILLOW_ERRORS = (
    OSError, ValueError, EOFError, MemoryError, OverflowError, zlib.error,
    SyntaxError, IndexError, TypeError, KeyError, struct.error,
    AttributeError, ZeroDivisionError, RuntimeError, AssertionError,
)  # fmt: skip


def is_signature(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes) is a raster image."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:11] in (b"avi", b"hei", b"mif")
    return head.startswith(_SIGNATURES) or _PNM.match(head) is not None


def decode_image(cell: object, root: Path) -> np.ndarray:
    """Decodes one image by itself, see `open_upright`.

    Returns:
        uint8 [channels, height, width]; 1 channel if the file is gray, else 3.
    """
    pixels = np.array(open_upright(cell, root).image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def shown_image(cell: object, root: Path, *, longest: int = 2048) -> tuple[np.ndarray, tuple[float, float]]:
    """An image for people to look at: in color, and no larger than a screen shows.

    Args:
        cell: As in `open_upright`; of a list the first.
        root: The folder that relative paths start from.
        longest: Pixels that its longer side has at most.

    Returns:
        uint8 [height, width, 3], and what x and y of the original are multiplied by.

    Raises:
        DecodeError: It can't be read.
    """
    cell = cell[0] if isinstance(cell, (list, tuple)) and cell else cell
    upright = open_upright(cell, root, size_hint=(longest, longest))
    height, width = upright.size
    factor = min(1.0, longest / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = upright.image.convert("RGB")
    if image.size != size or upright.box != (0, 0, *image.size):
        image = image.resize(size, box=upright.box)
    return np.array(image), (size[0] / width, size[1] / height)


class Upright(NamedTuple):
    """A loaded image, which may be a reduced copy of the original.

    Attributes:
        image: Of mode "L" or "RGB".
        size: (height, width) of the original, upright.
        box: (left, top, right, bottom) of the original within the image: a reduced JPEG ends in a fraction of a pixel.
    """

    image: Image.Image
    size: tuple[int, int]
    box: tuple[float, float, float, float]


def open_upright(
    cell: object,
    root: Path,
    *,
    size_hint: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    deep: DeepRange | None = None,
) -> Upright:
    """Decodes one image, for resizing.

    Args:
        cell: A path (str or Path), bytes, {"bytes": ..., "path": ...}, a PIL image, or an array: uint8, uint16 or bool,
            or float in [0, 1], of shape [height, width], [height, width, 1 | 3 | 4] or [1 | 3 | 4, height, width].
        root: The folder that relative paths start from.
        size_hint: (height, width) that is enough; a larger JPEG may be decoded at a half, a quarter or an eighth of
            its size, never below the hint.
        max_pixels: A larger image is refused from its header.
        deep: Which values are black and white in images of more than 8 bits; None takes each by itself.

    Raises:
        DecodeError: The image can't be read, wholly.
    """
    if isinstance(cell, np.ndarray):
        return _whole(from_array(cell, max_pixels, deep))
    if isinstance(cell, Image.Image):
        _check_size(cell, max_pixels)
        with _pillow():
            return _whole(_finish(cell, None, max_pixels, deep))
    with _file(cell, root) as (file, media), _pillow():
        image = _open(file, media, max_pixels)
        if size_hint is None or image.format not in ("JPEG", "MPO"):
            return _whole(_finish(image, file, max_pixels, deep))
        orientation, (width, height) = _orientation(image), image.size
        drafted = image.draft(None, size_hint if orientation >= 5 else size_hint[::-1])
        wide, high = (width, height) if drafted is None else drafted[1][2:]
        image = _finish(image, None, max_pixels, deep)
        if orientation >= 5:
            width, height, wide, high = height, width, high, wide
        # A reduced image's last pixels are fractions, and lie where its right and lower end were before it was turned.
        left = image.width - wide if orientation in (2, 3, 6, 7) else 0.0
        top = image.height - high if orientation in (3, 4, 7, 8) else 0.0
        return Upright(image, (height, width), (left, top, float(left + wide), float(top + high)))


def _whole(image: Image.Image) -> Upright:
    return Upright(image, (image.height, image.width), (0.0, 0.0, float(image.width), float(image.height)))


class ImageInfo(NamedTuple):
    """What a column's size and range are fitted on.

    Attributes:
        size: (height, width), upright.
        extent: The colors of an image of more than 8 bits a channel; None of any other, which is not decoded.
    """

    size: tuple[int, int]
    extent: Extent | None


def image_info(cell: object, root: Path, *, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """The size and the extent of an image, which is opened once.

    Raises:
        DecodeError: It can't be read.
    """
    if isinstance(cell, np.ndarray):
        values = channels_last(cell, max_pixels)
        height, width = values.shape[:2]
        return ImageInfo((height, width), extent_of(colors(values)) if values.dtype == np.uint16 else None)
    if isinstance(cell, Image.Image):
        return ImageInfo((cell.height, cell.width), extent_of(np.asarray(cell)) if cell.mode in DEEP_MODES else None)
    with _file(cell, root) as (file, media), _pillow():
        image = _open(file, media, max_pixels)
        deep = deep_array(image, file)  # first: reading the orientation may load the image, which drops what it needs
        size = _size(image, max_pixels)
        if deep is not None:
            return ImageInfo(size, extent_of(colors(deep)))
        if image.mode not in DEEP_MODES:
            return ImageInfo(size, None)
        _load(image, max_pixels)
        return ImageInfo(size, extent_of(np.asarray(image)))


def image_size(cell: object, root: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of the upright image, from the header alone.

    Raises:
        DecodeError: The header can't be read.
    """
    if isinstance(cell, np.ndarray):
        height, width = channels_last(cell, max_pixels).shape[:2]
        return height, width
    if isinstance(cell, Image.Image):
        return cell.height, cell.width
    with _file(cell, root) as (file, media), _pillow():
        return _size(_open(file, media, max_pixels), max_pixels)


def _size(image: Image.Image, max_pixels: int) -> tuple[int, int]:
    """(height, width), upright."""
    if image.format in _NESTED:
        _load(image, max_pixels)
    width, height = image.size
    turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow has turned a TIFF's size already
    return (width, height) if turned else (height, width)


def is_animation(cell: object, root: Path) -> bool:
    """Whether a picture moves (GIF, WebP, PNG); False for what can't be read."""
    try:
        with _file(cell, root) as (file, media), _pillow():
            return _num_images(_open(file, media, MAX_PIXELS)) > 1
    except DecodeError:
        return False


def open_animation(
    media: Media, choose: Callable[[int, float], Sequence[int]], *, max_pixels: int = MAX_PIXELS
) -> list[tuple[float, Image.Image]]:
    """Some pictures of a moving picture, whole ones, with their times in seconds.

    Args:
        media: The file; a picture that stands still has one.
        choose: From their number and the length in seconds (as far as the first one's time on the screen tells) to the
            positions of those that are wanted, ascending.
        max_pixels: Larger pictures are refused.

    Raises:
        DecodeError: It can't be read up to the last one that is wanted.
    """
    results = []
    with BytesIO(media.read()) as file, _pillow():
        image = _open(file, media, max_pixels)
        num, time = _num_images(image), 0.0
        if num > 1:
            image.load()  # WebP and PNG tell a picture's time only once it is decoded
        requested = set(choose(num, num * _frame_seconds(image) if num > 1 else 0.0))
        for position in range(max(requested) + 1):
            if num > 1:
                image.seek(position)
                _check_size(image, max_pixels)
            if position in requested:
                results.append((time, _finish(image.copy() if num > 1 else image, None, max_pixels, None)))
            elif num > 1:
                image.load()
            time += _frame_seconds(image)
    return results


def _num_images(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1)) if image.format in ("GIF", "WEBP", "PNG") else 1


def _frame_seconds(image: Image.Image) -> float:
    """How long the picture that was reached is shown; a tenth of a second where it does not say, as browsers do."""
    duration = image.info.get("duration")
    return float(duration) / 1000 if isinstance(duration, (int, float)) and duration > 0 else 0.1


@contextmanager
def _pillow() -> Iterator[None]:
    """Pillow at work: silent, whole images only, and what it raises becomes a DecodeError."""
    if not warnings.filters or getattr(warnings.filters[0][3], "pattern", None) != r"PIL\.":
        warnings.filterwarnings("ignore", module=r"PIL\.")
    half = ImageFile.LOAD_TRUNCATED_IMAGES
    if half:  # another library asked Pillow for half images; not here
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    except DecodeError:
        raise
    except _PILLOW_ERRORS as error:
        raise DecodeError(_explain(error)) from None
    finally:
        if half:
            ImageFile.LOAD_TRUNCATED_IMAGES = half


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow knows."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def _file(cell: object, root: Path) -> Iterator[tuple[Stream, Media]]:
    media = locate(cell, root, "image")
    with media.open() if media.num_bytes > _READ_WHOLE else BytesIO(media.read()) as file:
        yield file, media


def _open(file: Stream, media: Media, max_pixels: int) -> Image.Image:
    # Pillow raises at twice its own limit (179 megapixels); who asked for more than that meant it.
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    image: Image.Image
    try:
        image = Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        image = _open_tga(file, media, max_pixels)
    except Image.DecompressionBombError as error:
        raise _bomb(error, max_pixels) from None
    _check_size(image, max_pixels)
    if image.format in _SLOW:
        _check_size(image, _SLOW_PIXELS)
    return image


def _bomb(error: Exception, max_pixels: int) -> DecodeError:
    match = re.search(r"\d+(?= pixels\))", str(error))
    return DecodeError(too_many_pixels(f"{int(match[0]):,}" if match else "too many", max_pixels))


def _open_tga(file: Stream, media: Media, max_pixels: int) -> Image.Image:
    """A picture of the one format that has no signature, where there is a reason to think so."""
    file.seek(max(0, media.num_bytes - 18))
    has_footer = file.read(18).startswith(_TGA_FOOTER)
    file.seek(0)
    if has_footer or media.suffix in _TGA or media.path is None:
        try:
            return Image.open(file, formats=("TGA",))
        except UnidentifiedImageError:
            pass
        except Image.DecompressionBombError as error:
            raise _bomb(error, max_pixels) from None
    file.seek(0)
    content = describe_bytes(file.read(512)) or "is not an image, or its header is damaged"
    raise DecodeError(f"{content}; expected one of {_COMMON}") from None


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise DecodeError(too_many_pixels(f"{width:,} x {height:,}", max_pixels))
    if not width or not height:
        raise DecodeError(f"has {width} x {height} pixels")


def _explain(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    if "truncated" in str(error) or isinstance(error, EOFError):
        return f"the image is cut short: {reason(error) if str(error) else 'the file ends early'}"
    return f"the image is damaged: {reason(error)}"


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) where there is none or it can't be read."""
    if image.format != "TIFF" and _EXIF_KEYS.isdisjoint(image.info):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _PILLOW_ERRORS:
        return 1  # a damaged EXIF block does not make the picture unreadable
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _load(image: Image.Image, max_pixels: int) -> None:
    """Loads the pixels; an icon may turn out to hold a larger picture than its header says."""
    limit = Image.MAX_IMAGE_PIXELS
    if image.format in _NESTED:
        Image.MAX_IMAGE_PIXELS = max(1, max_pixels // 2)  # Pillow raises at twice as many
    try:
        image.load()
    except Image.DecompressionBombError:
        raise DecodeError(too_many_pixels("too many", max_pixels)) from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if image.format in _NESTED:
        _check_size(image, max_pixels)


def _finish(image: Image.Image, file: Stream | None, max_pixels: int, deep: DeepRange | None) -> Image.Image:
    """Loads the pixels; 8 bits, gray or RGB, opaque, upright."""
    values = None if file is None else deep_array(image, file)
    if values is None:
        _load(image, max_pixels)
    # After loading: a PNG's EXIF may follow its pixels, and Pillow itself turns a TIFF upright (and then says so).
    orientation = _orientation(image)
    image = as_gray_or_rgb(image, deep) if values is None else from_deep(values, deep)
    return image.transpose(_UPRIGHT[orientation]) if orientation > 1 else image
