"""Frames of videos: where they lie, in every container, from files of every kind of damage."""

from __future__ import annotations

import io
import struct
import tempfile
import time
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from polysense.core.preview import even_positions
from polysense.errors import DecodeError
from polysense.modalities.audio.decode import decode_audio
from polysense.modalities.video import decode as module
from polysense.modalities.video.decode import (
    Frame,
    decode_video,
    has_only_sound,
    is_signature,
    num_requested,
    video_info,
)

HERE = Path()
CONTAINERS = [
    ("mp4", "libx264"),
    ("mp4", "mpeg4"),
    ("mov", "libx264"),
    ("webm", "libvpx"),
    ("webm", "libvpx-vp9"),
    ("matroska", "libx264"),
    ("avi", "mpeg4"),
    ("mpegts", "libx264"),
    ("flv", "flv1"),
]


@cache
def video(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    num: int = 30,
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    gop: int = 12,
    turn: int = 0,
    clip: bool = False,
    comment: str = "",
    front: bool = False,
) -> bytes:
    """A video whose frame i is gray i * 8; with frames every 1 / rate seconds."""
    if front:  # the header first, which FFmpeg does by writing the file again
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "v.mp4"
            _write(str(path), {"movflags": "faststart"}, container, codec, num, rate, size, gop, turn, clip, comment)
            return path.read_bytes()
    file = io.BytesIO()
    _write(file, {}, container, codec, num, rate, size, gop, turn, clip, comment)
    return file.getvalue()


def _write(
    file: str | io.BytesIO,
    options: dict[str, str],
    container: str,
    codec: str,
    num: int,
    rate: int,
    size: tuple[int, int],
    gop: int,
    turn: int,
    clip: bool,
    comment: str,
) -> None:
    with av.open(file, "w", format=container, options=options) as out:
        if comment:
            out.metadata["comment"] = comment
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        if turn:
            stream.set_display_rotation(turn)
        tone = out.add_stream("aac", rate=16_000) if clip else None
        for i in range(num):
            pixels = np.full((size[1], size[0], 3), (8 * i) % 256, np.uint8)
            if turn:
                pixels[: size[1] // 2] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if tone is not None:
            wave = np.sin(np.arange(16_000 * num // rate) * 0.2).astype(np.float32)
            part = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            part.sample_rate = 16_000
            out.mux(tone.encode(part))
            out.mux(tone.encode())


def levels(frames: list[Frame]) -> list[int]:
    """Which frame each is, by its gray."""
    return [round(float(np.median(frame.pixels)) / 8) for frame in frames]


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_frames_are_evenly_spaced_in_every_container(container: str, codec: str) -> None:
    data = video(container, codec)
    frames = decode_video(data, HERE, num_frames=6)
    assert levels(frames) == pytest.approx([2, 7, 12, 17, 22, 27], abs=1)
    assert [frame.time for frame in frames] == pytest.approx([0.2, 0.7, 1.2, 1.7, 2.2, 2.7], abs=0.01)
    assert all(frame.pixels.shape == (48, 64, 3) and frame.pixels.dtype == np.uint8 for frame in frames)
    assert levels(decode_video(data, HERE, num_frames=100)) == pytest.approx(list(range(30)), abs=1)
    (size, num, seconds) = video_info(data, HERE)
    assert (size, num) == ((48, 64), 30)
    assert seconds == pytest.approx(3.0, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(num=st.integers(1, 60), requested=st.integers(1, 70), gop=st.sampled_from([1, 7, 40]))
def test_any_number_of_any_number(num: int, requested: int, gop: int) -> None:
    """Frame i is the one in the middle of the i-th stretch, whether decoding went on or started at a key frame."""
    frames = decode_video(video(num=num, gop=gop, size=(32, 32)), HERE, num_frames=requested)
    expected = even_positions(num, requested)
    assert [round(frame.time * 10) for frame in frames] == expected
    assert len(expected) == min(num, requested)
    gaps = np.diff(expected)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1, "evenly"
    assert not len(gaps) or abs(expected[0] - (num - 1 - expected[-1])) <= 1, (
        "as far from the beginning as from the end"
    )
    assert levels(frames) == pytest.approx([i % 32 for i in expected], abs=1)


def test_only_what_is_needed_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = [0]
    one_more = module._Decoder.next

    def counting(decoder: module._Decoder) -> tuple[int, object] | None:
        counted[0] += 1
        return one_more(decoder)

    monkeypatch.setattr(module._Decoder, "next", counting)
    data = video(num=600, gop=20, size=(32, 32))
    decode_video(data, HERE, num_frames=4)
    assert counted[0] <= 4 * 20
    counted[0] = 0
    decode_video(data, HERE, num_frames=600)
    assert counted[0] <= 601, "each once"


def test_by_frames_per_second() -> None:
    data = video(num=40)
    assert len(decode_video(data, HERE, num_frames=64, frames_per_second=2.0)) == 8
    assert len(decode_video(data, HERE, num_frames=5, frames_per_second=2.0)) == 5
    assert len(decode_video(data, HERE, num_frames=64, frames_per_second=0.01)) == 1
    assert num_requested(1e12, 64, 1e3) == 64
    assert num_requested(2.0, 64, None) == 64


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_the_camera_may_be_turned(turn: int) -> None:
    """The upper half is white as it was filmed; a player turns the picture to the left by that many degrees."""
    (frame,) = decode_video(video(num=1, turn=turn), HERE, num_frames=1)
    filmed = np.zeros((48, 64))
    filmed[:24] = 255
    np.testing.assert_allclose(frame.pixels[..., 0], np.rot90(filmed, turn // 90), atol=12)
    assert video_info(video(num=1, turn=turn), HERE)[0] == frame.pixels.shape[:2]


def test_large_frames_are_reduced_but_not_below_what_is_needed() -> None:
    data = video(size=(640, 320), num=3)
    assert decode_video(data, HERE, num_frames=1, size_hint=(40, 80))[0].pixels.shape == (40, 80, 3)
    assert decode_video(data, HERE, num_frames=1, size_hint=(41, 80))[0].pixels.shape == (80, 160, 3)
    with pytest.raises(DecodeError, match=r"640 x 320 pixels, more than the limit of 100,000.*max_pixels"):
        decode_video(data, HERE, num_frames=1, max_pixels=100_000)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_moving_pictures(kind: str) -> None:
    images = [Image.fromarray(np.full((20, 30, 3), 8 * i, np.uint8)) for i in range(10)]
    for i, image in enumerate(images):
        image.putpixel((i, 0), (255, 0, 0))  # or a writer joins equal ones
    file = io.BytesIO()
    more = {"lossless": True} if kind == "WEBP" else {}
    images[0].save(file, kind, save_all=True, append_images=images[1:], duration=200, **more)
    frames = decode_video(file.getvalue(), HERE, num_frames=5)
    assert levels(frames) == [1, 3, 5, 7, 9]
    assert [frame.time for frame in frames] == pytest.approx([0.2, 0.6, 1.0, 1.4, 1.8])
    assert not is_signature(file.getvalue()[:16]), "an image by its bytes, which a column of videos reads too"
    assert video_info(file.getvalue(), HERE) == ((20, 30), 10, pytest.approx(2.0))
    still = io.BytesIO()
    images[3].save(still, kind)
    assert levels(decode_video(still.getvalue(), HERE, num_frames=5)) == [3]
    with pytest.raises(DecodeError, match=r"cut short|damaged"):
        decode_video(file.getvalue()[: len(file.getvalue()) // 2], HERE, num_frames=5)


def test_paths_bytes_and_dictionaries(tmp_path: Path) -> None:
    data = video()
    (tmp_path / "a.mp4").write_bytes(data)
    (tmp_path / "nameless").write_bytes(data)
    expected = [frame.pixels for frame in decode_video(data, HERE, num_frames=3)]
    for cell in ("a.mp4", tmp_path / "a.mp4", "nameless", {"path": "a.mp4"}, {"bytes": data, "path": "x.png"}):
        frames = decode_video(cell, tmp_path, num_frames=3)
        assert all(np.array_equal(a, b.pixels) for a, b in zip(expected, frames, strict=True))
    assert is_signature(data[:16])
    with pytest.raises(DecodeError, match="URL"):
        decode_video("https://example.org/a.mp4", tmp_path, num_frames=3)


def test_a_comment_in_latin_1_is_no_reason_to_refuse() -> None:
    data = video(num=3, comment="caf~ of the north", container="avi", codec="mpeg4").replace(b"caf~", b"caf\xe9")
    assert b"caf\xe9" in data
    assert len(decode_video(data, HERE, num_frames=3)) == 3


def test_sound_and_pictures_of_one_file() -> None:
    data = video(clip=True, num=30)
    assert len(decode_video(data, HERE, num_frames=8)) == 8
    assert len(decode_audio(data, HERE, sample_rate=16_000)) == pytest.approx(48_000, abs=2_100)
    with pytest.raises(DecodeError, match="has no audio track"):
        decode_audio(video(), HERE, sample_rate=16_000)
    only_sound = io.BytesIO()
    with av.open(only_sound, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=16_000)
        part = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        part.sample_rate = 16_000
        out.mux(stream.encode(part))
        out.mux(stream.encode())
    with pytest.raises(DecodeError, match="has no video track, only audio"):
        decode_video(only_sound.getvalue(), HERE, num_frames=8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is a text file, expected"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "is a text file"),
        (bytes(range(256)) * 20, "is not a video in a known format|is damaged: Invalid data"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is not a video"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_video(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(data)
    for cell in (data, "x.mp4"):
        with pytest.raises(DecodeError, match=message):
            decode_video(cell, tmp_path, num_frames=8)


@pytest.mark.parametrize(
    ("container", "codec", "front"),
    [("mp4", "libx264", False), ("mp4", "libx264", True), ("webm", "libvpx", False), ("avi", "mpeg4", False)],
)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_half_a_video_is_refused(container: str, codec: str, front: bool, share: float) -> None:
    data = video(container, codec, num=60, front=front)
    assert len(decode_video(data, HERE, num_frames=8)) == 8
    with pytest.raises(DecodeError, match=r"cut short|damaged|holds no"):
        decode_video(data[: int(share * len(data))], HERE, num_frames=8)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_ends_in_frames_or_in_a_message(data: st.DataObject) -> None:
    container, codec = data.draw(st.sampled_from(CONTAINERS))
    content = bytearray(video(container, codec, num=20, size=(32, 32)))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)
    ):
        content[place] = value
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    before = time.perf_counter()
    try:
        frames = decode_video(bytes(content), HERE, num_frames=4, max_pixels=10**6)
        video_info(bytes(content), HERE, max_pixels=10**6)
    except DecodeError:
        pass
    else:
        assert 1 <= len(frames) <= 4
        times = [frame.time for frame in frames]
        assert times == sorted(times)
        assert all(frame.pixels.dtype == np.uint8 and frame.pixels.ndim == 3 for frame in frames)
    assert time.perf_counter() - before < 20.0


def remuxed(data: bytes, seconds: float) -> bytes:
    """What `ffmpeg -ss SECONDS -c copy` and phones do: packets from a key frame on, hidden by an edit list."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format="mp4") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        assert stream.time_base is not None
        shift = round(seconds / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = copy
                out.mux(packet)
    return file.getvalue()


def test_frames_that_an_edit_list_hides_do_not_lack() -> None:
    clip = remuxed(video(num=30, gop=30), 1.0)
    with av.open(io.BytesIO(clip)) as container:
        assert container.streams.video[0].frames == 30
    assert video_info(clip, HERE)[1] == 20
    assert levels(decode_video(clip, HERE, num_frames=4)) == [12, 17, 22, 27]


def test_a_header_that_counts_too_many_frames_is_not_believed() -> None:
    data = bytearray(video("avi", "mpeg4"))
    for name, at in ((b"avih", 24), (b"strh", 40)):
        place = data.index(name) + at
        data[place : place + 4] = (500).to_bytes(4, "little")
    assert video_info(bytes(data), HERE)[1] == 30


def test_a_header_that_states_too_long_a_time_is_not_believed() -> None:
    data = bytearray(video("matroska"))
    place = data.index(b"\x44\x89\x88") + 3
    data[place : place + 8] = struct.pack(">d", 1e6)
    assert video_info(bytes(data), HERE)[1] == 30


class _Pipe:
    """What can be written to and not gone back in."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, part: bytes) -> int:
        self.data += part
        return len(part)


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("matroska", "libx264", {}),
        ("webm", "libvpx", {}),
        ("avi", "mpeg4", {}),
        ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("mpegts", "libx264", {"mpegts_m2ts_mode": "1"}),
        ("mpeg", "mpeg1video", {}),
    ],
)
def test_streamed_files_are_read(container: str, codec: str, options: dict[str, str]) -> None:
    pipe, is_m2ts = _Pipe(), "mpegts_m2ts_mode" in options
    rate = 25 if codec == "mpeg1video" else 10
    target = io.BytesIO() if is_m2ts else pipe
    _write(target, options, container, codec, 30, rate, (64, 48), 12, 0, False, "")  # type: ignore[arg-type]
    data = target.getvalue() if isinstance(target, io.BytesIO) else bytes(pipe.data)
    assert video_info(data, HERE)[1] == 30
    assert levels(decode_video(data, HERE, num_frames=3)) == [5, 15, 25]


@pytest.mark.parametrize(("container", "codec"), [(c, n) for c, n in CONTAINERS if c not in ("mpegts",)])
def test_a_file_that_was_cut_is_found_in_every_container(container: str, codec: str) -> None:
    data = video(container, codec)
    for share in (0.5, 0.9):
        with pytest.raises(DecodeError, match=r"cut short|damaged"):
            decode_video(data[: int(share * len(data))], HERE, num_frames=4)


def test_a_container_without_images_is_told_from_a_video() -> None:
    assert not has_only_sound(video(clip=True), HERE)
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="flt", layout="mono")
        part.sample_rate = 48_000
        out.mux(stream.encode(part))
        out.mux(stream.encode())
    assert has_only_sound(file.getvalue(), HERE)
    with pytest.raises(DecodeError, match="a column of the type audio reads it"):
        decode_video(file.getvalue(), HERE, num_frames=1)
    assert not has_only_sound(b"no container", HERE)
