"""Cells as people see them who label: whole, and in formats that every browser shows."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

from polysense.core.registry import modalities, modality
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError, DecodeError
from polysense.workflows.labeling.displays import RowDisplays


def tone(path: Path, **kind: str) -> None:
    soundfile.write(path, np.sin(np.arange(8_000) / 9).astype(np.float32) / 2, 8_000, **kind)


def write_video(path: Path, num_frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(num_frames):
            pixels = np.full((48, 64, 3), 20 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_sounds_are_played_as_they_are_or_as_wav(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.ogg")
    tone(tmp_path / "c.aiff")
    tone(tmp_path / "d.wav", subtype="IMA_ADPCM")  # no browser plays it
    spec = modality("audio")
    for name, media_type in (("a.wav", "audio/wav"), ("b.ogg", "audio/ogg")):
        (media,) = spec.display(name, tmp_path).media
        file = media.read()
        assert (media.element, file.media_type, file.path) == ("audio", media_type, tmp_path / name)
    for name in ("c.aiff", "d.wav"):
        file = spec.display(name, tmp_path).media[0].read()
        samples, rate = soundfile.read(BytesIO(file.data or b""))
        assert (file.media_type, rate, len(samples)) == ("audio/wav", 8_000, 8_000) or name == "d.wav"
        assert abs(float(np.abs(samples).max()) - 0.5) < 0.05
    assert len(spec.display([{"bytes": (tmp_path / "a.wav").read_bytes()}, "b.ogg"], tmp_path).media) == 2


def test_videos_are_played_with_frames_to_fall_back_on(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", num_frames=8)
    write_video(tmp_path / "b.avi", num_frames=8)
    (media,) = modality("video").display("a.mp4", tmp_path).media
    assert (media.element, media.read().media_type, media.read().path) == ("video", "video/mp4", tmp_path / "a.mp4")
    assert media.fallback is not None
    (frames,) = modality("video").display("b.avi", tmp_path).media
    assert frames.element == "img"
    for file in (media.fallback(), frames.read()):
        with Image.open(BytesIO(file.data or b"")) as image:
            assert (image.format, image.width > 2 * image.height) == ("JPEG", True)


def test_images_are_upright_jpegs_of_a_screens_size(tmp_path: Path) -> None:
    upright = Image.fromarray(np.zeros((40, 4_000, 3), dtype=np.uint8))
    exif = upright.getexif()
    exif[0x0112] = 6
    upright.save(tmp_path / "a.png", exif=exif)
    file = modality("image").display("a.png", tmp_path).media[0].read()
    with Image.open(BytesIO(file.data or b"")) as image:
        assert image.size == (16, 1_600)


def test_a_series_is_drawn(tmp_path: Path) -> None:
    display = modality("series").display([float(number) for number in range(50)], tmp_path)
    assert display.note == "50 steps"
    assert display.media[0].read().media_type == "image/jpeg"


@pytest.mark.parametrize("name", [name for name, spec in modalities().items() if spec.is_file])
@pytest.mark.parametrize("cell", ["missing.bin", "", b"", b"no media", {"bytes": None, "path": None}, 7])
def test_what_is_no_file_is_refused_in_words(name: str, cell: object, tmp_path: Path) -> None:
    def read() -> list[object]:
        return [media.read() for media in modality(name).display(cell, tmp_path).media]

    with pytest.raises(DecodeError):
        read()


def test_a_row_names_its_cells_and_files_by_place(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    pl.DataFrame(
        {
            "picture": [f"{number}.png" for number in range(11)] + ["gone.png"],
            "text": [f"a rather long text of number {number}" for number in range(12)],
            "score": [number / 3 for number in range(12)],
            "constant": ["same"] * 12,
            "mood": [None] * 12,
        }
    ).write_csv(tmp_path / "table.csv")
    table = read_table(tmp_path / "table.csv")
    displays = RowDisplays(table, infer(table, [], logs=False), "mood")
    cells = {cell["column"]: cell for cell in displays.row(1)}
    assert list(cells)[:3] == ["picture", "text", "score"]
    assert [cells[name]["folded"] for name in ("picture", "score", "constant")] == [False, False, True]
    assert cells["picture"]["media"] == [{"element": "img", "url": "media/1/0/0", "fallback": None}]
    assert displays.file(1, 0, 0) is displays.file(1, 0, 0)  # from memory
    assert "no such file" in displays.row(11)[0]["note"] or displays.row(11)[0]["media"]
    with pytest.raises(ConfigError, match="no image to fall back on"):
        displays.file(1, 0, 0, fallback=True)
