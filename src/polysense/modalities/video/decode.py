"""Videos as frames: a few images, evenly spaced in time, each as it was on the screen at its moment.

A file is first walked through packet by packet, without decoding: that tells every frame's time, where decoding may
start (key frames) and whether the file was cut short, and costs 5 microseconds a frame. Then only what is needed is
decoded: if a key frame lies between the last frame that was decoded and the next that is wanted, the decoder starts
from there, else it goes on. The time in the header is not trusted: containers round it, and audio may be longer.

FFmpeg (PyAV) is given only what begins like a video container: asked to guess, it takes text for a playlist. It reads
through a file object, so that it has no protocol with which to open anything else. Moving GIF, WebP and PNG images go
to Pillow, which lays partial frames over one another.

A file is whole or refused: one whose structure states more bytes than it holds was cut short
(`data.media.containers`), and where the structure doesn't tell, one that states more frames or seconds. Counts and
times in a whole file's header are not believed: an edit list, dropped frames or a recorder leave wrong ones. A frame
that can't be decoded is not replaced by its neighbor.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from polysense.core.preview import even_positions
from polysense.data.media.containers import missing_bytes
from polysense.data.media.media import Media, describe_bytes, locate, reason
from polysense.data.media.raster import MAX_PIXELS, open_animation
from polysense.data.media.raster import is_signature as is_raster
from polysense.data.media.sniff import kind_of_bytes
from polysense.errors import DecodeError

__all__ = [
    "EXTENSIONS",
    "Frame",
    "decode_video",
    "has_only_sound",
    "is_signature",
    "is_transport_stream",
    "num_requested",
    "video_info",
]

EXTENSIONS = frozenset(
    {"mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "3gp", "ogv", "mts", "m2ts", "m2t",
     "ts"}
)  # fmt: skip

_SIGNATURES = (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11")

_MAX_PACKETS = 10_000_000  # four days at 30 frames a second
_FAR = 16  # frames: a seek costs about as much as decoding so many
_NEAR = 3  # packets that may lie between a wanted time and the frame shown then: invisible frames, fields
_HEAD = 16  # bytes that tell the format
_OPEN = 2**30  # frames: what FFmpeg writes into an AVI file's header before it knows their number
_ATTACHED = 0x0400  # FFmpeg's disposition of a cover image
_INDEXED = ("mov,mp4", "matroska", "avi")  # where FFmpeg, having read the file, finds a key frame exactly

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One image of a video.

    Attributes:
        time: Seconds after the first frame.
        pixels: uint8 [height, width, 3], upright; perhaps reduced.
        size: (height, width) of the original, upright.
    """

    time: float
    pixels: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Timeline:
    """When a video's frames are shown.

    Attributes:
        stamps: Ascending, in units of `unit` seconds; positions where the file has no times.
        keys: The stamps from which decoding may start, ascending.
        unit: Seconds.
        is_timed: Whether frames carry these stamps.
    """

    stamps: Sequence[int]
    keys: Sequence[int]
    unit: float
    is_timed: bool

    @property
    def seconds(self) -> float:
        """The length; the last frame is shown as long as the others are on average."""
        num = len(self.stamps)
        return (self.stamps[-1] - self.stamps[0]) * self.unit * num / (num - 1) if num > 1 else 0.0


def is_signature(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes) is a video."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[4:8] == b"ftyp":
        return head[8:11] not in (b"M4A", b"avi", b"hei", b"mif")  # sound; AVIF and HEIF images
    return head.startswith(_SIGNATURES)


def decode_video(
    cell: object,
    root: Path,
    *,
    num_frames: int,
    frames_per_second: float | None = None,
    size_hint: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Frame]:
    """Decodes evenly spaced frames.

    The video is cut into as many stretches of equal length as frames are wanted, and the frame that is shown in the
    middle of each is taken. A shorter video gives all its frames, one that stands still fewer.

    Args:
        cell: A path (str or Path), bytes, or {"bytes": ..., "path": ...}.
        root: The folder that relative paths start from.
        num_frames: How many; with `frames_per_second` at most so many.
        frames_per_second: As many as this gives for the video's length, at least one.
        size_hint: (height, width) that is enough; larger frames may be halved, quartered and so on, never below it.
        max_pixels: A video with larger frames is refused.

    Raises:
        DecodeError: It is no video, is cut short, or a wanted frame can't be decoded.
    """
    assert num_frames >= 1
    media = locate(cell, root, "video")
    if is_raster(media.read(_HEAD)):
        moving = open_animation(
            media,
            lambda num, seconds: even_positions(num, num_requested(seconds, num_frames, frames_per_second)),
            max_pixels=max_pixels,
        )
        return [Frame(time, np.array(image.convert("RGB")), image.size[::-1]) for time, image in moving]

    def read(container: Any, reopen: Callable[[], Any], is_whole: bool) -> list[Frame]:
        stream = _stream(container, max_pixels)
        timeline = _timeline(container, stream, is_whole)
        requested = _stamps(timeline, num_requested(timeline.seconds, num_frames, frames_per_second))
        result = _decoded(container, stream, timeline, requested, max_pixels, reopen)
        first, reformatter = timeline.stamps[0], _reformatter()
        return [
            Frame((stamp - first) * timeline.unit, *_pixels(frame, reformatter, size_hint)) for stamp, frame in result
        ]

    return _with_av(media, read)


def video_info(cell: object, root: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], int, float]:
    """((height, width) of the upright frames, number of frames, seconds), from the packets and the first frame.

    Raises:
        DecodeError: As `decode_video`.
    """
    media = locate(cell, root, "video")
    if is_raster(media.read(_HEAD)):
        counted: list[tuple[int, float]] = []

        def first(num: int, seconds: float) -> list[int]:
            counted.append((num, seconds))
            return [0]

        ((_, image),) = open_animation(media, first, max_pixels=max_pixels)
        return (image.height, image.width), *counted[0]

    def read(container: Any, reopen: Callable[[], Any], is_whole: bool) -> tuple[tuple[int, int], int, float]:
        stream = _stream(container, max_pixels)
        timeline = _timeline(container, stream, is_whole)
        ((_, frame),) = _decoded(container, stream, timeline, timeline.stamps[:1], max_pixels, reopen)
        size = (frame.height, frame.width) if _quarters(frame) % 2 == 0 else (frame.width, frame.height)
        return size, len(timeline.stamps), timeline.seconds

    return _with_av(media, read)


def num_requested(seconds: float, num_frames: int, frames_per_second: float | None) -> int:
    """How many frames are wanted of a video of that length."""
    if frames_per_second is None:
        return num_frames
    return max(1, round(min(seconds * frames_per_second, float(num_frames))))


def has_only_sound(cell: object, root: Path) -> bool:
    """Whether a container holds sound and no images, as a browser's recordings do; False for what can't be read."""

    def read(container: Any, reopen: Callable[[], Any], is_whole: bool) -> bool:
        return bool(container.streams.audio) and not _image_streams(container)

    try:
        return _with_av(locate(cell, root, "video"), read)
    except DecodeError:
        return False


def _with_av(media: Media, read: Callable[[Any, Callable[[], Any], bool], T]) -> T:
    """Runs `read` on the opened container, a way to open it again, and whether the file is known to be whole; what
    FFmpeg raises becomes a DecodeError."""
    head = media.read(512)
    if not is_signature(head[:_HEAD]) and not _may_be_video(head, media):
        raise DecodeError(f"{describe_bytes(head) or 'is not a video in a known format'}, expected a video")
    import av

    errors = (
        av.FFmpegError, OSError, ValueError, EOFError, IndexError, MemoryError, OverflowError, RuntimeError,
    )  # fmt: skip
    try:
        with ExitStack() as stack:
            file = media.open()
            stack.enter_context(file)
            missing = missing_bytes(file, media.num_bytes)
            if missing:
                raise DecodeError(f"the video is cut short: the file lacks {missing:,} bytes that it states")

            def reopen() -> Any:
                file.seek(0)
                # A comment in Latin-1 is no reason to refuse the images.
                return stack.enter_context(av.open(file, metadata_errors="replace"))

            return read(reopen(), reopen, missing == 0)
    except DecodeError:
        raise
    except errors as error:
        raise DecodeError(f"the video is damaged: {reason(error)}") from None


def is_transport_stream(head: bytes) -> bool:
    """Whether a file that begins so (400 bytes) is MPEG-TS, in packets of 188 bytes, or of 192 with times (M2TS)."""
    return any(len(head) > at and all(byte == 0x47 for byte in head[at::step][:3]) for at, step in ((0, 188), (4, 192)))


def _may_be_video(head: bytes, media: Media) -> bool:
    """Containers without a signature of their own: what they hold is seen when they are opened."""
    named = media.suffix[1:] in EXTENSIONS
    return (
        is_transport_stream(head)
        or head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip")
        or (named and describe_bytes(head) is None and kind_of_bytes(head) is None)
    )


def _image_streams(container: Any) -> list[Any]:
    """The streams of images; an audio file's cover is none."""
    return [stream for stream in container.streams.video if not int(stream.disposition) & _ATTACHED]


def _stream(container: Any, max_pixels: int) -> Any:
    streams = _image_streams(container)
    if not streams:
        raise DecodeError(
            "has no video track, only audio; a column of the type audio reads it"
            if container.streams.audio
            else "holds no video"
        )
    stream = streams[0]
    if stream.codec_context is None:
        raise DecodeError("holds a video of a kind that there is no decoder for")
    stream.thread_count = 1  # a data-loading process has one core
    _check_size(stream.width, stream.height, max_pixels)
    return stream


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise DecodeError(f"states frames of {width} x {height} pixels")
    if width * height > max_pixels:
        raise DecodeError(
            f"has frames of {width:,} x {height:,} pixels, more than the limit of {max_pixels:,}; shrink them, or "
            f"raise the column's max_pixels"
        )


def _timeline(container: Any, stream: Any, is_whole: bool) -> _Timeline:
    """Walks through the packets of the file; unless it is known to be whole, what the header states must be there."""
    stamps: list[int] = []
    keys: list[int] = []
    num, is_timed, end = 0, True, 0.0
    for packet in container.demux():
        if packet.time_base is not None and packet.dts is not None:
            last = packet.dts if packet.pts is None else packet.pts
            end = max(end, float((last - (packet.stream.start_time or 0) + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index or packet.size == 0 or packet.is_discard:
            continue
        num += 1
        if num > _MAX_PACKETS:
            raise DecodeError(f"has more than {_MAX_PACKETS:,} frames; cut it into parts")
        if packet.pts is None:
            is_timed = False
        else:
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    if not num:
        raise DecodeError("holds no frames")
    is_whole = is_whole or stream.frames >= _OPEN
    if not is_whole and num < 0.98 * stream.frames - 2:
        raise DecodeError(f"the video is cut short: the header states {stream.frames:,} frames, {num:,} are there")
    stated = 0.0 if container.duration is None else container.duration / 1e6
    if not is_whole and end < 0.95 * stated - 0.25:
        raise DecodeError(f"the video is cut short: the header states {stated:.1f} s, {end:.1f} s are there")
    distinct = sorted(set(stamps))
    if not is_timed or len(distinct) < 0.5 * num:
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return _Timeline(range(num), (), 1.0 / rate, False)
    return _Timeline(distinct, sorted(set(keys)), float(stream.time_base), True)


def _stamps(timeline: _Timeline, num_frames: int) -> list[int]:
    """The stamps of the frames that are shown in the middles of equal stretches of time, each once."""
    stamps = timeline.stamps
    num, first = len(stamps), stamps[0]
    requested = min(num, num_frames)
    if num == 1:
        return [first]
    length = (stamps[-1] - first) * num  # times num - 1: whole numbers, or frame 10 of 20 may become 9
    middles = [first + (2 * i + 1) * length // (2 * requested * (num - 1)) for i in range(requested)]
    return sorted({stamps[bisect.bisect_right(stamps, middle) - 1] for middle in middles})


def _decoded(
    container: Any,
    stream: Any,
    timeline: _Timeline,
    requested: Sequence[int],
    max_pixels: int,
    reopen: Callable[[], Any],
) -> Iterator[tuple[int, Any]]:
    """The frame shown at each wanted stamp."""
    decoder = _Decoder(container, stream, timeline, reopen)
    listed: tuple[int, Any] | None = None  # the last frame that was decoded, or the one before if that is too late
    ahead: tuple[int, Any] | None = None  # the one that came too late
    for stamp in requested:
        if decoder.start_for(stamp, None if listed is None else listed[0]):
            listed = ahead = None
        while listed is None or listed[0] < stamp:
            result = ahead or decoder.next()
            ahead = None
            if result is None:
                break
            if result[0] > stamp:
                ahead = result
                if listed is None and decoder.start_over():  # the seek went too far
                    ahead = None
                    continue
                break
            listed = result
        if listed is None or not _is_near(timeline.stamps, listed[0], stamp):
            at = (stamp - timeline.stamps[0]) * timeline.unit
            raise DecodeError(f"the video is damaged: the frame at {at:.2f} s can't be decoded")
        _check_size(listed[1].width, listed[1].height, max_pixels)
        yield stamp, listed[1]


def _is_near(stamps: Sequence[int], position: int, requested: int) -> bool:
    if position == requested:
        return True
    return abs(bisect.bisect_left(stamps, position) - bisect.bisect_left(stamps, requested)) <= _NEAR


class _Decoder:
    """Frames in the order in which they are shown, from a place on."""

    def __init__(self, container: Any, stream: Any, timeline: _Timeline, reopen: Callable[[], Any]) -> None:
        self._container, self._stream, self._timeline, self._reopen = container, stream, timeline, reopen
        self._can_seek = timeline.is_timed and container.format.name.startswith(_INDEXED)
        self._frames: Iterator[Any] = iter(())
        self._position = -1

    def start_for(self, stamp: int, reached: int | None) -> bool:
        """Goes to the last key frame before a stamp if it is far ahead; whether it went anywhere."""
        if reached is None and not self._can_seek:
            return self.start_over()
        if not self._can_seek:
            return False
        stamps, keys = self._timeline.stamps, self._timeline.keys
        at = bisect.bisect_right(keys, stamp) - 1
        key = keys[at] if at >= 0 else stamps[0]
        if reached is not None and (key <= reached or _between(stamps, reached, key) < _FAR):
            return False
        self._container.seek(key, stream=self._stream, backward=True)
        self._stream.codec_context.flush_buffers()
        self._frames = self._container.decode(self._stream)
        return True

    def start_over(self) -> bool:
        """Goes to the file's beginning, once, and from there only forward; whether it did."""
        if self._position >= 0 and not self._can_seek:
            return False
        self._can_seek, self._position = False, -1
        self._container = self._reopen()
        self._stream = self._container.streams[self._stream.index]
        self._stream.thread_count = 1
        self._frames = self._container.decode(self._stream)
        return True

    def next(self) -> tuple[int, Any] | None:
        """The next frame with its stamp; None at the end."""
        for frame in self._frames:
            if self._timeline.is_timed and frame.pts is None:
                continue
            self._position += 1
            if frame.is_corrupt:
                raise DecodeError("the video is damaged: a frame is incomplete")
            return (frame.pts if self._timeline.is_timed else self._position), frame
        return None


def _between(stamps: Sequence[int], low: int, high: int) -> int:
    return bisect.bisect_left(stamps, high) - bisect.bisect_left(stamps, low)


def _quarters(frame: Any) -> int:
    """Quarter turns to the left that make a frame upright."""
    return int(round(frame.rotation / 90) % 4)


def _reformatter() -> Any:
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def _pixels(frame: Any, reformatter: Any, size_hint: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    turns = _quarters(frame)
    width, height = frame.width, frame.height
    size = (height, width) if turns % 2 == 0 else (width, height)
    if size_hint is not None:
        wide, high = size_hint[::-1] if turns % 2 == 0 else size_hint
        factor = max((f for f in (1, 2, 4, 8) if width // f >= wide and height // f >= high), default=1)
        width, height = width // factor, height // factor
    # Averaging areas, as a JPEG is reduced; the default leaves out lines when it shrinks. In one thread: starting them
    # for each frame takes 1 ms, converting a small one 0.02 ms.
    small = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
    return np.ascontiguousarray(np.rot90(small.to_ndarray(), turns)), size
