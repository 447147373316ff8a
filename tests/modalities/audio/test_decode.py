"""Every rate, width, channel count and container comes out as the same sound, or as a DecodeError."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from polysense.errors import DecodeError
from polysense.modalities.audio import decode as audio
from polysense.modalities.audio.decode import audio_info, decode_audio
from polysense.modalities.audio.mp3 import count_frames

ROOT = Path("/")


def tone(rate: int = 8000, seconds: float = 0.25, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def encoded(values: np.ndarray, rate: int = 8000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, values, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def with_av(values: np.ndarray, rate: int, container: str, codec: str) -> bytes:
    av = importlib.import_module("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(values[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return buffer.getvalue()


def test_16_bit_mono_comes_through_unchanged() -> None:
    values = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    found = decode_audio(encoded(values), ROOT, sample_rate=8000)
    assert found.dtype == np.int16
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1), ("WAV", "PCM_24", 1), ("WAV", "PCM_32", 1), ("WAV", "FLOAT", 1), ("WAV", "DOUBLE", 1),
        ("WAV", "PCM_U8", 260), ("WAV", "ULAW", 800), ("FLAC", "PCM_16", 1), ("FLAC", "PCM_24", 1),
        ("AIFF", "PCM_16", 1), ("OGG", "VORBIS", 2000), ("MP3", "MPEG_LAYER_III", 2000),
    ],
)  # fmt: skip
def test_formats_and_widths_agree(kind: str, subtype: str, tolerance: int) -> None:
    rate = 16000 if kind == "MP3" else 8000
    expected = np.rint(tone(rate) * 32768)
    found = decode_audio(encoded(tone(rate), rate, kind, subtype), ROOT, sample_rate=rate)
    assert len(found) == len(expected)
    assert np.abs(found - expected)[200:-200].max() <= tolerance


def test_channels_are_averaged() -> None:
    left, right = tone(hertz=300.0), tone(hertz=900.0)
    found = decode_audio(encoded(np.stack([left, right], axis=1), subtype="FLOAT"), ROOT, sample_rate=8000)
    assert np.abs(found - (left + right) / 2 * 32768).max() <= 1


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_any_rate_becomes_the_same_sound(rate: int) -> None:
    found = decode_audio(encoded(tone(rate, 0.5), rate), ROOT, sample_rate=16000)
    expected = tone(16000, 0.5) * 32768
    assert abs(len(found) - len(expected)) <= 1
    assert np.abs(found[500:7000] - expected[500:7000]).max() < 60  # 0.2% of full scale


@pytest.mark.parametrize("num", [2, 7, 100])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_very_short_recordings_are_resampled_too(num: int, rate: int) -> None:
    found = decode_audio(encoded(np.full(num, 0.5), rate), ROOT, sample_rate=16000)
    assert abs(len(found) - num * 16000 / rate) <= 1
    with pytest.raises(DecodeError, match="too short: 1 frames"):
        decode_audio(encoded(np.full(1, 0.5), 44100), ROOT, sample_rate=8000)


@pytest.mark.parametrize("peak", [1.0, 3.0, 1e6])
def test_peaks_beyond_full_scale_are_scaled_down_not_clipped(peak: float) -> None:
    values = tone() * 2 * peak
    found = decode_audio(encoded(values, subtype="FLOAT"), ROOT, sample_rate=8000)
    assert np.abs(found - values / max(1.0, np.abs(values).max()) * 32768).max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(bad: float) -> None:
    values = tone()
    values[100] = bad
    for rate in (8000, 16000):
        with pytest.raises(DecodeError, match="NaN or infinite"):
            decode_audio(encoded(values, subtype="FLOAT"), ROOT, sample_rate=rate)


def test_arrays_with_their_rate_are_cells_too() -> None:
    expected = np.rint(tone() * 32768)
    for array in (tone(), tone()[None], np.stack([tone()] * 2, axis=1), expected.astype(np.int16), tone().tolist()):
        found = decode_audio({"array": array, "sampling_rate": 8000, "path": None}, ROOT, sample_rate=8000)
        assert np.abs(found - expected).max() <= 1
    assert audio_info({"array": tone(), "sampling_rate": 8000}, ROOT) == (8000, 2000, 1)


@pytest.mark.parametrize(
    "cell",
    [
        3, None, tone(), {"array": tone()}, {"array": tone(), "sampling_rate": 0}, {"array": [], "sampling_rate": 8000},
        {"array": ["a"], "sampling_rate": 8000}, {"array": [[1.0], [1.0, 2.0]], "sampling_rate": 8000},
        {"array": [np.nan], "sampling_rate": 8000}, {"array": [1e300], "sampling_rate": 8000},
    ],
)  # fmt: skip
def test_cells_of_other_kinds_are_refused(cell: object) -> None:
    with pytest.raises(DecodeError):
        decode_audio(cell, ROOT, sample_rate=8000)


def test_info_reads_the_header() -> None:
    stereo = np.stack([tone(22050)] * 2, axis=1)
    assert audio_info(encoded(stereo, 22050), ROOT) == (22050, len(stereo), 2)


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("ipod", "aac"), ("adts", "aac"), ("matroska", "aac")]
)
def test_what_soundfile_refuses_goes_to_ffmpeg(container: str, codec: str) -> None:
    values = tone(16000, 1.0)
    data = with_av(values, 16000, container, codec)
    found = decode_audio(data, ROOT, sample_rate=16000)
    assert 15_500 < len(found) < 18_500  # encoders pad
    middle = found[4000:12000] / 32768
    spectrum = np.abs(np.fft.rfft(middle))
    assert abs(spectrum.argmax() * 2 - 440) <= 2
    assert 0.3 < np.abs(middle).max() < 0.7
    rate, frames, channels = audio_info(data, ROOT)
    assert (rate, channels) == (16000, 1)
    assert abs(frames - len(found)) < 3000


def test_a_long_file_passes_through_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 60
    soundfile.write(tmp_path / "long.wav", np.stack([tone(48000, seconds)] * 2, axis=1), 48000, subtype="FLOAT")
    whole = decode_audio("long.wav", tmp_path, sample_rate=16000)
    monkeypatch.setattr(audio, "_BLOCK", 2**14)
    tracemalloc.start()
    found = decode_audio("long.wav", tmp_path, sample_rate=16000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 16000 * seconds, "nothing is cut"
    assert np.array_equal(found, whole)
    assert peak < 2 * found.nbytes + 2_000_000  # decoded at once it would be 23 MB; the result has 1.9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"this is a diary, not a sound", r"is a text file, expected"),
        (bytes(range(256)), r"not an audio file in a known format"),
        (encoded(tone())[:30], r"."),
        (encoded(np.zeros(0)), r"holds no samples"),
        (encoded(tone())[:2000], r"truncated"),
        (encoded(tone(seconds=2.0), kind="FLAC")[:6000], r"."),
    ],
)
def test_what_is_no_sound_says_why(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    for cell in ("a.wav", *([content] if content else [])):
        with pytest.raises(DecodeError, match=message):
            decode_audio(cell, tmp_path, sample_rate=8000)


def test_missing_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="no such file"):
        decode_audio("gone.wav", tmp_path, sample_rate=8000)
    with pytest.raises(DecodeError, match="is a directory"):
        audio_info(str(tmp_path), tmp_path)


@pytest.mark.parametrize("stated", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_streamed_wav_with_no_length_is_not_cut_short(stated: int) -> None:
    data = encoded(tone())
    place = data.index(b"data") + 4
    streamed = data[:place] + struct.pack("<I", stated) + data[place + 4 :]
    assert np.array_equal(decode_audio(streamed, ROOT, sample_rate=8000), decode_audio(data, ROOT, sample_rate=8000))
    assert audio_info(streamed, ROOT) == audio_info(data, ROOT)


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    packed = struct.pack(form, *values)
    return data[:at] + packed + data[at + len(packed) :]


def of_open_length(kind: str) -> bytes:
    """A file as a recorder leaves it that could not come back to its header."""
    data = encoded(tone(), kind="AIFF" if kind.startswith("AIFF") else kind.split()[0])
    mark = 0xFFFFFFFF if kind.endswith("largest") else 0
    if kind.startswith("RF64"):
        return patched(data, data.index(b"ds64") + 8, "<qqq", *[-1 if mark else 0] * 3)
    if kind.startswith("W64"):
        size = 2**63 - 1 if mark else 0
        return patched(patched(data, data.index(b"data\xf3") + 16, "<q", size), 16, "<q", size)
    if kind.startswith("AIFF"):
        data = patched(data, data.index(b"COMM") + 10, ">I", mark)
        return patched(patched(data, data.index(b"SSND") + 4, ">I", mark), 4, ">I", mark)
    if kind.startswith("AU"):
        return patched(data, 8, ">I", mark)
    if kind.startswith("CAF"):
        return patched(data, data.index(b"data") + 4, ">q", -1)
    assert kind == "FLAC"
    return data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]


@pytest.mark.parametrize(
    "kind",
    ["RF64", "RF64 largest", "W64", "W64 largest", "AIFF", "AIFF largest", "AU", "AU largest", "CAF", "FLAC"],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_files_of_open_length_are_read_to_their_end(kind: str, as_file: bool, tmp_path: Path) -> None:
    data, whole = of_open_length(kind), encoded(tone())
    (tmp_path / "a").write_bytes(data)
    cell: object = "a" if as_file else data
    found = decode_audio(cell, tmp_path, sample_rate=8000)
    expected = decode_audio(whole, ROOT, sample_rate=8000)
    assert len(found) == len(expected)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert audio_info(cell, tmp_path) == audio_info(whole, ROOT)


def test_an_empty_data_chunk_before_others_is_no_stream() -> None:
    data = encoded(tone())
    place = data.index(b"data")
    empty = data[:place] + b"data" + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(DecodeError, match="holds no samples"):
        decode_audio(empty, ROOT, sample_rate=8000)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"])
def test_a_file_that_was_cut_is_found(kind: str) -> None:
    data = encoded(tone(16000, 2.0), 16000, kind)
    with pytest.raises(DecodeError):
        decode_audio(data[: len(data) * 2 // 3], ROOT, sample_rate=16000)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("matroska", "aac"), ("ogg", "libopus")])
def test_a_container_that_was_cut_is_found(container: str, codec: str) -> None:
    data = with_av(tone(48000, 1.0), 48000, container, codec)
    with pytest.raises(DecodeError):
        decode_audio(data[: len(data) * 2 // 3], ROOT, sample_rate=8000)


@pytest.mark.parametrize("stated", [0, 7, 500, None])
def test_an_mp3_is_read_to_its_end_whatever_its_first_frame_states(stated: int | None) -> None:
    data = encoded(tone(16000, 2.0), 16000, "MP3")
    place = data.index(b"Xing") if b"Xing" in data else data.index(b"Info")
    wrong = data[:place] + bytes(4) + data[place + 4 :] if stated is None else patched(data, place + 8, ">I", stated)
    found = decode_audio(wrong, ROOT, sample_rate=16000)
    assert 32000 <= len(found) <= 32000 + 4 * 1152  # an encoder's padding is cut only where it is stated
    assert audio_info(wrong, ROOT)[1] >= 32000


def test_sound_larger_than_a_file_that_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.data.media.media.MAX_BYTES", 1000)
    for kind in ("WAV", "MP3"):
        (tmp_path / "long").write_bytes(encoded(tone(16000, 2.0), 16000, kind))
        assert audio_info("long", tmp_path)[0] == 16000
        assert len(decode_audio("long", tmp_path, sample_rate=16000)) >= 32000


@pytest.mark.parametrize("padding", [0, 3, 2**16, 2**16 + 3])
def test_an_mp3_is_walked_through_between_its_tags(padding: int) -> None:
    data = encoded(tone(16000, 1.0), 16000, "MP3")
    alone = count_frames(io.BytesIO(data), len(data))
    tagged = b"ID3\x03\0\0\0\0\x01\x10" + b"x" * 144 + bytes(padding) + data + b"TAG" + b"a" * 125
    assert alone is not None
    assert alone.agree
    assert count_frames(io.BytesIO(tagged), len(tagged)) == alone


def test_two_mp3s_one_after_the_other_are_both_heard() -> None:
    data = encoded(tone(16000, 1.0), 16000, "MP3")
    assert len(decode_audio(data + data, ROOT, sample_rate=16000)) >= 32000


def test_a_header_that_lies_about_the_rate_is_refused() -> None:
    data = bytearray(encoded(tone()))
    for rate in (0, 1, 2_000_000_000):
        struct.pack_into("<I", data, 24, rate)
        with pytest.raises(DecodeError):
            decode_audio(bytes(data), ROOT, sample_rate=16000)


WHOLE = {
    "wav": encoded(tone()),
    "float": encoded(tone(), subtype="FLOAT"),
    "flac": encoded(tone(), kind="FLAC"),
    "ogg": encoded(tone(), kind="OGG"),
    "aiff": encoded(tone(), kind="AIFF"),
}


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True))
def test_a_cut_file_raises_nothing_but_a_decode_error(kind: str, share: float) -> None:
    data = WHOLE[kind][: int(share * len(WHOLE[kind]))]
    try:
        found = decode_audio(data, ROOT, sample_rate=8000)
    except DecodeError:
        return
    assert found.dtype == np.int16
    if kind in ("wav", "float", "flac"):
        assert len(found) >= 2000 - 8, "half a recording"


@example("float", [(0.28125, 120)])  # a sample of 1e34
@example("wav", [(0.20703125, 1)])  # a codec number that FFmpeg knows by name only
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_bytes_raise_nothing_but_a_decode_error(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in changes:
        data[int(place**3 * len(data))] = value
    for read in (lambda: decode_audio(bytes(data), ROOT, sample_rate=8000), lambda: audio_info(bytes(data), ROOT)):
        with contextlib.suppress(DecodeError):
            read()


@given(
    st.sampled_from(
        [b"", b"RIFF\xff\0\0\0WAVEfmt ", b"fLaC", b"OggS", b"\0\0\0\x18ftypM4A ", b"\xff\xf1", b"\x1aE\xdf\xa3"]
    ),
    st.binary(max_size=200),
)
def test_random_bytes_raise_nothing_but_a_decode_error(magic: bytes, rest: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_audio(magic + rest, ROOT, sample_rate=8000)


def test_the_fixtures_decode_to_their_published_lengths(real_data: Callable[[str], Path]) -> None:
    root = real_data("fixtures")
    expected: dict[str, Any] = json.loads((root / "decode_expected.json").read_text())
    for clip in expected["audio"]:
        for kind in {"wav", "flac", "mp3", "ogg"} & clip.keys():
            entry = clip[kind]
            found = decode_audio(entry["file"], root, sample_rate=entry["sample_rate"])
            assert len(found) == entry["n_samples"]
            assert abs(np.sqrt(np.mean((found / 32768.0) ** 2)) - entry["rms"]) < 1e-4
            assert audio_info(entry["file"], root)[:2] == (entry["sample_rate"], entry["n_samples"])
    video = expected["video"]
    assert len(decode_audio(video["file"], root, sample_rate=video["audio_rate"])) == video["audio_samples"]
    with pytest.raises(DecodeError, match="0 bytes"):
        decode_audio("decode/empty.wav", root, sample_rate=8000)
