"""Columns as their own target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError
from polysense.modalities.category.column import CategoryColumnConfig
from polysense.modalities.number.column import NumberColumnConfig
from polysense.tasks.reconstruction.target import ReconstructionTargetConfig

ROWS = [{"age": "3", "town": "Rome"}, {"age": "", "town": "Oslo"}, {"age": "5", "town": ""}, {"age": "", "town": ""}]


def config(**settings: object) -> DataConfig:
    return DataConfig(
        columns={"age": NumberColumnConfig(), "place": CategoryColumnConfig(column="town")},
        targets={"whole": ReconstructionTargetConfig(**settings)},  # type: ignore[arg-type]
    )


def test_all_columns_by_default_and_the_truth_is_which_are_there() -> None:
    processor = Processor.fit(read_table(ROWS), config())
    target = processor.targets["whole"].target
    assert target.task == "reconstruction"
    assert target.members == ("age", "place")
    assert target.columns == ("age", "town")
    assert target.num_rows == 3
    found = [processor.transform(read_table(ROWS), i, with_targets=True).targets.get("whole") for i in range(4)]
    assert [None if each is None else each.tolist() for each in found] == [[1, 1], [0, 1], [1, 0], None]
    loaded = TargetProcessor.load(processor.targets["whole"].save())
    assert loaded.target == target
    assert np.array_equal(loaded.transform(read_table(ROWS), 1), found[1])  # type: ignore[arg-type]


def test_some_columns() -> None:
    assert Processor.fit(read_table(ROWS), config(columns=("place",))).targets["whole"].target.members == ("place",)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(Exception, match="'nobody' is no input column"):
        config(columns=("nobody",))
    for columns in ((), ("age", "age")):
        with pytest.raises(ValueError, match="one or more different ones"):
            config(columns=columns)
    empty = [{"age": "", "town": ""}, {"age": "", "town": ""}]
    with pytest.raises(ColumnError, match="empty in all training rows"):
        Processor.fit(read_table(empty), config())


def test_hashed_categories_are_read_and_not_restored(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    hashed = DataConfig(
        columns={"age": NumberColumnConfig(), "place": CategoryColumnConfig(column="town", hash_buckets=8)},
        targets={"whole": ReconstructionTargetConfig()},
    )
    processor = Processor.fit(read_table(ROWS), hashed)
    target = processor.targets["whole"]
    assert processor.schema.target("whole").members == target.target.members == ("age",)
    assert target.columns == target.target.columns == ("age",)
    assert processor.schema.names == ("age", "place")
    assert caplog.text.count("read and not reconstructed: place: its categories are hashed") == 1
    found = [processor.transform(read_table(ROWS), i, with_targets=True).targets.get("whole") for i in range(4)]
    assert [None if each is None else each.tolist() for each in found] == [[1], None, [1], None]
    # Said once, when it is learned, and not whenever it is loaded.
    processor.save(tmp_path)
    assert Processor.load(tmp_path).targets["whole"].target == target.target
    assert caplog.text.count("read and not reconstructed") == 1
    with pytest.raises(ColumnError, match=r"can be reconstructed \(place: its categories are hashed"):
        Processor.fit(read_table(ROWS), replace(hashed, targets={"w": ReconstructionTargetConfig(columns=("place",))}))
