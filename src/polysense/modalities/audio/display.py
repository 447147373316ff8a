"""A recording as a person hears it: the file itself where browsers play its format, else as WAV."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path

import soundfile

from polysense.core.display import CellDisplay, DisplayFile, DisplayMedia
from polysense.core.modality_spec import parts
from polysense.data.media.media import Media, locate
from polysense.modalities.audio.decode import audio_info, decode_audio

__all__ = ["display_audio"]

_HEAD = 32
_RATE = 16_000  # samples per second of what has no rate of its own
_BLOCK = 65_536  # samples
_WAVE_FORMATS = (1, 3, 0xFFFE)  # PCM, floats, and either with a longer header
_SIGNATURES = (
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "audio/webm"),
)


def display_audio(cell: object, root: Path) -> CellDisplay:
    """Every clip of a cell; see `ModalitySpec.display`."""
    clips = parts(cell)
    for clip in clips:
        if not _is_array(clip):
            locate(clip, root, "audio")
    return CellDisplay(media=[DisplayMedia(element="audio", read=partial(_read, clip, root)) for clip in clips])


def _is_array(clip: object) -> bool:
    return isinstance(clip, dict) and clip.get("array") is not None


def _read(clip: object, root: Path) -> DisplayFile:
    if not _is_array(clip):
        media = locate(clip, root, "audio")
        media_type = _played(media)
        if media_type is not None:
            path = media.path if media.is_whole_file else None
            return DisplayFile(media_type=media_type, path=path, data=None if path else media.read())
    rate = _RATE if _is_array(clip) else audio_info(clip, root)[0]
    samples = decode_audio(clip, root, sample_rate=rate)
    file = BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format="WAV", subtype="PCM_16") as out:
        for start in range(0, len(samples), _BLOCK):
            out.write(samples[start : start + _BLOCK])
    return DisplayFile(media_type="audio/wav", data=file.getvalue())


def _played(media: Media) -> str | None:
    """The type of a file that every browser plays; None of another."""
    head = media.read(_HEAD)
    if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt ":
        return "audio/wav" if int.from_bytes(head[20:22], "little") in _WAVE_FORMATS else None
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:  # layer III
        return "audio/mpeg"
    return next((name for start, name in _SIGNATURES if head.startswith(start)), None)
