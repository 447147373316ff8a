"""Writes the demo's table: spoken handwritten digits, with a note, in a folder like a user's own.

The idea: the data of the demo reach polysense by the same door as everybody's, a CSV with paths. Each row joins a
handwritten digit, an audio clip of the same digit and a note about it, each spoiled for its own reasons, with cells
missing in all three columns. The test split's voices are heard nowhere else.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from polysense.core import random
from polysense.core.files import write_bytes, write_text
from polysense.data.demo.assets import Speech, read_digits, read_speech
from polysense.data.demo.degrade import degrade_image, degrade_speech
from polysense.data.demo.notes import write_note
from polysense.errors import UserError

__all__ = ["MISSING", "NUM_ROWS", "make_demo"]

NUM_ROWS = 1797
"""As many rows as there are handwritten digits: each is used once."""

MISSING = {"image": 0.05, "audio": 0.08, "note": 0.40}  # not a kind: columns of the demo table
"""The share of empty cells in each column, rounded up to whole cells."""

# Of every ten rows of a digit, and of every ten voices. A large test split, because the demo compares four models by
# it: 539 rows make the standard error of an accuracy of 70% two points.
_SPLITS = ("train",) * 6 + ("validation",) + ("test",) * 3

_README = """# Spoken handwritten digits

{num} rows of a table with a picture, a recording and a note about the same digit, as `polysense demo` makes them
(seed {seed}).

- `data.csv`: `image` (PNG, 28 x 28, gray), `audio` (WAV, {rate} Hz, mono), `note` (English text), `label` (0 to 9) and
  `split` (train, validation, test).
- `provenance.csv`, not meant for training: for each row of data.csv, counted from 0, which handwritten digit it shows
  and which voice speaks.

The pictures are blurred and noisy, with a square erased; the recordings lie in noise; the notes are vague, mistyped and
sometimes wrong. Cells are empty on purpose: {missing}. No voice is in two splits.

Handwriting: Alpaydin, E. and Kaynak, C. (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49, CC BY 4.0, enlarged and spoiled here. Speech: synthesized with espeak-ng;
no person was recorded.
"""


def _deal(order: np.ndarray) -> np.ndarray:
    """Gives each position in `order` a split, by tens, so that every stretch of it has the same shares; str [n]."""
    names = np.empty(len(order), dtype=object)
    names[order] = np.resize(np.array([_SPLITS[i] for i in (0, 6, 7, 1, 8, 2, 3, 9, 4, 5)], dtype=object), len(order))
    return names


def _choose_clips(labels: np.ndarray, splits: np.ndarray, speech: Speech, seed: int) -> np.ndarray:
    """An audio clip for every row: of its digit, by a voice of its split, none twice before all were used once."""
    voice_splits = _deal(random.permutation(len(speech.voices), seed, "demo voices"))
    chosen = np.empty(len(labels), dtype=np.int64)
    for split in dict.fromkeys(_SPLITS):
        for digit in range(10):
            rows = np.flatnonzero((splits == split) & (labels == digit))
            fitting = np.flatnonzero((speech.digit == digit) & (voice_splits[speech.voice] == split))
            order = random.permutation(len(fitting), seed, "demo recordings", split, digit)
            chosen[rows] = np.resize(fitting[order], len(rows))
    return chosen


def _choose_missing(num_rows: int, column: str, seed: int) -> np.ndarray:
    """Which cells of a column stay empty; bool [num_rows]."""
    missing = np.zeros(num_rows, dtype=bool)
    missing[random.permutation(num_rows, seed, "demo missing", column)[: int(np.ceil(MISSING[column] * num_rows))]] = (
        True
    )
    return missing


def make_demo(folder: str | Path, *, seed: int = 0, num_rows: int = NUM_ROWS) -> Path:
    """Writes the demo's table and its media.

    The same seed and number of rows give the same bytes; another version of Pillow may pack the same pixels otherwise.
    Files of the same names are overwritten.

    Args:
        folder: Where to write; made if it is not there.
        seed: Which table; it decides on everything, the splits' voices included.
        num_rows: Rows of all splits together, 30 to 1,797: 60% train, 10% validation, 30% test.

    Returns:
        The path of data.csv, with the columns image, audio, note, label and split; paths in it are relative to it.

    Raises:
        UserError: `num_rows` is out of range, or the folder can't be written.
    """
    if not 30 <= num_rows <= NUM_ROWS:
        raise UserError(f"the demo's table can have 30 to {NUM_ROWS:,} rows, not {num_rows:,}: choose another num_rows")
    folder = Path(folder)
    try:
        for name in ("image", "audio"):  # not a kind
            (folder / name).mkdir(parents=True, exist_ok=True)
        return _write(folder, seed, num_rows)
    except OSError as error:
        raise UserError(
            f"the demo's table can't be written to {folder}: {error}; name a folder that can be written"
        ) from error


def _write(folder: Path, seed: int, num_rows: int) -> Path:
    images, all_labels = read_digits()
    speech = read_speech()
    chosen = random.permutation(len(images), seed, "demo rows")[:num_rows]
    labels = all_labels[chosen]
    splits = _deal(np.argsort(labels, kind="stable"))
    clips = _choose_clips(labels, splits, speech, seed).tolist()
    missing = {column: _choose_missing(num_rows, column, seed) for column in MISSING}

    rows, provenance = [], []
    for row in range(num_rows):
        cells = {"image": "", "audio": "", "note": ""}  # not a kind
        if not missing["image"][row]:
            cells["image"] = f"image/{row:04d}.png"
            image = degrade_image(images[chosen[row]], random.generator(seed, "demo picture", row))
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            write_bytes(folder / cells["image"], content.getvalue(), durable=False)  # can be made again
        if not missing["audio"][row]:
            cells["audio"] = f"audio/{row:04d}.wav"
            wave = degrade_speech(speech.wave(clips[row]), random.generator(seed, "demo speech", row))
            content = io.BytesIO()
            soundfile.write(content, wave, speech.sample_rate, format="WAV", subtype="PCM_16")
            write_bytes(folder / cells["audio"], content.getvalue(), durable=False)
        if not missing["note"][row]:
            cells["note"] = write_note(int(labels[row]), random.generator(seed, "demo note", row))
        rows.append([*cells.values(), int(labels[row]), splits[row]])
        provenance.append([row, int(chosen[row]), speech.voices[speech.voice[clips[row]]]])

    _write_csv(folder / "data.csv", ["image", "audio", "note", "label", "split"], rows)  # not a kind
    _write_csv(folder / "provenance.csv", ["row", "handwritten", "voice"], provenance)
    shares = ", ".join(f"{share:.0%} of `{column}`" for column, share in MISSING.items())
    readme = _README.format(num=f"{num_rows:,}", seed=seed, rate=f"{speech.sample_rate:,}", missing=shares)
    write_text(folder / "README.md", readme)
    return folder / "data.csv"


def _write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
