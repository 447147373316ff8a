"""Which cells are the same, who has a pair, and what a recipe may name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.collate import collate
from polysense.data.config import DataConfig
from polysense.data.tables.sources import read_table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError, PolysenseError
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.record import TextColumn
from polysense.tasks.retrieval.target import ContrastiveTargetConfig, cell_key


def test_cells_that_are_the_same_have_one_key() -> None:
    assert cell_key("A dog\n runs") == cell_key("a  dog runs ")
    assert cell_key("cafe\u0301") == cell_key("caf\u00e9")
    assert cell_key("a dog") != cell_key("a dog.")
    assert cell_key("a.png") != cell_key("A.png"), "two files"
    assert cell_key(b"abc") == cell_key(b"abc") != cell_key(b"abd")
    assert cell_key({"bytes": b"abc", "path": None}) == cell_key(b"abc")
    assert len({cell_key(cell) for cell in (["a", "b"], ["ab"], '["a", "b"]')}) == 3
    assert cell_key(3) != cell_key(4)
    for nothing in (None, "", "  ", "NA", float("nan"), {"bytes": None, "path": None}):
        assert cell_key(nothing) == 0
    assert cell_key("a dog") == -4081912340589182210, "the same in every process and version"


def test_a_row_has_a_key_for_each_column() -> None:
    frame = pl.DataFrame(
        {"photo": ["1.png", "2.png", "1.png", None], "text": ["one", "two", None, "one"], "kind": ["x", "y", "y", None]}
    )
    table = read_table(frame)
    config = ContrastiveTargetConfig(columns=("photo", "text"), anchor="text", same="kind")
    processor = config.build("space")
    target = processor.fit(table)
    assert (target.task, target.columns, target.members, target.anchor) == (
        "retrieval", ("photo", "text", "kind"), ("photo", "text"), "text",
    )  # fmt: skip
    assert (target.num_rows, len(target.columns)) == (2, 3)
    found = [processor.transform(table, i) for i in range(4)]
    keys = np.array(found)
    assert keys[0, 0] == keys[2, 0] != keys[1, 0]
    assert keys[0, 1] == keys[3, 1]
    assert keys[1, 2] == keys[2, 2]
    assert (keys == 0).tolist() == [[False] * 3, [False] * 3, [False, True, False], [True, False, True]]
    schema = Schema(columns=(TextColumn(name="text", vocabulary_size=10),), targets=(target,))
    samples = [Sample(row=i, targets={"space": keys[i]}) for i in range(4)]
    batch = collate([*samples, Sample(row=4)], schema).truths["space"]
    assert batch.values.tolist() == [*keys.tolist(), [0, 0, 0]]
    assert batch.present.tolist() == [True, True, False, False, False]
    again = TargetProcessor.load(processor.save())
    assert again.target == target
    assert np.array_equal(again.transform(table, 0), keys[0])


def columns() -> dict[str, object]:
    return {"photo": ImageColumnConfig(), "text": TextColumnConfig()}


def test_the_data_config_settles_which_columns() -> None:
    config = DataConfig(columns=columns(), targets={"space": ContrastiveTargetConfig(same="kind")})  # type: ignore[arg-type]
    assert config.targets["space"].sources("space") == ("photo", "text", "kind")
    renamed = {"picture": ImageColumnConfig(column="photo"), "text": TextColumnConfig()}
    config = DataConfig(columns=renamed, targets={"space": ContrastiveTargetConfig()})  # type: ignore[arg-type]
    assert config.targets["space"].sources("space") == ("photo", "text")
    assert config.targets["space"].columns == ("picture", "text")  # type: ignore[attr-defined]


def test_what_can_not_be_is_named() -> None:
    with pytest.raises(PolysenseError, match="'sound' is no input column"):
        DataConfig(columns=columns(), targets={"s": ContrastiveTargetConfig(columns=("photo", "sound"))})  # type: ignore[arg-type]
    with pytest.raises(PolysenseError, match="needs two input columns"):
        DataConfig(columns={"text": TextColumnConfig()}, targets={"s": ContrastiveTargetConfig()})
    for wrong in ({"columns": ("a",)}, {"columns": ("a", "a")}, {"columns": ("a", "b"), "anchor": "c"}):
        with pytest.raises(ValueError, match="columns"):
            ContrastiveTargetConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"photo": ["1.png", None], "text": [None, "two"]}, "no training row has two of the columns"),
        ({"photo": ["1.png", "2.png"], "text": ["one", "one"]}, "'text' holds the same in all training rows"),
    ],
)
def test_a_table_that_says_nothing_is_refused(frame: dict[str, list[str | None]], message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        ContrastiveTargetConfig(columns=("photo", "text")).build("space").fit(read_table(pl.DataFrame(frame)))


def test_a_table_lacking_a_column_has_keys_of_the_rest(tmp_path: Path) -> None:
    table = read_table(pl.DataFrame({"photo": ["1.png", "2.png"], "text": ["one", "two"]}))
    processor = ContrastiveTargetConfig(columns=("photo", "text")).build("space")
    processor.fit(table)
    other = read_table(pl.DataFrame({"text": ["two"]}))
    found = processor.transform(other, 0)
    assert found is not None
    assert found[0] == 0
    assert found[1] == cell_key("two")
