"""Cells of things with masks, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polysense.data.media.mask_codes import encode_counts, from_runs, run_lengths
from polysense.errors import DecodeError
from polysense.tasks.instance_segmentation.instances import read_instances

BOX = [1, 1, 5, 1, 5, 4, 1, 4]
KEYS = st.sampled_from(["label", "polygon", "rle", "mask", "size", "counts", "segments", "area"])
CELLS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(KEYS, each),
    max_leaves=8,
)


def test_polygons_codes_and_files_are_read_alike(tmp_path: Path) -> None:
    inside = np.zeros((8, 10), dtype=bool)
    inside[1:4, 1:5] = True
    Image.fromarray(inside.astype(np.uint8) * 7).save(tmp_path / "one.png")
    code = encode_counts(run_lengths(inside), (8, 10))
    parts = [{"label": "cat", "polygon": BOX}, {"label": "cat", "rle": code}, {"label": "cat", "mask": "one.png"}]
    for cell in (parts, json.dumps(parts), {"size": [8, 10], "segments": parts}):
        things = read_instances(cell, tmp_path, (8, 10))
        assert [(thing.label, thing.area, thing.kind) for thing in things] == [("cat", 12.0, 0)] * 3
        assert all((from_runs(thing.runs, thing.size) == inside).all() for thing in things)
    crowd = read_instances({"label": 3, "polygon": [BOX, BOX], "iscrowd": 1, "area": 5.5}, tmp_path)
    assert [(thing.label, thing.area, thing.kind, thing.size) for thing in crowd] == [("3", 5.5, 1, (4, 5))]
    assert read_instances("[]", tmp_path, (8, 10)) == []


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (3, "expected a list of things"),
        ([{"polygon": BOX}], "thing 1 of 1: found the label None, expected a word"),
        ([{"label": "a"}], "found the keys"),
        ([{"label": "a", "polygon": [1, 2, 3]}], "at least three points"),
        ([{"label": "a", "polygon": BOX, "area": -1}], "found the area -1"),
        ([{"label": "a", "polygon": BOX, "crowd": "yes"}], "found crowd 'yes'"),
        ([{"label": "a", "rle": {"size": [2, 2], "counts": [4]}}], "its mask has 2 x 2 pixels, expected 10 x 8"),
        ([{"label": "a", "mask": "nowhere.png"}], "nowhere.png"),
        ({"size": [3, 3], "segments": []}, "found the size"),
        ([{"label": "a", "polygon": BOX}] * 1001, "expected 1,000 at most"),
    ],
)
def test_what_is_broken_says_so(cell: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=message):
        read_instances(cell, tmp_path, (8, 10))


@given(CELLS)
def test_whatever_stands_in_a_cell_is_read_or_refused(cell: object) -> None:
    try:
        things = read_instances(cell, Path("/nowhere"), (8, 10))
    except DecodeError:
        return
    assert all(thing.runs.sum() == 80 for thing in things)


def test_a_polygon_without_an_image_has_no_more_pixels_than_an_image_may_have() -> None:
    with pytest.raises(DecodeError, match="expected at most"):
        read_instances([{"label": "a", "polygon": [0, 0, 9e5, 0, 9e5, 9e5]}], Path("/nowhere"))
