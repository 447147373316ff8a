"""A toy speech translation: numbers spoken digit by digit in English, written in Greek words.

"three, zero, five" is «τριακόσια πέντε»: what a digit becomes depends on its place, so a digit heard is no word that is
written, a zero becomes nothing, and "one, five" is the one word «δεκαπέντε». The recordings are the demo's, put one
after the other in light noise.

What is held out is both: no number and no voice of the test split occurs in the training split. 999 numbers and some
sixty voices (each says every digit twice) make half a million recordings.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from polysense.core import random
from polysense.data.demo.assets import Speech, read_speech
from polysense.data.demo.degrade import degrade_speech
from polysense.errors import UserError
from toys.translation import greek_number

__all__ = ["LARGEST", "make_spoken_numbers", "say"]

LARGEST = 999
"""Numbers go from 1 to this."""

_NEUTER = 2
_PAUSE = (0.05, 0.25)  # seconds between two digits
_SNR = (15.0, 30.0)  # decibels: the demo's noise makes digits a riddle, here they are to be translated
_SPLITS = ("train",) * 8 + ("validation",) + ("test",)


def say(digits: str, speech: Speech, voice: int, draws: np.random.Generator) -> np.ndarray:
    """A voice says digits, with pauses, in light noise; int16 [samples].

    Args:
        digits: "305".
        speech: The recordings.
        voice: Who, a position in `speech.voices`.
        draws: Which of its recordings, the pauses and the noise.
    """
    parts: list[np.ndarray] = []
    for digit in digits:
        fitting = np.flatnonzero((speech.voice == voice) & (speech.digit == int(digit)))
        pause = np.zeros(int(draws.uniform(*_PAUSE) * speech.sample_rate), dtype=np.int16)
        parts += [pause, speech.wave(int(draws.choice(fitting)))]
    return degrade_speech(np.concatenate(parts[1:]), draws, snr=_SNR)


def make_spoken_numbers(folder: str | Path, *, seed: int = 0, num_rows: int = 2_000) -> Path:
    """Writes the table and its recordings.

    Args:
        folder: Where to write; made if it is not there.
        seed: Which numbers, voices and noise; the same seed and number of rows give the same bytes.
        num_rows: Rows of all splits together, 10 to 50,000: 80% train, 10% validation, 10% test.

    Returns:
        The path of spoken_numbers.csv, with the columns audio (WAV, 8 kHz), greek and split.

    Raises:
        UserError: `num_rows` is out of range, or the folder can't be written.
    """
    if not 10 <= num_rows <= 50_000:
        raise UserError(f"the spoken numbers can have 10 to 50,000 rows, not {num_rows:,}: choose another num_rows")
    speech = read_speech()
    # Dealt by tens, so that every split has its share of both.
    splits = np.array(_SPLITS)
    number_splits = splits[random.permutation(LARGEST, seed, "spoken numbers") % len(splits)]
    voice_splits = splits[random.permutation(len(speech.voices), seed, "spoken voices") % len(splits)]
    folder = Path(folder)
    rows = []
    try:
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        for row in range(num_rows):
            draws = random.generator(seed, "spoken row", row)
            split = _SPLITS[row % len(_SPLITS)]
            number = 1 + int(draws.choice(np.flatnonzero(number_splits == split)))
            voice = int(draws.choice(np.flatnonzero(voice_splits == split)))
            path = f"audio/{row:05d}.wav"
            soundfile.write(folder / path, say(str(number), speech, voice, draws), speech.sample_rate, subtype="PCM_16")
            rows.append([path, greek_number(number, _NEUTER), split])
        table = folder / "spoken_numbers.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["audio", "greek", "split"])
            writer.writerows(rows)
    except OSError as error:
        raise UserError(
            f"the spoken numbers can't be written to {folder}: {error}; name a folder that can be written"
        ) from error
    return table
