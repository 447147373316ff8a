"""Every format and color mode comes out right or not at all, and never as anything but a DecodeError."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from polysense.data.media.deep_pixels import DeepRange, Extent
from polysense.data.media.raster import decode_image, image_info, image_size, open_upright
from polysense.errors import DecodeError

ROOT = Path("/")


def photo(height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth color picture with no symmetry, so that a flip or a turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x * y) % 97 + 60], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(cell: object, **options: Any) -> np.ndarray:
    """As `decode_image`, with options."""
    pixels = np.array(open_upright(cell, ROOT, **options).image)
    return pixels[None] if pixels.ndim == 2 else planes(pixels)


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("BMP", {})],
)
def test_lossless_formats_keep_every_pixel(kind: str, options: dict[str, object]) -> None:
    data = encoded(Image.fromarray(photo()), kind, **options)
    found = decode_image(data, ROOT)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert np.array_equal(found, planes(photo()))
    assert image_size(data, ROOT) == (24, 32)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "JPEG2000"])
def test_lossy_formats_come_close(kind: str) -> None:
    found = decode_image(encoded(Image.fromarray(photo()), kind, quality=95), ROOT)
    assert np.abs(found.astype(int) - planes(photo())).mean() < 6


@pytest.mark.parametrize("form", ["path", "relative", "Path", "bytes", "dict of bytes", "dict of path", "PIL", "array"])
def test_every_kind_of_cell_gives_the_same_pixels(form: str, tmp_path: Path) -> None:
    data = encoded(Image.fromarray(photo()), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    cell = {
        "path": str(tmp_path / "a.png"),
        "relative": "a.png",
        "Path": Path("a.png"),
        "bytes": data,
        "dict of bytes": {"bytes": data, "path": "gone.png"},
        "dict of path": {"bytes": None, "path": "a.png"},
        "PIL": Image.fromarray(photo()),
        "array": photo(),
    }[form]
    assert np.array_equal(decode_image(cell, tmp_path), planes(photo()))
    assert image_size(cell, tmp_path) == (24, 32)


def test_gray_stays_one_channel_and_one_bit_becomes_black_and_white() -> None:
    gray = photo()[..., 0]
    assert np.array_equal(decode_image(encoded(Image.fromarray(gray), "PNG"), ROOT), gray[None])
    bits = gray > 100
    assert np.array_equal(decode_image(encoded(Image.fromarray(bits), "PNG"), ROOT)[0], np.where(bits, 255, 0))


def test_16_bits_are_scaled_not_cut() -> None:
    gray = photo()[..., 0]
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode_image(encoded(deep, kind), ROOT)[0], gray)
    assert np.array_equal(decode_image(gray.astype(np.uint16) * 257, ROOT)[0], gray)


@pytest.mark.parametrize("kind", ["TGA", "ICO", "ICNS", "PCX", "DDS", "PPM", "SGI", "QOI", "DIB", "MPO"])
def test_other_formats_of_pillow_are_read(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(photo(64, 64))
    (tmp_path / f"a.{kind.lower()}").write_bytes(encoded(image, kind))
    for cell in (f"a.{kind.lower()}", encoded(image, kind)):
        found = decode_image(cell, tmp_path)
        assert found.shape[0] == 3
        assert image_size(cell, tmp_path) == found.shape[1:]
        small = np.array(Image.fromarray(found.transpose(1, 2, 0)).resize((64, 64)))
        assert np.abs(small.astype(int) - photo(64, 64)).mean() < 10


def test_a_text_is_no_tga() -> None:
    for content in (b"\0" * 4096, b"hello", bytes(range(256))):
        with pytest.raises(DecodeError):
            decode_image(content, ROOT)


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF 32", "array"])
def test_a_sensor_of_fewer_bits_is_not_nearly_black(bits: int, kind: str) -> None:
    white = 2**bits - 1
    ramp = np.linspace(0, white, 256).astype(np.uint16)[None].repeat(8, axis=0)
    deep = Image.fromarray(ramp.astype(np.int32) if kind == "TIFF 32" else ramp)
    cell = ramp if kind == "array" else encoded(deep, kind.split()[0])
    found = decode_image(cell, ROOT)
    assert len(np.unique(found)) >= 250
    assert (found.min(), found.max()) == (0, 255)
    assert image_info(cell, ROOT).extent == Extent(0.0, float(white), True)
    column = decoded(cell, deep=DeepRange(whole=(0.0, 65535.0)))
    assert column.max() == round(white / 257)


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """Pillow writes none with colors: [height, width, channels] of uint16."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("kind", "channels"), [("png", 2), ("png", 3), ("png", 4), ("array", 3), ("array", 4)])
def test_colors_of_16_bits_keep_their_lower_half(kind: str, channels: int) -> None:
    pixels = np.linspace(0, 4095, 16 * 16 * channels).astype(np.uint16).reshape(16, 16, channels)
    if channels % 2 == 0:
        pixels[..., -1] = 65535
    colors = pixels[..., : channels - 1 + channels % 2]
    for cell in (png_of_16_bits(pixels),) if kind == "png" else (pixels, planes(pixels)):
        for found in (decode_image(cell, ROOT), decoded(cell, deep=DeepRange(whole=(0.0, 4095.0)))):
            assert np.abs(found - planes(colors / 4095 * 255)).max() <= 1
        assert image_info(cell, ROOT) == ((16, 16), Extent(0.0, float(colors.max()), True))


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_alpha_of_an_array_is_counted_like_its_colors_or_like_its_container(opaque: int) -> None:
    pixels = np.full((8, 8, 4), 4095, dtype=np.uint16)
    pixels[..., :3] = 2000
    pixels[..., 3] = opaque
    pixels[0, 0] = (4095, 0, 0, opaque // 2)
    found = decode_image(pixels, ROOT)
    assert np.abs(found[:, 1, 1].astype(int) - round(2000 / 4095 * 255)).max() <= 1
    assert np.abs(found[:, 0, 0].astype(int) - [255, 128, 128]).max() <= 1


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, (0, 1)), (0, 200, (0, 255)), (-1000, 3000, (-1000, 3000))]
)
def test_floats_are_scaled_by_their_range(low: float, high: float, expected: tuple[float, float]) -> None:
    ramp = np.linspace(low, high, 256, dtype=np.float32)[None].repeat(4, axis=0)
    data = encoded(Image.fromarray(ramp), "TIFF")
    black, white = expected
    assert np.abs(decode_image(data, ROOT)[0] - (ramp - black) / (white - black) * 255).max() <= 0.51
    extent = image_info(data, ROOT).extent
    assert extent is not None
    assert DeepRange.of([extent]).floats == expected
    ramp[0, 0] = np.nan
    with pytest.raises(DecodeError, match="not finite"):
        decode_image(encoded(Image.fromarray(ramp), "TIFF"), ROOT)


def test_an_icon_that_holds_a_larger_picture_than_it_states_is_refused() -> None:
    inner = encoded(Image.new("L", (4000, 4000)), "PNG")
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises(DecodeError, match="more than the limit"):
        decoded(icon, max_pixels=1_000_000)


def test_transparency_is_composited_on_white() -> None:
    alpha = np.linspace(0, 255, 24 * 32).reshape(24, 32, 1)
    rgba = np.concatenate([photo(), alpha.astype(np.uint8)], axis=-1)
    expected = rgba[..., :3] * (rgba[..., 3:] / 255) + 255 * (1 - rgba[..., 3:] / 255)
    found = decode_image(encoded(Image.fromarray(rgba), "PNG"), ROOT)
    assert np.abs(found - planes(expected)).max() <= 0.51
    assert np.array_equal(decode_image(rgba, ROOT), found)

    la = Image.fromarray(rgba).convert("LA")
    assert decode_image(encoded(la, "PNG"), ROOT).shape == (1, 24, 32)


def test_transparent_palette_becomes_white() -> None:
    palette = Image.new("P", (4, 2), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 0)
    for kind in ("PNG", "GIF"):
        found = decode_image(encoded(palette, kind, transparency=1), ROOT)
        assert found[:, 0, 0].tolist() == [255, 0, 0]
        assert (found[:, 1] == 255).all()
    keyed = Image.fromarray(np.array([[[9, 9, 9], [1, 2, 3]]], dtype=np.uint8))
    assert decode_image(encoded(keyed, "PNG", transparency=(1, 2, 3)), ROOT)[:, 0].T.tolist() == [[9] * 3, [255] * 3]


def test_cmyk_and_palette_become_rgb() -> None:
    cmyk = Image.fromarray(photo()).convert("CMYK")
    found = decode_image(encoded(cmyk, "JPEG", quality=95), ROOT)
    assert np.abs(found.astype(int) - planes(photo())).mean() < 6
    palette = Image.fromarray(photo()).quantize(200)
    assert np.array_equal(decode_image(encoded(palette, "PNG"), ROOT), planes(np.asarray(palette.convert("RGB"))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    stored = photo()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(Image.fromarray(stored), kind, exif=exif, **options)
    turned = [
        stored, stored[:, ::-1], stored[::-1, ::-1], stored[::-1], stored.swapaxes(0, 1),
        np.rot90(stored, -1), stored[::-1, ::-1].swapaxes(0, 1), np.rot90(stored, 1),
    ][orientation - 1]  # fmt: skip
    found = decode_image(data, ROOT)
    assert found.shape == planes(turned).shape
    assert np.abs(found.astype(int) - planes(turned)).max() <= 4
    assert image_size(data, ROOT) == turned.shape[:2]


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = decode_image(data, ROOT).reshape(3, -1).mean(axis=1)
        assert red > 200 > 60 > blue


def test_a_jpeg_is_decoded_smaller_but_never_below_the_hint() -> None:
    large = encoded(Image.fromarray(photo(400, 600)), "JPEG", quality=95)
    assert decoded(large, size_hint=(90, 90)).shape == (3, 100, 150)
    assert decoded(large, size_hint=(101, 90)).shape == (3, 200, 300)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(photo(400, 600)), "JPEG", quality=95, exif=exif)
    assert decoded(turned, size_hint=(150, 100)).shape == (3, 150, 100)


def test_a_huge_png_is_refused_from_its_header(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10_000_000), 9)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    tracemalloc.start()
    with pytest.raises(DecodeError, match=r"has 900,000,000 pixels, more than the limit of 100,000,000; .*max_pixels"):
        decode_image("bomb.png", tmp_path)
    with pytest.raises(DecodeError, match=r"has 900,000,000 pixels, more than the limit of 100,000,000; .*max_pixels"):
        image_size("bomb.png", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    with pytest.raises(DecodeError, match=r"32 x 24 pixels, more than the limit of 700;"):
        decoded(photo(), max_pixels=700)


def test_between_pillows_own_limits_nothing_warns() -> None:
    data = encoded(Image.new("1", (10_000, 9_500)), "PNG")  # 95 megapixels: Pillow warns above 89
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert image_size(data, ROOT) == (9_500, 10_000)
    assert not caught


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    data = encoded(Image.fromarray(photo()), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0garbage")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_image(data, ROOT).shape == (3, 24, 32)
    assert not caught


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda p: p.write_text("hello, I am no picture"), r"is a text file; expected"),
        (lambda p: p.write_bytes(bytes(range(256))), r"is not an image, or its header is damaged"),
        (lambda p: p.mkdir(), r"is a directory"),
        (lambda p: os.mkfifo(p), r"is a named pipe"),
        (lambda p: None, r"no such file: .*a\.png"),
        (lambda p: p.symlink_to(p), r"can't be opened"),
        (lambda p: p.symlink_to("/dev/zero"), r"is a device"),
    ],
)
def test_what_is_no_picture_says_what_it_is(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    with pytest.raises(DecodeError, match=message):
        decode_image("a.png", tmp_path)
    with pytest.raises(DecodeError, match=message):
        image_size("a.png", tmp_path)


def test_no_permission_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(photo()), "PNG"))

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        "polysense.data.media.media.os.open", refuse
    )  # the superuser, as in a container, may read everything
    with pytest.raises(DecodeError, match=r"permission denied: .*a\.png"):
        decode_image("a.png", tmp_path)


@pytest.mark.parametrize(
    "cell", [3, 2.5, True, ["a.png"], {}, {"path": None, "bytes": None}, "a\0.png", "http://x/a.png"]
)
def test_cells_of_other_kinds_are_refused(cell: object) -> None:
    with pytest.raises(DecodeError):
        decode_image(cell, ROOT)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)), np.zeros(5), np.zeros((2, 2, 2)), np.full((2, 2), np.nan), np.full((2, 2), 7.0),
        np.full((2, 2), 300), np.full((2, 2), -1), np.array([["a"]]),
    ],
)  # fmt: skip
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DecodeError):
        decode_image(array, ROOT)


FORMATS = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "JPEG progressive": {"quality": 90, "progressive": True},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "BMP": {},
    "PPM": {},
}
WHOLE = {name: encoded(Image.fromarray(photo()), name.split()[0], **options) for name, options in FORMATS.items()}


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_cut_file_is_refused_or_whole(kind: str, share: float, half_images: bool) -> None:
    data = WHOLE[kind]
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, half_images
    try:
        found = decode_image(data[: int(share * len(data))], ROOT)
    except DecodeError:
        return
    finally:
        assert half_images == ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    assert np.array_equal(found, decode_image(data, ROOT)), "half an image"


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_raise_nothing_but_a_decode_error(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in changes:
        data[int(place**3 * len(data))] = value  # mostly the header, which has most ways to go wrong
    try:
        found = decode_image(bytes(data), ROOT)
    except DecodeError:
        return
    assert found.dtype == np.uint8
    assert found.ndim == 3
    assert found.shape[0] in (1, 3)


@given(
    st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WEBP", b"BM", b"P6"]
    ),
    st.binary(max_size=300),
)
def test_random_bytes_raise_nothing_but_a_decode_error(magic: bytes, rest: bytes) -> None:
    with contextlib.suppress(DecodeError):
        open_upright(magic + rest, ROOT)


def test_the_fixtures_decode_to_their_published_means(real_data: Callable[[str], Path]) -> None:
    root = real_data("fixtures")
    expected = json.loads((root / "decode_expected.json").read_text())["images"]
    checked = 0
    for entry in expected:
        if entry["file"].endswith("truncated.jpg"):
            with pytest.raises(DecodeError, match="cut short"):
                decode_image(entry["file"], root)
        elif "rotate6" in entry["file"]:
            assert decode_image(entry["file"], root).shape == (3, 160, 120)
        else:
            found = decode_image(entry["file"], root)
            assert found.shape[1:] == tuple(entry["size"][::-1])
            if entry["mode"] == "RGBA":  # published without its alpha; ours is composited on white
                with Image.open(root / entry["file"]) as image:
                    white = Image.new("RGBA", image.size, "white")
                    white.alpha_composite(image)
                mean = np.asarray(white.convert("RGB")).mean(axis=(0, 1))
            else:
                mean = np.array(entry["mean_rgb"])
            assert np.abs(found.mean(axis=(1, 2)) - mean).max() < 0.5
        checked += 1
    assert checked == len(expected) > 8
