"""Media files of every format, changed and cut at random, read one after another in a process of its own.

    python mutated_media.py SEED NUM_OF_EACH

It prints a line of JSON before and after each file, so that whoever waits for it knows which file it was.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl
import soundfile
from PIL import Image

from polysense.data.media.raster import decode_image, image_size
from polysense.errors import DecodeError
from polysense.modalities.audio.decode import audio_info, decode_audio
from polysense.modalities.series.decode import read_series
from polysense.modalities.video.decode import decode_video, has_only_sound, video_info
from polysense.tasks.segmentation.masks import read_mask

ROOT = Path("/")
Files = Mapping[str, bytes]
IMAGES = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "ICNS", "PCX", "DDS",
          "SGI", "QOI", "DIB", "MPO")  # fmt: skip
SOUNDS = ("WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")
VIDEOS = (("mp4", "libx264"), ("matroska", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("mpegts", "mpeg2video"),
          ("flv", "flv1"), ("mpeg", "mpeg1video"), ("asf", "wmv2"))  # fmt: skip
CLIPS = (("mp4", "aac"), ("adts", "aac"), ("webm", "libopus"), ("ogg", "libopus"))


def read_image(data: bytes) -> None:
    """As a column does: its size, then its pixels."""
    image_size(data, ROOT)
    decode_image(data, ROOT)


def read_audio(data: bytes) -> None:
    """Likewise."""
    audio_info(data, ROOT)
    decode_audio(data, ROOT, sample_rate=16_000)


def read_video(data: bytes) -> None:
    """Likewise."""
    has_only_sound(data, ROOT)
    video_info(data, ROOT)
    decode_video(data, ROOT, num_frames=4)


def _images() -> Files:
    y, x = np.mgrid[0:40, 0:48]
    color = Image.fromarray(np.stack([x * 5, y * 6, (x * y) % 251], axis=-1).astype(np.uint8))
    deep = Image.fromarray((x * 80).astype(np.uint16))
    files = {}
    for name in IMAGES:
        file = io.BytesIO()
        color.resize((16, 16) if name == "ICNS" else color.size).save(file, name)
        files[name] = file.getvalue()
    for name, image, kind, options in (
        ("moving GIF", color, "GIF", {"save_all": True, "append_images": [color.rotate(90), color]}),
        ("moving WebP", color, "WEBP", {"save_all": True, "append_images": [color.rotate(90)]}),
        ("LZW TIFF", color, "TIFF", {"compression": "tiff_lzw"}),
        ("deep PNG", deep, "PNG", {}),
        ("float TIFF", Image.fromarray((x / 7).astype(np.float32)), "TIFF", {}),
        ("palette PNG", color.convert("P"), "PNG", {"transparency": 3}),
    ):
        file = io.BytesIO()
        image.save(file, kind, **options)
        files[name] = file.getvalue()
    return files


def _sounds() -> Files:
    tone = (12_000 * np.sin(np.arange(6_000) / 7)).astype(np.int16)
    files = {}
    for name in SOUNDS:
        file = io.BytesIO()
        soundfile.write(file, tone, 16_000, format=name)
        files[name] = file.getvalue()
    for container, codec in CLIPS:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream = out.add_stream(codec, rate=48_000, layout="mono")
            wave = np.sin(np.arange(19_200) / 9)[None].astype(np.float32)
            part = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            part.sample_rate = 48_000
            out.mux([*stream.encode(part), *stream.encode(None)])
        files[f"{codec} in {container}"] = file.getvalue()
    return files


def _videos() -> Files:
    files = {}
    for container, codec in VIDEOS:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 48, 32, "yuv420p", 5
            for i in range(12):
                frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 20 * i, np.uint8), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        files[f"{codec} in {container}"] = file.getvalue()
    return files


def _series() -> Files:
    values = np.sin(np.arange(600) / 9).reshape(200, 3)
    array, parquet = io.BytesIO(), io.BytesIO()
    np.save(array, values)
    frame = pl.DataFrame({"t": np.arange(200) / 50, "x": values[:, 0], "y": values[:, 1]})
    frame.write_parquet(parquet)
    return {"npy": array.getvalue(), "parquet": parquet.getvalue(), "csv": frame.write_csv().encode()}


def _mask() -> Files:
    file = io.BytesIO()
    Image.fromarray((np.arange(32 * 32).reshape(32, 32) % 5).astype(np.uint8)).save(file, "PNG")
    return {"mask": file.getvalue()}


CORPUS: tuple[tuple[Callable[[], Files], Callable[[bytes], object]], ...] = (
    (_images, read_image),
    (_sounds, read_audio),
    (_videos, read_video),
    (_series, lambda data: read_series(data, ROOT)),
    (_mask, lambda data: read_mask(data, ROOT)),
)


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """A file with bytes changed (more often in its header), sizes made large, parts cut, doubled or zeroed."""
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 9))):
        limit = min(len(changed), 200) if generator.random() < 0.6 else len(changed)
        at = int(generator.integers(0, max(1, limit)))
        kind = generator.random()
        if kind < 0.4:
            changed[at : at + 1] = bytes([int(generator.integers(0, 256))])
        elif kind < 0.6:
            changed[at : at + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"][
                int(generator.integers(0, 4))
            ]
        elif kind < 0.7:
            changed[at : at + 32] = bytes(32)
        elif kind < 0.8:
            changed[at:at] = changed[at : at + 64]
        elif kind < 0.9:
            del changed[at : at + int(generator.integers(1, 16))]
        else:
            del changed[max(1, int(generator.integers(0, len(changed) + 1))) :]
        if not changed:
            return data[:1]
    return bytes(changed)


def main(seed: int, num_of_each: int) -> None:
    """Reads them all; whatever is not a DecodeError ends the process."""
    generator = np.random.default_rng(seed)
    for make, read in CORPUS:
        for name, data in make().items():
            read(data)  # a whole one can be read
            for number in range(num_of_each):
                changed = mutated(data, generator)
                print(json.dumps({"name": name, "number": number}), flush=True)
                start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                is_read = False
                with contextlib.suppress(DecodeError):
                    read(changed)
                    is_read = True
                seconds = time.monotonic() - start
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                line = {"seconds": seconds, "grown": (peak - before) // 1024, "is_read": is_read}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
