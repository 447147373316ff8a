"""Inferred keys: by names and cells together, or an error that says what to write."""

from __future__ import annotations

import re
from typing import Any

import pytest

from polysense.data.joins.infer import infer_keys
from polysense.data.tables.sources import read_table
from polysense.errors import TableError


def inferred(main: Any, side: Any, name: str = "products", main_name: str = "orders") -> dict[str, str]:
    return infer_keys(read_table(main, name=main_name), read_table(side, name=name), name)


@pytest.mark.parametrize(
    ("main", "side", "name", "expected"),
    [
        ({"product_id": ["a", "b"]}, {"product_id": ["b"], "x": ["1"]}, "products", {"product_id": "product_id"}),
        ({"productId": ["a"]}, {"product_id": ["a"]}, "products", {"productId": "product_id"}),
        ({"product_id": ["a"]}, {"id": ["a"]}, "products", {"product_id": "id"}),
        ({"category": ["a"]}, {"id": ["a"]}, "categories", {"category": "id"}),
        ({"id": ["a", "b"]}, {"order_id": ["a", "a"]}, "lines", {"id": "order_id"}),
        ({"city": ["x", "y", "x"]}, {"city": ["x", "y"], "size": [1, 2]}, "cities", {"city": "city"}),
        ({"pid": ["a"], "date": ["1", ], "user_id": ["u"]}, {"user_id": ["u"], "date": ["1"]}, "users",
         {"user_id": "user_id"}),
    ],
)  # fmt: skip
def test_names_that_say_the_same(main: Any, side: Any, name: str, expected: dict[str, str]) -> None:
    assert inferred(main, side, name) == expected


def test_a_measured_number_is_no_key() -> None:
    with pytest.raises(TableError, match="no key column that can be told"):
        inferred({"price": [1.5, 2.5]}, {"price": [1.5, 2.5]})


def test_several_keys_are_a_question() -> None:
    main = {"user_id": ["u", "v"], "item_id": ["1", "2"]}
    side = {"user_id": ["u", "v"], "item_id": ["1", "2"], "x": ["", ""]}
    with pytest.raises(TableError, match=r"several columns: user_id, item_id; say which, as data\.tables\.logs\.on="):
        inferred(main, side, "logs")


def test_keys_without_one_in_common_are_quoted() -> None:
    message = "and no key in common: found 'P-1' in the one and '1', '2' in the other"
    with pytest.raises(TableError, match=re.escape(message)):
        inferred({"product_id": ["P-1"]}, {"product_id": ["1", "2"]})


def test_no_name_in_common_lists_the_columns() -> None:
    with pytest.raises(TableError, match=r"Columns of orders: a, b; of products: c$"):
        inferred({"a": ["1"], "b": ["2"]}, {"c": ["1"]})
