"""Sound as int16 mono at the asked rate: any common format in, the whole recording or an error out.

libsndfile (wav, flac, ogg, mp3, aiff, ...) is first: it is up to 16 times faster than FFmpeg on short files. What it
refuses goes to FFmpeg (PyAV) if its first bytes are those of a container that may hold sound (m4a, mp4, aac, webm,
...): FFmpeg asked to guess takes random bytes for MP3 and text for a playlist.

Channels are averaged. An audio clip whose peak goes beyond full scale (float files, overshoot of lossy codecs and of
the resampler) is scaled down as a whole, not clipped: int16 = round(32768 * x / max(1, peak)). Long files pass through
in blocks of 2^18 frames, so beside the result (2 bytes a sample) only a block is held; nothing is cut. A file that was
cut short is refused, as half an image is: one whose structure states more bytes than there are (`chunks`, `mp3`,
`data.media.containers`). A header that only counts wrongly, or leaves the length open, is that of a good file.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import soxr

from polysense.data.media.containers import missing_bytes
from polysense.data.media.media import Media, describe_bytes, locate, reason, short
from polysense.errors import DecodeError
from polysense.modalities.audio.chunks import Patched, sound_chunk
from polysense.modalities.audio.mp3 import Frames, count_frames

__all__ = ["EXTENSIONS", "audio_info", "decode_audio", "is_signature"]

EXTENSIONS = frozenset(
    {"wav", "wave", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "aif", "aiff", "aifc", "wma", "amr",
     "au", "caf"}
)  # fmt: skip

_SIGNATURES = (
    b"fLaC",
    b"OggS",
    b"ID3",
    b"FORM",
    b"#!AMR",
    b"\xff\xf1",
    b"\xff\xf9",
)  # last: AAC in ADTS

_BLOCK = 2**18  # frames
_MP3_FRAME = 1152  # samples
_RATES = (1_000, 768_000)  # beyond, a header is damaged; resampling from 1 Hz would multiply the length by 16,000
_MAX_CHANNELS = 64
_LARGEST = 1e12  # float files with int32's range exist; beyond that the bits are no samples
_PCM_DIRECT = 2**22  # frames: a damaged header must not make us allocate more than this unseen (8 MB)
_LONGEST = 2**29  # samples of a result: 1 GiB, nine hours at 16 kHz
_UNKNOWN = 2**62  # frames, as libsndfile gives them for a FLAC file of open length
_SOUNDFILE_ERRORS = (soundfile.SoundFileError, OSError, ValueError, MemoryError, OverflowError)
_CONTAINERS = (  # (offset, first bytes) of what FFmpeg may be given
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (0, b"\x1aE\xdf\xa3"), (0, b"OggS"),
    (0, b"\xff\xf1"), (0, b"\xff\xf9"), (0, b"\xff\xf0"), (0, b"\xff\xf8"), (0, b"ID3"), (0, b"ADIF"),
    (0, b"0&\xb2u\x8ef\xcf\x11"), (0, b"#!AMR"), (0, b"FLV\x01"), (0, b"\x00\x00\x01\xba"), (0, b"\x47"),
    (0, b"RIFF"), (0, b"caff"), (0, b"wvpk"), (0, b"MAC "), (0, b"TTA1"), (0, b".snd"), (0, b"FORM"),
)  # fmt: skip

T = TypeVar("T")
Blocks = Callable[[], Iterator[np.ndarray]]


def is_signature(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes) is an audio clip."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"WAVE"
    if head[4:8] == b"ftyp":
        return head[8:11] == b"M4A"
    is_mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0
    return is_mpeg or head.startswith(_SIGNATURES)


def decode_audio(cell: object, root: Path, *, sample_rate: int) -> np.ndarray:
    """Decodes one recording.

    Args:
        cell: A path (str or Path), bytes, {"bytes": ..., "path": ...}, or {"array": ..., "sampling_rate": ...} with
            an array of shape [samples], [samples, channels] or [channels, samples], integer or float in [-1, 1].
        root: The folder that relative paths start from.
        sample_rate: Samples per second of the result.

    Returns:
        int16 [samples], mono.

    Raises:
        DecodeError: The clip can't be read wholly, holds no samples, or holds NaN or infinite ones.
    """
    if isinstance(cell, dict) and cell.get("array") is not None:
        values, rate = _from_array(cell)
        return _collect(lambda: iter((values,)), rate, sample_rate)
    if isinstance(cell, np.ndarray):
        raise DecodeError("found an array without its rate, expected {'array': ..., 'sampling_rate': ...}")
    return _read(
        locate(cell, root, "audio"),
        lambda file: _read_soundfile(file, sample_rate),
        lambda container, frames, is_whole: _read_av(container, is_whole or frames is not None, sample_rate),
    )


def audio_info(cell: object, root: Path) -> tuple[int, int, int]:
    """(samples per second, frames, channels) as the header states them; decodes only if it does not state a length.

    Raises:
        DecodeError: The header can't be read.
    """
    if isinstance(cell, dict) and cell.get("array") is not None:
        values, rate = _from_array(cell)
        return rate, len(values), values.shape[1]
    if isinstance(cell, np.ndarray):
        raise DecodeError("found an array without its rate, expected {'array': ..., 'sampling_rate': ...}")
    return _read(
        locate(cell, root, "audio"),
        lambda file: (file.samplerate, file.frames, file.channels),
        lambda container, frames, _: _info_av(container, frames),
    )


def _read(media: Media, by_soundfile: Callable[[Any], T], by_av: Callable[[Any, Frames | None, bool], T]) -> T:
    """What the first library that opens the file makes of it.

    Args:
        media: The file.
        by_soundfile: Of libsndfile's file, whose rate and channels are checked and whose length is known.
        by_av: Of FFmpeg's container, the counted frames of an MP3 file, and whether the file is known to be whole.
    """
    frames = _mp3_frames(media)
    if frames is None or frames.agree:
        try:
            with _soundfile(media) as file:
                _check(file.samplerate, file.channels)
                if file.frames < _UNKNOWN:
                    return by_soundfile(file)
        except DecodeError:
            raise
        except _SOUNDFILE_ERRORS as error:
            _refuse_unless_container(media, error)
    return _with_av(media, lambda container, is_whole: by_av(container, frames, is_whole))


@contextmanager
def _soundfile(media: Media) -> Iterator[Any]:
    """The file, opened by libsndfile; one that lacks bytes of its sound is refused."""
    with media.open() as file:
        chunk = sound_chunk(file, media.num_bytes)
        if chunk is not None and chunk.missing >= 8:
            raise DecodeError(
                f"the audio is truncated: the header states {chunk.stated} bytes, {chunk.present} are there"
            )
        file.seek(0)
        source: Any = Patched(file, {} if chunk is None else chunk.patches)
        if media.is_whole_file and not (chunk and chunk.patches):
            source = file.fileno()
            os.lseek(source, 0, os.SEEK_SET)
        with soundfile.SoundFile(source, closefd=False) as sound:
            yield sound


def _mp3_frames(media: Media) -> Frames | None:
    """What an MP3 file holds; None if it is none. One that was cut short is refused."""
    head = media.read(3)
    if head != b"ID3" and not (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)):
        return None
    try:
        with media.open() as file:
            frames = count_frames(file, media.num_bytes)
    except OSError as error:
        raise DecodeError(f"can't be read: {reason(error)}") from None
    if frames is not None and frames.is_truncated:
        raise DecodeError(
            f"the audio is truncated: the header states {frames.stated} frames, {frames.count} are there"
            if not frames.stated_bytes
            else f"the audio is truncated: the header states {frames.stated_bytes} bytes, {frames.present_bytes} are "
            "there"
        )
    return frames


def _check(rate: int, channels: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise DecodeError(f"states {rate:,} samples per second, expected {_RATES[0]:,} to {_RATES[1]:,}")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise DecodeError(f"states {channels} channels, expected 1 to {_MAX_CHANNELS}")


def _refuse_unless_container(media: Media, error: BaseException) -> None:
    """Raises unless FFmpeg may be tried on what libsndfile refused."""
    head = media.read(512)  # raises where the file itself can't be opened
    text = describe_bytes(head)
    if text is not None:
        raise DecodeError(f"{text}, expected an audio file")
    if not any(head.startswith(magic, offset) for offset, magic in _CONTAINERS):
        why = reason(str(error).rpartition(": ")[2])
        raise DecodeError(f"is not an audio file in a known format, or its header is damaged: {why}")


def _read_soundfile(file: Any, sample_rate: int) -> np.ndarray:
    rate, channels, frames = file.samplerate, file.channels, file.frames
    _check_length(frames * sample_rate // rate)
    if rate == sample_rate and channels == 1 and file.subtype == "PCM_16" and frames <= _PCM_DIRECT:
        samples: np.ndarray = file.read(dtype="int16")  # the values themselves, and the fast path
        num_read = len(samples)
    else:
        counted = [0]

        def blocks() -> Iterator[np.ndarray]:
            if counted[0]:
                file.seek(0)
            counted[0] = 0
            while counted[0] < frames and len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                counted[0] += len(block)
                yield block

        samples = _collect(blocks, rate, sample_rate)
        num_read = counted[0]
    if not len(samples):
        raise DecodeError(f"is too short: {num_read} frames" if num_read else "holds no samples")
    if num_read < (frames if file.format != "MP3" else 0.98 * frames - 2 * _MP3_FRAME):
        raise DecodeError(f"the audio is truncated: the header states {frames} frames, {num_read} can be read")
    return samples


def _check_length(num_samples: int) -> None:
    if num_samples > _LONGEST:
        raise DecodeError(f"has {num_samples:,} samples, expected at most {_LONGEST:,}; cut it into parts")


def _collect(blocks: Blocks, rate: int, sample_rate: int) -> np.ndarray:
    """Mono, resampled, int16. `blocks` starts over at each call; float32 [frames, channels] each."""
    samples, peak = _convert(blocks(), rate, sample_rate, 1.0)
    if peak > 1.0:
        samples, _ = _convert(blocks(), rate, sample_rate, 1.0 / peak)
    return samples


def _convert(blocks: Iterator[np.ndarray], rate: int, sample_rate: int, gain: float) -> tuple[np.ndarray, float]:
    buffer = bytearray()  # grows in place: a list of blocks would be held twice when joined
    peak = 0.0
    for block in _resampled(map(_mono, blocks), rate, sample_rate):
        block_peak = float(np.abs(block).max(initial=0.0))
        if not math.isfinite(block_peak):
            raise DecodeError("holds NaN or infinite samples")
        if block_peak > _LARGEST:
            raise DecodeError(f"holds samples of up to {block_peak:.0e}, expected -1 to 1: the file is damaged")
        peak = max(peak, block_peak)
        _check_length(len(buffer) // 2 + len(block))
        buffer.extend(np.clip(np.rint(block * np.float32(32768.0 * gain)), -32768, 32767).astype(np.int16).tobytes())
    return np.frombuffer(buffer, dtype=np.int16), peak


def _mono(block: np.ndarray) -> np.ndarray:
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
        mean: np.ndarray = block.mean(axis=1)
        return mean


def _resampled(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    if rate == sample_rate:
        yield from blocks
        return
    first = list(itertools.islice(blocks, 2))
    if len(first) < 2:  # the same samples as the stream gives, in half the time
        yield from (soxr.resample(block, rate, sample_rate) for block in first)
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    for block in itertools.chain(first, blocks):
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _from_array(cell: dict[Any, Any]) -> tuple[np.ndarray, int]:
    """float32 [samples, channels] and the rate."""
    rate = cell.get("sampling_rate", cell.get("sample_rate"))
    if not isinstance(rate, (int, np.integer)):
        raise DecodeError(f"found the sampling_rate {short(rate)}, expected a whole number of samples per second")
    try:
        values = np.asarray(cell["array"])
    except (ValueError, TypeError) as error:
        raise DecodeError(f"found an array that can't be read: {error}") from None
    if values.ndim == 1:
        values = values[:, None]
    elif values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim != 2 or values.size == 0:
        raise DecodeError(f"found an array of shape {list(values.shape)}, expected [samples] or [samples, channels]")
    _check(int(rate), values.shape[1])
    if np.issubdtype(values.dtype, np.signedinteger):
        values = values.astype(np.float32) / -float(np.iinfo(values.dtype).min)
    elif not np.issubdtype(values.dtype, np.floating):
        raise DecodeError(f"found an array of {values.dtype}, expected signed integers or floats")
    with np.errstate(over="ignore"):
        return values.astype(np.float32), int(rate)


def _with_av(media: Media, read: Callable[[Any, bool], T]) -> T:
    """Runs `read` on the opened container and whether the file is known to be whole; what FFmpeg raises becomes a
    DecodeError."""
    import av

    # By file object, not by name: FFmpeg then has no protocol with which to open anything else.
    errors = (
        av.FFmpegError, OSError, ValueError, EOFError, IndexError, MemoryError, OverflowError, RuntimeError,
    )  # fmt: skip
    with media.open() as file:
        missing = missing_bytes(file, media.num_bytes)
        if missing:
            raise DecodeError(f"the audio is truncated: the file lacks {missing:,} bytes that it states")
        file.seek(0)
        try:
            # A comment in Latin-1 is no reason to refuse the audio.
            with av.open(file, metadata_errors="replace") as container:
                return read(container, missing == 0)
        except DecodeError:
            raise
        except errors as error:
            raise DecodeError(f"the audio is damaged: {reason(error)}") from None


def _stream(container: Any) -> Any:
    if not container.streams.audio:
        raise DecodeError("has no audio track")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise DecodeError("has audio in a codec without a decoder")
    stream.thread_count = 1  # a data-loading process has one core
    _check(stream.rate or 0, stream.channels or 0)
    return stream


def _av_blocks(container: Any, stream: Any, counted: list[int]) -> Iterator[np.ndarray]:
    from av.audio.resampler import AudioResampler

    to_float = AudioResampler(format="fltp")
    for frame in container.decode(stream):
        for part in to_float.resample(frame):
            values = part.to_ndarray()
            counted[0] += values.shape[1]
            yield values.T


def _read_av(container: Any, is_whole: bool, sample_rate: int) -> np.ndarray:
    stream = _stream(container)
    counted = [0]

    def blocks() -> Iterator[np.ndarray]:
        if counted[0]:
            container.seek(0)
        counted[0] = 0
        return _av_blocks(container, stream, counted)

    samples = _collect(blocks, stream.rate, sample_rate)
    if not len(samples):
        raise DecodeError("holds no samples")
    # Where the file's structure tells that it is whole, or the frames were counted, a header's length does not count.
    stated = None if is_whole else _stated_frames(stream)
    # Encoders pad by a few thousand frames; a tenth of a second and 2% are beyond that.
    if stated is not None and counted[0] < 0.98 * stated - 0.1 * stream.rate:
        raise DecodeError(f"the audio is truncated: the header states {stated} frames, {counted[0]} can be read")
    return samples


def _stated_frames(stream: Any) -> int | None:
    return None if stream.duration is None else int(stream.duration * stream.time_base * stream.rate)


def _info_av(container: Any, counted: Frames | None) -> tuple[int, int, int]:
    stream = _stream(container)
    frames = _stated_frames(stream) if counted is None else counted.count * counted.samples_per_frame
    if frames is None:
        frames = sum(frame.samples for frame in container.decode(stream))
    return stream.rate, frames, stream.channels
