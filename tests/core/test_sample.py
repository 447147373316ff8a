from __future__ import annotations

import json

import numpy as np

from polysense.core.sample import Sample, SourceInfo, Unreadable

SOURCE = SourceInfo(table="train.csv", row=7, column="left eye", file="img/7.png")


def test_a_source_says_where() -> None:
    assert str(SOURCE) == "train.csv, row 7, column 'left eye' (img/7.png)"
    assert str(SourceInfo(table="t", row=0, column="a")) == "t, row 0, column 'a'"


def test_an_unreadable_cell_is_one_json_line() -> None:
    cell = Unreadable(source=SOURCE, reason="cut in half")
    assert str(cell) == "train.csv, row 7, column 'left eye' (img/7.png): cut in half"
    assert json.loads(json.dumps(cell.as_dict())) == {
        "table": "train.csv",
        "row": 7,
        "column": "left eye",
        "file": "img/7.png",
        "reason": "cut in half",
    }


def test_sources_compare_and_hash_by_value() -> None:
    same = SourceInfo(table="train.csv", row=7, column="left eye", file="img/7.png")
    assert same == SOURCE
    assert len({SOURCE, same}) == 1


def test_samples_share_nothing_by_default() -> None:
    first, second = Sample(row=0), Sample(row=1)
    first.values["a"] = [np.zeros(1, dtype=np.float32)]
    assert second.values == {}
    assert second.weight == 1.0
    assert second.unreadable == ()
