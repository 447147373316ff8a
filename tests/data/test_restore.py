"""What a model reconstructs, written as the column's other cells are."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.modalities.audio.column import AudioColumnConfig
from polysense.modalities.category.column import CategoryColumnConfig
from polysense.modalities.date.column import DateColumnConfig
from polysense.modalities.date.parse import parse_date
from polysense.modalities.date.spelling import moment_at, spell, spelling_of
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.text.column import TextColumnConfig

Fit = Callable[..., ColumnProcessor]


def _reloaded(processor: ColumnProcessor, folder: Path) -> ColumnProcessor:
    return ColumnProcessor.load(processor.save(folder), folder)


@pytest.mark.parametrize(
    ("cells", "value", "spelled", "plain"),
    [
        (["31", "42", "27"], 33.4, "33", 33),
        (["31", "42", "27"], -0.2, "0", 0),
        (["1,5", "2,25", "10"], 3.14159, "3,14", 3.14),
        ([1.5, 2.25], 3.14159, "3.14", 3.14),
        (["1,234", "5,678,901"], 1234.2, "1234", 1234),
        (["0.1234567891", "0.5"], 0.25, "0.25", 0.25),
        ([1.0, 2.0], 1.6, "2", 2),
        ([1, 2], float("nan"), None, None),
    ],
)
def test_numbers_have_the_columns_digits_and_decimal_mark(
    fit: Fit, tmp_path: Path, cells: list[object], value: float, spelled: str | None, plain: Any
) -> None:
    for processor in (fitted := fit(NumberColumnConfig(), cells), _reloaded(fitted, tmp_path / "c")):
        assert processor.restore(np.array(value, np.float32)) == spelled
        assert processor.restore(np.array(value, np.float32), spelled=False) == plain
        assert type(processor.restore(np.array(value, np.float32), spelled=False)) is type(plain)


def test_categories_are_spelled_as_the_table_does(fit: Fit, tmp_path: Path) -> None:
    fitted = fit(CategoryColumnConfig(), ["True", "True", "FALSE", " red", "red", "1.0"])
    for processor in (fitted, _reloaded(fitted, tmp_path / "c")):
        names = processor.column.categories
        found = {name: processor.restore(np.array(i)) for i, name in enumerate(names, start=1)}
        assert found == {"true": "True", "false": "FALSE", "red": "red", "1": "1.0"}
        assert processor.restore(np.array(names.index("true") + 1), spelled=False) == "true"
        assert processor.restore(np.array(0)) is None  # the unknown one is no category


def test_what_can_not_be_written_says_why(fit: Fit, tmp_path: Path) -> None:
    hashed = fit(CategoryColumnConfig(hash_buckets=8), ["a", "b"])
    assert "hashed" in str(hashed.why_unwritten)
    assert "hashed" in str(_reloaded(hashed, tmp_path / "c").why_unwritten)
    assert "several items" in str(fit(NumberColumnConfig(), [[1, 2], [3]]).why_unwritten)
    assert fit(NumberColumnConfig(), [1, 2]).why_unwritten is None


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-03-05", "2023-12-31", "1999-01-01"],
        ["25.04.2024", "01.02.2023"],
        ["25/04/2024", "01/02/2023"],
        ["04/25/2024", "01/02/2023"],
        ["4/25/24", "1/2/23"],
        ["5 March 2024", "17 May 2020"],
        ["Mar 5, 2024", "Jun 17, 2020"],
        ["2024-03-05T10:11:12Z", "2024-03-06T00:00:00Z"],
        ["2024-03-05 10:11", "2024-03-06 12:00"],
        ["10:11", "23:59"],
        ["1:05 PM", "12:30 AM", "11:59 PM"],
        ["20240305", "20231231"],
        ["1999", "2024"],
        ["1709633472", "1609633472"],
        ["1709633472000", "1609633472000"],
    ],
)
def test_a_date_is_spelled_as_its_column(fit: Fit, source: SourceInfo, tmp_path: Path, cells: list[str]) -> None:
    fitted = fit(DateColumnConfig(), cells)
    for processor in (fitted, _reloaded(fitted, tmp_path / "c")):
        for cell in cells:
            moment = parse_date(cell, fitted.column.day_first, fitted.column.unit)  # type: ignore[attr-defined]
            assert moment is not None
            assert processor.restore(np.array(moment.since_1970)) == cell


def test_a_date_without_a_known_spelling_is_iso(fit: Fit) -> None:
    processor = fit(DateColumnConfig(), ["Tuesday, 5th March 2024", "Monday, 4th March 2024"])
    assert processor.restore(np.array(19_787 * 86_400.0)) == "2024-03-05"
    assert processor.restore(np.array(19_787 * 86_400.0 + 80_000.0)) == "2024-03-06"  # the nearest day
    assert processor.restore(np.array(1e18)) is None  # no calendar has it
    assert processor.restore(np.array(float("nan"))) is None


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2068, 12, 31)))
def test_what_is_spelled_reads_back(when: datetime.datetime) -> None:
    when = when.replace(microsecond=0)
    seconds = (when - datetime.datetime(1970, 1, 1)).total_seconds()
    moment = moment_at(seconds, has_dates=True, has_times=True)
    assert moment is not None
    iso = spelling_of([(when.isoformat(" "), moment)], has_dates=True, has_times=True)
    assert spell(moment, iso) == when.isoformat(" ")
    assert parse_date(spell(moment, iso)) == moment


def test_texts_come_back_as_words(fit: Fit, source: SourceInfo, tmp_path: Path) -> None:
    cells = ["the red box", "the blue box", "a red ball", "the red ball and the blue box"] * 3
    for config in (TextColumnConfig(), TextColumnConfig(tokens="words")):
        processor = fit(config, cells)
        (ids,) = processor.transform("the blue ball", source, tmp_path)
        padded = np.pad(ids.astype(np.int64), (0, 5), constant_values=processor.column.padding_id)
        assert processor.restore(padded) == "the blue ball"
        assert processor.restore(np.full(5, processor.column.padding_id)) is None


def test_a_list_of_words_stays_one(fit: Fit, source: SourceInfo, tmp_path: Path) -> None:
    processor = fit(TextColumnConfig(tokens="words", words=True), [["red", "box"], ["red", "ball"], ["box", "ball"]])
    (ids,) = processor.transform(["ball", "box"], source, tmp_path)
    assert processor.restore(ids.astype(np.int64)) == ["ball", "box"]


def test_no_sound_is_made_of_a_spectrogram(fit: Fit, tmp_path: Path) -> None:
    file = BytesIO()
    soundfile.write(file, np.zeros(800, np.int16), 8000, format="WAV")
    fitted = fit(AudioColumnConfig(), [file.getvalue()] * 2)
    for processor in (fitted, _reloaded(fitted, tmp_path / "c")):
        assert (
            processor.why_unwritten
            == "audio is reconstructed as a spectrogram, which is not converted back into a waveform"
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_become_png_files(fit: Fit, source: SourceInfo, tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3)[: 3 if channels == 3 else 2], dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    processor = fit(ImageColumnConfig(), [file.getvalue()] * 2)
    (item,) = processor.transform(file.getvalue(), source, tmp_path)
    cell = processor.restore(item.astype(np.float32) / 255)
    assert isinstance(cell, bytes)
    assert np.array_equal(np.asarray(Image.open(BytesIO(cell))), pixels)
    assert isinstance(processor.restore(np.full_like(item, 9.0, dtype=np.float32)), bytes)  # clipped, never wrapped
