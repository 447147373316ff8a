"""Media files changed and cut at random: no crash, no hang, no memory beyond a few hundred MB, and no other error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polysense.data.media.media import locate
from polysense.data.media.raster import decode_image
from polysense.errors import DecodeError
from polysense.modalities.audio.decode import audio_info, decode_audio
from polysense.modalities.series.decode import read_series
from polysense.modalities.video.decode import decode_video, video_info
from polysense.tasks.segmentation.masks import read_mask

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
MOST_SECONDS = 10.0  # of one file, on a machine that does other things too
MOST_MEGABYTES = 400  # that one file adds to the process's peak


def read_all(seed: int, num_of_each: int, seconds: float) -> int:
    """Reads mutated files in a process of its own; returns how many there were."""
    command = [sys.executable, str(HERE / "helpers" / "mutated_media.py"), str(seed), str(num_of_each)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    named = [line for line in lines if "name" in line]
    assert result.returncode == 0, f"{named[-1:]}: {result.stderr[-2000:]}"
    measured = [line for line in lines if "seconds" in line]
    assert len(measured) == len(named)
    for name, line in zip(named, measured, strict=True):
        assert line["seconds"] < MOST_SECONDS, (name, line)
        assert line["grown"] < MOST_MEGABYTES, (name, line)
    return len(measured)


def test_mutated_media_files_raise_nothing_but_a_decode_error() -> None:
    assert read_all(seed=0, num_of_each=6, seconds=300) > 250


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_mutated_media_files(seed: int) -> None:
    assert read_all(seed=seed, num_of_each=120, seconds=3_000) > 5_000


READERS = {
    "image": lambda cell, root: decode_image(cell, root),
    "audio": lambda cell, root: decode_audio(cell, root, sample_rate=8_000),
    "audio header": audio_info,
    "video": lambda cell, root: decode_video(cell, root, num_frames=1),
    "video header": video_info,
    "series": read_series,
    "mask": lambda cell, root: read_mask(cell, root),
}
SECRET = "root:x:0:0:Topsecret:/root:/bin/bash"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", ["", ".png", ".wav", ".mp4", ".csv", ".npy", ".json", ".tga", ".pgm"])
@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n".encode() * 3,
        b"\xff\xfe" + SECRET.encode() * 20,
        b"P5 Topsecret root\n" + SECRET.encode() * 9,
        b"\x89PNG\r\n\x1a\nTopsecret" + SECRET.encode() * 9,
        b"RIFF\x24\x08\x00\x00WAVETopsecret" + SECRET.encode() * 9,
        b"#EXTM3U\n#EXTINF:1,\nfile:///Topsecret\n",
        b"\x93NUMPY\x01\x00\x10\x00{Topsecret root}" + SECRET.encode(),
        b"a,Topsecret\n1,root\n",
    ],
)
def test_no_message_quotes_what_a_file_holds(reader: str, suffix: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"cell{suffix}").write_bytes(content)
    with pytest.raises(DecodeError) as raised:
        READERS[reader](f"cell{suffix}", tmp_path)
    message = str(raised.value)
    assert "opsecret" not in message
    assert "root" not in message
    assert str(tmp_path) not in message


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_pipe_or_reads_a_device(reader: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for cell in ("pipe", ".", "/dev/zero", "/dev/null", "/proc/self/mem", "/proc/self/environ", "/proc/cpuinfo"):
        with pytest.raises(DecodeError):
            READERS[reader](cell, tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_holes_is_refused_by_every_reader(reader: str, tmp_path: Path) -> None:
    for name, head in (
        ("a.wav", b"RIFF\xff\xff\xff\xffWAVEfmt "), ("a.mkv", b"\x1aE\xdf\xa3"), ("a.png", b"\x89PNG\r\n\x1a\n"),
        ("a.csv", b"a,b\n1,2\n"), ("a.npy", b"\x93NUMPY\x01\x00"), ("a.mp4", b"\0\0\0\x18ftypisom"),
    ):  # fmt: skip
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(100 * 2**30)
        with pytest.raises(DecodeError, match="holes"):
            READERS[reader](name, tmp_path)


def test_a_large_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.data.media.media.MAX_BYTES", 100)
    (tmp_path / "a").write_bytes(bytes(101))
    with pytest.raises(DecodeError, match="is a file of 101 bytes, expected at most 100"):
        locate("a", tmp_path, "image").read()
    assert len(locate("a", tmp_path, "image").read(16)) == 16
