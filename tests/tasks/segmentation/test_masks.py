from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from polysense.data.media.mask_codes import colors, decode_counts
from polysense.errors import DecodeError
from polysense.tasks.segmentation.masks import (
    Mask,
    encode_png,
    looks_like_segments,
    read_mask,
)

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size))


def png(pixels: np.ndarray, mode: str | None = None, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels, mode)
    if mode == "P":
        image.putpalette([value for i in range(256) for value in (i, 255 - i, 0)])
    image.save(file, format=format)
    return file.getvalue()


def runs(inside: np.ndarray) -> list[int]:
    flat = inside.T.flatten()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths


@given(MASKS)
def test_runs_are_the_mask(inside: np.ndarray) -> None:
    assert np.array_equal(decode_counts({"size": list(inside.shape), "counts": runs(inside)}), inside)


def test_cocos_compressed_text() -> None:
    # From cocoapi's own encoder: [6, 1, 40, 4, 5, 4, 5, 4, 21] is "61X13mN000`0" for a 9 x 10 picture.
    plain = {"size": [9, 10], "counts": [6, 1, 40, 4, 5, 4, 5, 4, 21]}
    text = {"size": [9, 10], "counts": "61X13mN000`0"}
    assert np.array_equal(decode_counts(text), decode_counts(plain))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_values_of_a_png_are_words(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[0, 7], [255, 7], [0, 0]], dtype=np.uint8)
    (tmp_path / "m.png").write_bytes(png(pixels, mode))
    mask = read_mask("m.png", tmp_path)
    assert mask.labels == ("0", "7", "255")
    assert mask.mapped({"0": 1, "7": 0}, -1).tolist() == [[1, 0], [-1, 0], [1, 1]]


def test_sixteen_bits() -> None:
    assert read_mask(png(np.array([[300, 0]], dtype=np.uint16)), Path()).labels == ("0", "300")


def test_segments_are_drawn_in_order() -> None:
    cell = [
        {"label": "cat", "polygon": [0, 0, 3, 0, 3, 3, 0, 3]},
        {"label": "dog", "polygon": [[2, 2, 3, 2, 3, 3, 2, 3], [5, 5, 5, 6, 6, 6]]},
    ]
    mask = read_mask(cell, Path(), (7, 8))
    assert mask.labels == ("background", "cat", "dog")
    assert mask.size == (7, 8)
    assert mask.ids[0, 0] == 1
    assert mask.ids[2, 2] == mask.ids[5, 5] == 2
    assert mask.ids[0, 7] == 0


def test_a_dictionary_says_its_size_and_may_be_empty() -> None:
    mask = read_mask({"size": [2, 3], "segments": []}, Path())
    assert mask.ids.tolist() == [[0, 0, 0], [0, 0, 0]]


@given(MASKS)
def test_rle_gives_the_size(inside: np.ndarray) -> None:
    cell = [{"label": "a", "rle": {"size": list(inside.shape), "counts": runs(inside)}}]
    assert np.array_equal(read_mask(cell, Path()).ids == 1, inside)
    bare = read_mask(cell[0]["rle"], Path())
    assert bare.labels == ("background", "foreground"), "a code without a label is the foreground"
    assert np.array_equal(bare.ids == 1, inside)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (png(np.zeros((2, 2, 3), np.uint8)), "has colors"),
        ('[{"label": ', "not valid JSON"),
        (png(np.zeros((8, 8), np.uint8), format="JPEG"), "is a JPEG"),
        (b"\x89PNG and no more", "can't be read as a mask"),
        ("nowhere.png", "no such file"),
        ([], "no segment and no size"),
        ([{"label": "a", "polygon": [0, 0, 1, 1, 2, 2]}], "how large the image is"),
        ({"size": [2, 2], "segments": [{"label": "a", "polygon": [0, 0, 1]}]}, "segment 0: .*three points"),
        ({"size": [2, 2], "segments": [{"label": "a", "polygon": [0, 0, 1, 1, 2, "x"]}]}, "found 'x' in a polygon"),
        ({"size": [2, 2], "segments": [{"polygon": [0, 0, 1, 1, 2, 2]}]}, "a label"),
        ({"size": [2], "segments": []}, r"its size is \[2\]"),
        ({"size": [10**6, 10**6], "segments": []}, "at most"),
        ([{"label": "a", "rle": {"size": [2, 2], "counts": [3]}}], "runs of 3 pixels, expected 2 x 2"),
        ([{"label": "a", "rle": {"size": [2, 2], "counts": [-1, 5]}}], "whole numbers"),
        ([{"label": "a", "rle": {"size": [2, 2], "counts": "~"}}], "broken at character 0"),
        ([{"label": "a", "rle": {"counts": [4]}}], "no size"),
        ([{"label": "a", "rle": {"size": size, "counts": [4]}} for size in ([2, 2], [1, 4])],
         r"segment 1: its rle is of \[1, 4\]"),
        ('{"counts": [1, 2, 3], "size": [60, 90]}', "segment 0: .*runs of 6 pixels, expected 60 x 90"),
        ({"counts": [4], "shape": [2, 2]}, "found .*, expected segments, each with a label and a polygon or rle"),
    ],
)  # fmt: skip
def test_what_is_no_mask_says_why(tmp_path: Path, cell: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read_mask(cell, tmp_path)


@pytest.mark.parametrize(("num", "dtype"), [(3, np.uint8), (300, np.uint16)])
def test_a_written_mask_is_read_again(num: int, dtype: type) -> None:
    ids = np.random.default_rng(0).integers(0, num, (20, 30)).astype(dtype)
    mask = read_mask(encode_png(ids), Path())
    assert np.array_equal(mask.mapped({str(i): i for i in range(num)}, -1), ids)


def test_colors_are_pascal_vocs() -> None:
    # Of VOC2012's devkit: background, aeroplane, bicycle, person, void.
    expected = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]
    assert colors(256)[[0, 1, 2, 15, 255]].tolist() == expected


def test_json_text_is_what_it_spells() -> None:
    cell = {"size": [4, 5], "segments": [{"label": "a", "polygon": [0, 0, 2, 0, 2, 2]}]}
    plain, text = read_mask(cell, Path()), read_mask(json.dumps(cell), Path())
    assert np.array_equal(plain.ids, text.ids)
    assert plain.labels == text.labels
    lone = {"label": "a", "rle": {"size": [1, 2], "counts": [1, 1]}}
    assert read_mask(lone, Path(), background="sky").labels == ("sky", "a")


def test_segments_are_recognized() -> None:
    assert looks_like_segments([{"label": "a", "polygon": [1]}])
    assert looks_like_segments({"size": [1, 1], "segments": []})
    assert looks_like_segments({"size": [1, 2], "counts": [1, 1]})
    assert not looks_like_segments({"size": [1, 2]})
    assert not looks_like_segments([{"label": "a", "start": 1, "end": 2}])
    assert not looks_like_segments([])
    assert not looks_like_segments("mask.png")


def test_real_polygons_agree_with_cocos(real_data) -> None:  # type: ignore[no-untyped-def]
    folder = real_data("coco_mini")
    for line in (folder / "data.jsonl").read_text().splitlines()[:40]:
        row = json.loads(line)
        if row["polygons"]:
            mask = read_mask(row["polygons"], folder, (row["height"], row["width"]))
            assert isinstance(mask, Mask)
            assert mask.size == (row["height"], row["width"])
            assert {*mask.labels} - {"background"} <= {each["label"] for each in row["polygons"]}
