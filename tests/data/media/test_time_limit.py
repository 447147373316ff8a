"""Cells whose decoders hang: given up in time, listed, and no other row is lost. What hangs here is no Python."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from polysense.config.codec import from_dict
from polysense.data.batches.dataset import TableDataset
from polysense.data.config import DataConfig
from polysense.data.media import time_limit
from polysense.data.media.time_limit import decode_seconds, watched, within_limit
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ColumnError, ConfigError, DecodeError
from polysense.modalities.image import column as image_column

LIMIT = 0.4


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSENSE_DECODE_SECONDS", str(LIMIT))
    monkeypatch.setattr(time_limit, "_given_up", {})


def hang() -> None:
    time.sleep(60)  # which no exception ends, as no loop in C


def test_what_hangs_is_given_up_once_and_the_rest_is_done() -> None:
    begun = []

    def decode(number: int) -> int:
        begun.append(number)
        if number == 2:
            hang()
        return number

    def read(number: int) -> int | str:
        try:
            return within_limit(lambda: decode(number), f"cell {number}")
        except DecodeError as error:
            return str(error)

    start = time.monotonic()
    results = watched(lambda: [read(i) for i in range(4)])
    assert LIMIT < time.monotonic() - start < 5
    assert results[:2] + results[3:] == [0, 1, 3]
    assert "takes longer than 0.4 seconds to decode" in str(results[2])
    assert begun.count(2) == 1
    with pytest.raises(DecodeError, match="takes longer"):
        within_limit(lambda: decode(2), "cell 2")
    assert time.monotonic() - start < 5


def test_slow_work_of_quick_cells_is_not_ended() -> None:
    def quick(i: int) -> int:
        return within_limit(lambda: time.sleep(LIMIT / 4) or i, i)

    assert watched(lambda: [quick(i) for i in range(8)]) == list(range(8))


def test_errors_and_loops_of_python_end_as_they_are() -> None:
    with pytest.raises(KeyError, match="own"):
        watched(lambda: {}["own"])
    ended = []

    def loop() -> None:
        try:
            while True:
                time.sleep(0.01)
        finally:
            ended.append(True)

    with pytest.raises(DecodeError, match="takes longer"):
        within_limit(loop, "loop")
    time.sleep(0.2)
    assert ended, "what comes back to Python is ended"


def test_without_a_limit_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSENSE_DECODE_SECONDS", "0")
    assert within_limit(lambda: time_limit._local.progress, "cell") is None
    monkeypatch.setenv("POLYSENSE_DECODE_SECONDS", "what")
    with pytest.raises(ConfigError, match="POLYSENSE_DECODE_SECONDS: found 'what', expected a duration"):
        decode_seconds()
    monkeypatch.setenv("POLYSENSE_DECODE_SECONDS", "2m")
    assert decode_seconds() == 120


def picture(level: int) -> bytes:
    file = BytesIO()
    Image.new("L", (8, 8), level).save(file, "PNG")
    return file.getvalue()


def test_a_row_whose_decoder_hangs_is_listed_and_no_other_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(picture(40 * i))
    cells = [f"{i}.png" for i in range(6)]
    table = read_table({"photo": cells, "label": ["x", "y"] * 3}, root=tmp_path)
    plain = {"columns": {"photo": {"type": "image"}}, "targets": {"label": {"type": "classification"}}}
    config = from_dict(DataConfig, plain)
    processor = Processor.fit(table, config)
    whole = TableDataset(table, processor).__getitems__(range(6))
    original = image_column.open_upright

    def opened(cell: Any, *args: Any, **options: Any) -> Any:
        if cell == "3.png":
            hang()
        return original(cell, *args, **options)

    monkeypatch.setattr(image_column, "open_upright", opened)
    samples = TableDataset(table, processor).__getitems__(range(6))
    assert [each.values.keys() for each in samples] == [{"photo"}] * 3 + [set()] + [{"photo"}] * 2
    (unreadable,) = samples[3].unreadable
    assert (unreadable.source.row, unreadable.source.file) == (3, "3.png")
    assert "takes longer than 0.4 seconds" in unreadable.reason
    for i in (0, 1, 2, 4, 5):
        assert (samples[i].values["photo"][0] == whole[i].values["photo"][0]).all()
    # What is learned of training cells leaves it out, and alone it is an error that says so.
    others = Processor.fit(table.select([0, 1, 2, 4, 5]), config)
    assert Processor.fit(table, config).columns["photo"].column == others.columns["photo"].column
    with pytest.raises(ColumnError, match="row 3: takes longer than"):
        Processor.fit(table.select([3]), from_dict(DataConfig, {"columns": plain["columns"]}))
