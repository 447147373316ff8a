"""MP3 files, frame by frame: how many there are, against what the first one states.

An encoder may write the number of frames and bytes into the first frame (Xing, Info). Where that is wrong, or not
there, libsndfile stops early or reports a file cut short that is none; counting the frames' headers costs a hundredth
of decoding them, and tells which it is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from polysense.data.media.media import Stream

__all__ = ["Frames", "count_frames"]

_BIT_RATES = {  # by (version 1, layer), in kbit/s
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_ID3V1 = 128
_BLOCK = 2**16  # bytes
_SLACK = 0.01  # of the bytes, by which the stated number may be off: tags are counted by some and not by others


@dataclass(frozen=True)
class Frames:
    """What an MP3 file holds and states.

    Attributes:
        count: Whole frames with sound.
        stated: Frames by the first one; None where it does not say.
        stated_bytes: Likewise bytes.
        present_bytes: Bytes from the first frame to the file's end.
        samples_per_frame: Samples that a frame becomes.
    """

    count: int
    stated: int | None
    stated_bytes: int | None
    present_bytes: int
    samples_per_frame: int

    @property
    def agree(self) -> bool:
        """Whether what is stated is what is there."""
        if self.stated_bytes and abs(self.present_bytes - self.stated_bytes) > _SLACK * self.stated_bytes:
            return False
        return self.stated is not None and abs(self.stated - self.count) <= 1

    @property
    def is_truncated(self) -> bool:
        """Whether the file was cut short: bytes lack, or where none are stated, frames."""
        if self.stated_bytes:
            return self.present_bytes < (1 - _SLACK) * self.stated_bytes - 2 * _ID3V1
        return self.stated is not None and self.count < (1 - _SLACK) * self.stated - 2


def count_frames(file: Stream, num_bytes: int) -> Frames | None:
    """Walks through a file from header to header; None if it does not begin with a frame.

    Args:
        file: Its position is moved.
        num_bytes: The file's length.
    """
    start = 0
    while (tag := _at(file, start, 10))[:3] == b"ID3" and len(tag) == 10:
        size = 0
        for part in tag[6:]:
            size = size << 7 | part & 0x7F
        start += 10 + size + (10 if tag[5] & 0x10 else 0)
    start = _after_zeros(file, start)  # padding after a tag
    first = _header(_at(file, start, 4))
    if first is None:
        return None
    end = num_bytes
    if num_bytes >= _ID3V1 and _at(file, num_bytes - _ID3V1, 3) == b"TAG":
        end -= _ID3V1
    length, samples, side = first
    frames, stated_bytes, has_info = _info(_at(file, start, length)[: end - start], side)
    at, count = start, -1 if has_info else 0
    while True:
        header = _header(_at(file, at, min(4, max(end - at, 0))))
        if header is None or at + header[0] > end:
            return Frames(count, frames, stated_bytes, end - start, samples)
        at, count = at + header[0], count + 1


def _at(file: Stream, position: int, num_bytes: int) -> bytes:
    file.seek(position)
    return file.read(num_bytes)


def _after_zeros(file: Stream, start: int) -> int:
    """The position of the first byte from `start` on that is not 0; else the file's end."""
    file.seek(start)
    while block := file.read(_BLOCK):
        start += len(block) - len(block.lstrip(b"\0"))
        if block.strip(b"\0"):
            break
    return start


def _header(data: bytes) -> tuple[int, int, int] | None:
    """(bytes, samples, where the information would stand) of the frame with these first 4 bytes; None if it is none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    rate, frequency = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return None
    bits, hertz = _BIT_RATES[version == 3, layer][rate] * 1000, _SAMPLE_RATES[version][frequency]
    padding = data[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4, 384, 0
    samples = 1152 if layer == 2 or version == 3 else 576
    is_mono = data[3] >> 6 == 3
    side = (17 if is_mono else 32) if version == 3 else (9 if is_mono else 17)
    return samples // 8 * bits // hertz + padding, samples, 4 + side


def _info(frame: bytes, at: int) -> tuple[int | None, int | None, bool]:
    """(frames, bytes, whether it is there): what the first frame states."""
    if frame[at : at + 4] not in (b"Xing", b"Info") or len(frame) < at + 16:
        return None, None, frame[36:40] == b"VBRI"
    (flags,) = struct.unpack(">I", frame[at + 4 : at + 8])
    position, values = at + 8, []
    for bit in (1, 2):
        if flags & bit:
            values.append(struct.unpack(">I", frame[position : position + 4])[0])
            position += 4
        else:
            values.append(None)
    return values[0] or None, values[1] or None, True
