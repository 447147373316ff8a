"""Both joins give a row for each order, and the same titles."""

from __future__ import annotations

import json

import pytest

import joins


def test_both_join_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    frames = joins.tables(500)
    ours, theirs = joins.by_polysense(frames), joins.by_polars(frames)
    assert ours["products.title"].to_list() == theirs["title"].to_list()
    assert ours["products.title"].null_count() > 0, "some keys have no partner"
    stars = ours["reviews.stars"].drop_nulls().list.len()
    assert 0 < stars.min() <= stars.max() == joins.LAST
    joins.main(["--rows", "500"])
    assert json.loads(capsys.readouterr().out)["ratio"].keys() == {"seconds", "megabytes"}
