"""Cells as boxes: every form that is read, and what is said of those that can't be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import DecodeError
from polysense.tasks.detection.boxes import CROWD, DIFFICULT, looks_like_boxes, read_boxes

NUMBERS = st.floats(-100, 1000, width=32)
SIDES = st.floats(0.5, 500, width=32)


@given(st.lists(st.tuples(st.text(min_size=1).filter(str.strip), NUMBERS, NUMBERS, SIDES, SIDES), max_size=5))
def test_all_forms_give_the_same_boxes(parts: list[tuple[str, float, float, float, float]]) -> None:
    corners = [{"label": label, "box": [x, y, x + w, y + h]} for label, x, y, w, h in parts]
    sizes = [{"label": label, "bbox": [x, y, w, h]} for label, x, y, w, h in parts]
    around = [
        {"label": label, "polygon": [[x, y, x + w, y, x + w, y + h / 2], [x, y + h, x, y, x + w / 2, y]]}
        for label, x, y, w, h in parts
    ]
    expected = read_boxes(corners)
    assert expected.labels == tuple(label.strip() for label, *_ in parts)
    for cell in (sizes, around, json.dumps(corners), json.dumps(sizes)):
        boxes = read_boxes(cell)
        assert boxes.labels == expected.labels
        np.testing.assert_allclose(boxes.corners, expected.corners, atol=1e-3)
        np.testing.assert_allclose(boxes.areas, expected.areas, rtol=1e-3, atol=0.5)
    assert looks_like_boxes(corners) == looks_like_boxes(sizes) == bool(parts)


def test_one_box_an_empty_list_and_what_a_box_says_more() -> None:
    assert read_boxes({"label": "a", "box": [0, 1, 2, 3], "id": 7}).corners.tolist() == [[0, 1, 2, 3]]
    assert len(read_boxes([])) == len(read_boxes("[]")) == 0
    boxes = read_boxes(
        [
            {"label": 3, "bbox": [0, 0, 2, 2], "area": 1.5, "iscrowd": 1},
            {"label": "b", "bbox": [0, 0, 2, 2], "difficult": True, "crowd": False},
        ]
    )
    assert boxes.labels == ("3", "b")
    assert boxes.areas.tolist() == [1.5, 4]
    assert boxes.kinds.tolist() == [CROWD, DIFFICULT]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[{", "not valid JSON"),
        ("cat.png", "expected a list of boxes"),
        (3, "expected a list of boxes"),
        ([5], "box 1 of 1: found 5"),
        ([{"box": [0, 0, 1, 1]}], "found the label None, expected a word"),
        ([{"label": " ", "box": [0, 0, 1, 1]}], "expected a word"),
        ([{"label": "a"}], "expected {\"label\""),
        ([{"label": "a", "box": [0, 0, 1]}], "expected 4 numbers"),
        ([{"label": "a", "box": [0, 0, "1", 1]}], "found '1' in box, expected a finite number"),
        ([{"label": "a", "box": [0, 0, float("nan"), 1]}], "expected a finite number"),
        ([{"label": "a", "box": [0, 0, 1e9, 1]}], "expected a finite number"),
        ([{"label": "a", "box": [4, 0, 1, 1]}], "no area; expected [left, top, right, bottom]"),
        ([{"label": "a", "bbox": [4, 0, 0, 1]}], "no area; expected [left, top, width, height]"),
        ([{"label": "a", "polygon": [1, 2, 3]}], "three points or more"),
        ([{"label": "a", "box": [0, 0, 1, 1], "crowd": "yes"}], "expected true or false"),
        ([{"label": "a", "box": [0, 0, 1, 1], "area": -1}], "expected pixels"),
        ([{"label": "a", "box": [0, 0, 1, 1]}] * 10_001, "expected 10,000 at most"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_said(cell: Any, message: str) -> None:
    with pytest.raises(DecodeError) as error:
        read_boxes(cell)
    assert message in str(error.value)
