"""Dataclasses are read as they were written, and nothing that was not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from polysense.core.dataclass_json import from_plain, to_plain
from polysense.core.task_spec import Measure


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: float
    y: float = math.nan


@dataclass(frozen=True, eq=False)
class Whole:
    name: str
    number: int
    is_true: bool
    color: Color
    point: Point | None
    points: tuple[Point, ...]
    pair: tuple[str, float]
    by_measure: Mapping[Measure, Point]
    by_text: Mapping[str, float]
    by_names: Mapping[tuple[str, ...], int]
    words: Sequence[str]
    values: Float[np.ndarray, " values"]


ACCURACY = Measure("accuracy", "accuracy", "pp")


def whole(**changes: object) -> Whole:
    fields: dict[str, object] = {
        "name": "a", "number": 3, "is_true": True, "color": Color.RED, "point": None,
        "points": (Point(1.0), Point(2.5, 3)), "pair": ("a", -math.inf),
        "by_measure": {ACCURACY: Point(0.25, 0.5)}, "by_text": {"a": 1.0, ACCURACY: 2.0},
        "by_names": {("a", "b"): 1, (): 2},
        "words": ("x",), "values": np.array([0.5, math.nan]), **changes,
    }  # fmt: skip
    return Whole(**fields)  # type: ignore[arg-type]


def written(value: object) -> object:
    return json.loads(json.dumps(to_plain(value), allow_nan=False))


def test_what_is_written_is_read() -> None:
    before = whole()
    after = from_plain(Whole, written(before))
    assert written(after) == written(before)
    assert after.points[0].x == 1.0
    assert math.isnan(after.points[0].y)
    assert after.color is Color.RED
    assert after.pair == ("a", -math.inf)
    assert after.by_names == {("a", "b"): 1, (): 2}
    for measure in (*after.by_measure, list(after.by_text)[1]):
        assert isinstance(measure, Measure)
        assert (measure, measure.label, measure.unit) == ("accuracy", "accuracy", "pp")
    assert after.by_text == {"a": 1.0, "accuracy": 2.0}
    np.testing.assert_array_equal(after.values, before.values)
    assert after.values.dtype == before.values.dtype


@given(
    numbers=st.lists(st.floats(width=64), max_size=4),
    words=st.lists(st.text(), max_size=3),
    keys=st.dictionaries(st.tuples(st.text()), st.integers()),
)
def test_every_number_and_every_word_comes_back(
    numbers: list[float], words: list[str], keys: dict[tuple[str], int]
) -> None:
    points = tuple(Point(each) for each in numbers)
    after = from_plain(Whole, written(whole(points=points, words=tuple(words), by_names=keys)))
    np.testing.assert_array_equal([each.x for each in after.points], numbers)
    assert (after.words, after.by_names) == (tuple(words), keys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": "3"}, r"Whole\.number: found '3', expected int"),
        ({"number": True}, r"Whole\.number: found 'True', expected int"),
        ({"color": "blue"}, r"Whole\.color: found 'blue', expected a Color"),
        ({"points": [{"x": 1.0}]}, r"Whole\.points\[0\]: found .*, expected the fields of Point"),
        ({"pair": ["a"]}, r"Whole\.pair: found .*, expected 2 entries"),
        ({"by_names": {"a": 1}}, r"Whole\.by_names: found .*, expected a list of pairs"),
        ({"by_text": [[{"measure": ["a"]}, 1.0]]}, r"Whole\.by_text: found .*, expected a str"),
        ({"values": [1.0]}, r"Whole\.values: found .*, expected an array"),
        ({"values": {"array": "O", "shape": [1], "values": [[1]]}}, r"Whole\.values"),
        ({"more": 1}, r"Whole: found .*, expected the fields of Whole"),
    ],
)
def test_what_was_not_written_is_refused(changes: dict[str, object], message: str) -> None:
    plain = written(whole())
    assert isinstance(plain, dict)
    with pytest.raises(ValueError, match=message):
        from_plain(Whole, {**plain, **changes})


def test_what_has_no_type_of_json_is_not_written() -> None:
    with pytest.raises(TypeError, match="found a object, which is not kept"):
        to_plain({"a": object()})
