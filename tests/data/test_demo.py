"""The demo's assets are small and complete, and its table is what its README promises, the same bytes each time."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from polysense.core import random
from polysense.data import demo
from polysense.data.demo.assets import read_digits, read_speech
from polysense.data.demo.degrade import degrade_image, degrade_speech
from polysense.data.demo.notes import write_note
from polysense.data.demo.table import MISSING, NUM_ROWS, make_demo
from polysense.errors import UserError

ASSETS = Path(demo.__file__).parent


def read_rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo"), num_rows=300)


def test_the_assets_fit_in_four_megabytes_and_their_licenses_are_noted() -> None:
    assets = [path for path in ASSETS.iterdir() if path.is_file() and path.suffix not in {".py", ".pyc"}]
    assert {path.name for path in assets} == {"ATTRIBUTION.md", "digits.npz", "speech.flac", "speech.json"}
    assert sum(path.stat().st_size for path in assets) < 4_000_000
    attribution = (ASSETS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for name in ("digits.npz", "speech.flac", "CC BY 4.0", "Alpaydin", "espeak-ng", "make_demo_speech.py"):
        assert name in attribution


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    images, labels = read_digits()
    expected = load_digits()
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(labels, expected.target)
    assert images.dtype == np.uint8


def test_every_voice_says_every_digit_twice_and_recordings_do_not_overlap() -> None:
    speech = read_speech()
    assert speech.sample_rate == 8000
    assert len(set(speech.voices)) == len(speech.voices) >= 60
    # A variant of espeak-ng is a throat: it serves one voice only, or a held-out voice would not be an unseen one.
    assert len({voice.split("+")[1] for voice in speech.voices}) == len(speech.voices)
    pairs, counts = np.unique(np.stack([speech.voice, speech.digit]), axis=1, return_counts=True)
    assert pairs.shape[1] == 10 * len(speech.voices)
    assert (counts == 2).all()
    np.testing.assert_array_equal(speech.start, np.concatenate([[0], np.cumsum(speech.length)[:-1]]))
    assert speech.start[-1] + speech.length[-1] == len(speech.samples)
    peaks = [int(np.abs(speech.wave(i).astype(np.int64)).max()) for i in range(len(speech))]
    assert min(peaks) == max(peaks) == 127 << 8
    assert 0.15 < speech.length.min() / 8000 <= speech.length.max() / 8000 < 1.5


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_table(tmp_path: Path) -> None:
    first = read_bytes(make_demo(tmp_path / "a", num_rows=40).parent)
    again = read_bytes(make_demo(tmp_path / "b", num_rows=40).parent)
    other = read_bytes(make_demo(tmp_path / "c", seed=1, num_rows=40).parent)
    assert first == again
    assert len(first) > 70
    for name in ("data.csv", "provenance.csv", *sorted(set(first) & set(other) - {"README.md"})):
        assert first[name] != other[name], name


def test_every_row_is_readable_and_paths_are_relative(table: Path) -> None:
    rows = read_rows(table)
    assert len(rows) == 300
    assert list(rows[0]) == ["image", "audio", "note", "label", "split"]
    assert {row["label"] for row in rows} == {str(digit) for digit in range(10)}
    for row in rows:
        if row["image"]:
            with Image.open(table.parent / row["image"]) as image:
                assert (image.size, image.mode, image.format) == ((28, 28), "L", "PNG")
        if row["audio"]:
            wave, rate = soundfile.read(table.parent / row["audio"], dtype="int16")
            assert rate == 8000
            assert wave.ndim == 1
            assert 0.2 < len(wave) / rate < 2.0
            assert np.abs(wave.astype(np.int64)).max() > 8000
    for name in ("image", "audio"):
        generated = {f"{name}/{path.name}" for path in (table.parent / name).iterdir()}
        assert generated == {row[name] for row in rows if row[name]}


def test_cells_are_missing_as_promised(table: Path) -> None:
    rows = read_rows(table)
    for column, share in MISSING.items():
        assert sum(not row[column] for row in rows) == math.ceil(share * len(rows))
    for split in ("train", "validation", "test"):
        notes = [row["note"] for row in rows if row["split"] == split]
        assert any(notes)
        assert not all(notes)
    assert all(row["label"] and row["split"] for row in rows)


def test_splits_have_their_shares_of_every_digit(table: Path) -> None:
    rows = read_rows(table)
    for split, share in (("train", 0.6), ("validation", 0.1), ("test", 0.3)):
        assert sum(row["split"] == split for row in rows) == pytest.approx(share * 300, abs=1)
        for digit in range(10):
            of_digit = [row for row in rows if row["label"] == str(digit)]
            assert sum(row["split"] == split for row in of_digit) == pytest.approx(share * len(of_digit), abs=2)


@pytest.mark.parametrize("seed", [0, 7])
def test_no_voice_and_no_picture_is_in_two_splits(tmp_path: Path, seed: int) -> None:
    table = make_demo(tmp_path, seed=seed, num_rows=150)
    rows, origins = read_rows(table), read_rows(tmp_path / "provenance.csv")
    assert [int(origin["row"]) for origin in origins] == list(range(150))
    assert len({origin["handwritten"] for origin in origins}) == 150
    labels = read_digits()[1]
    assert [row["label"] for row in rows] == [str(labels[int(origin["handwritten"])]) for origin in origins]
    voices = {
        split: {origin["voice"] for row, origin in zip(rows, origins, strict=True) if row["split"] == split}
        for split in ("train", "validation", "test")
    }
    assert all(len(names) >= 4 for names in voices.values())
    assert not voices["train"] & voices["validation"]
    assert not voices["train"] & voices["test"]
    assert not voices["validation"] & voices["test"]


def test_the_folder_says_what_it_is_and_credits_its_sources(table: Path) -> None:
    readme = (table.parent / "README.md").read_text(encoding="utf-8")
    for text in ("300 rows", "seed 0", "5% of `image`, 8% of `audio`, 40% of `note`", "CC BY 4.0", "espeak-ng"):
        assert text in readme


@pytest.mark.parametrize("num_rows", [0, 29, NUM_ROWS + 1])
def test_a_number_of_rows_out_of_range_is_refused(tmp_path: Path, num_rows: int) -> None:
    with pytest.raises(UserError, match=r"30 to 1,797 rows"):
        make_demo(tmp_path, num_rows=num_rows)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="taken"):
        make_demo(tmp_path / "taken", num_rows=30)


def test_speech_lies_in_noise_of_the_stated_power() -> None:
    # A loud tone: at 20 dB nine tenths of the result is the tone, at -20 dB next to nothing.
    tone = (20000 * np.sin(2 * np.pi * 1000 / 8000 * np.arange(4000))).astype(np.int16)
    for snr in (20.0, 0.0, -20.0):
        result = degrade_speech(tone, random.generator("snr", int(snr)), snr=(snr, snr), pad=(0, 0)).astype(np.float64)
        correlation = np.corrcoef(result, tone)[0, 1]
        ratio = 10 * np.log10(correlation**2 / (1 - correlation**2))
        assert ratio == pytest.approx(snr, abs=2.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.integers(4, 20))
def test_a_square_of_the_picture_is_erased(seed: int, side: int) -> None:
    ink = np.full((8, 8), 16, dtype=np.uint8)
    result = degrade_image(ink, random.generator("erase", seed), erase=(side, side), noise=0.0)
    assert result.shape == (28, 28)
    assert result.dtype == np.uint8
    rows, columns = np.nonzero(result == 0)
    assert len(rows) == side * side
    assert np.ptp(rows) == np.ptp(columns) == side - 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), digit=st.integers(0, 9))
def test_notes_are_short_plain_text(seed: int, digit: int) -> None:
    note = write_note(digit, random.generator("note", seed))
    assert note == note.strip()
    assert 0 < len(note) < 60
    assert note.isascii()
    assert "{" not in note


def test_notes_name_the_digit_more_often_than_another_but_not_always() -> None:
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    named = dict.fromkeys(range(10), 0)
    for seed in range(1000):
        note = write_note(3, random.generator("note", seed)).replace("?", " ").replace(",", " ").split()
        for digit, word in enumerate(words):
            named[digit] += word in note or str(digit) in note
    assert 550 < named[3] < 850
    assert all(10 < count < 200 for digit, count in named.items() if digit != 3)
