"""What rankings are fitted on and read: keys as joins compare them, ratings, and what came before a part."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.data.joins.config import JoinConfig
from polysense.data.joins.join import join_tables
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ColumnError
from polysense.tasks.ranking.target import RankingProcessor, RankingTargetConfig


def fitted(table: Table, **settings: object) -> RankingProcessor:
    config = RankingTargetConfig(user="user", item="item", **settings)  # type: ignore[arg-type]
    processor = config.build("r")
    processor.attach({})
    processor.fit(table)
    return processor


def read(processor: RankingProcessor, table: Table, row: int) -> tuple[list[int] | None, list[int] | None]:
    processor.prepare(table)
    prompt, value = processor.prompt(table, row), processor.transform(table, row)
    return None if prompt is None else prompt.ids.tolist(), None if value is None else value.tolist()


def test_keys_are_compared_as_the_join_compares_them() -> None:
    choices = {"user": ["a", "a", "b"], "item": ["007", "8", "9"], "time": [1, 2, 3]}
    items = {"item": [7, 8, 9, 10], "name": ["seven", "eight", "nine", "ten"]}
    table = read_table(choices, join={"items": items})
    table = join_tables(table, {"items": JoinConfig(table=None)}).table
    assert table.joins["items"].keys == "numbers"
    processor = fitted(table, time="time")
    assert processor.known.item_keys == ["7", "8", "9", "10"]
    assert read(processor, table, 0) == ([1], [1, 1])
    assert read(processor, table, 1) == ([1, 1], [2, 1])


def test_a_low_rating_is_known_and_no_choice() -> None:
    table = read_table({
        "user": ["a", "a", "a", "b"], "item": ["x", "y", "z", "x"], "stars": [5, 1, 4, 3], "time": [1, 2, 3, 4],
    })  # fmt: skip
    processor = fitted(table, time="time", rating="stars", least=3)
    assert processor.target.num_rows == 3
    assert processor.known.item_counts.tolist() == [0, 2, 0, 1]
    assert read(processor, table, 1)[1] is None
    assert read(processor, table, 2) == ([1, -2, 1], [3, 1])
    assert not np.isin(2, processor.counted()["items"])


def test_each_part_knows_what_came_before_it_in_any_order_of_reading() -> None:
    whole = read_table({"user": ["a"] * 4, "item": list("wxyz"), "time": [1, 2, 3, 4]})
    train, validation, test = (whole.select(rows) for rows in ([0, 1], [2], [3]))
    validation = validation.changed(before=whole.select([]))
    test = test.changed(before=whole.select([2]))
    processor = fitted(train, time="time")
    for _ in range(2):
        assert read(processor, test, 0)[0] == [1, 1, 2], "an item that training lacks has no number"
        assert read(processor, validation, 0)[0] == [1, 1, 2]
    later = read_table({"user": ["a"], "item": ["w"], "time": [9]})
    known = whole.select([2]).changed(before=None)
    assert processor.known.user_counts.tolist() == [0, 2]
    again = fitted(whole.select([0, 1, 2]), time="time")
    assert read(again, later.changed(before=known), 0)[0] == [1, 1, 2, 3, 3]


def test_new_users_and_rows_without_one_are_told_apart() -> None:
    table = read_table({"user": ["a", "b", "a"], "item": ["x", "y", "y"]})
    processor = fitted(table)
    asked = read_table({"user": ["new", "new", "other", "", ""], "item": ["x", "y", "x", "x", "y"]})
    values = [read(processor, asked, row) for row in range(5)]
    users = [value[1] for _, value in values if value is not None]
    assert users[0] == users[1]
    assert len({*users}) == 4
    assert all(user < 0 for user in users)
    assert [prompt for prompt, _ in values] == [[0], [0], [0], None, None]


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ColumnError, match="fewer than two items to rank"):
        fitted(read_table({"user": ["a", "b"], "item": ["x", "x"]}))
    with pytest.raises(ColumnError, match="no training row has a user"):
        fitted(read_table({"user": ["", ""], "item": ["x", "y"]}))
