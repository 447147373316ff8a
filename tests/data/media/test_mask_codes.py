"""Run-length codes there and back, and polygons by their pixels' centers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polysense.data.media.mask_codes import decode_counts, encode_counts, filled, polygon_parts, run_lengths

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size))
CORNERS = st.lists(st.tuples(st.integers(-3, 12), st.integers(-3, 12)), min_size=3, max_size=6)


@given(MASKS)
def test_codes_are_pycocotools_and_come_back(mask: np.ndarray) -> None:
    from pycocotools import mask as reference

    code = encode_counts(run_lengths(mask), mask.shape)
    assert np.array_equal(decode_counts(code), mask)
    assert np.array_equal(decode_counts({"size": [*mask.shape], "counts": run_lengths(mask).tolist()}), mask)
    own = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert code == {"size": [*mask.shape], "counts": own["counts"].decode()}


@given(CORNERS)
def test_pixels_are_those_whose_centers_lie_inside(corners: list[tuple[int, int]]) -> None:
    points = [(x + 0.1, y + 0.23) for x, y in corners]  # no center lies on an edge
    inside = filled([points], (8, 10))
    for row, column in np.ndindex(8, 10):
        x, y, odd = column + 0.5, row + 0.5, False
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            if (y0 > y) != (y1 > y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x:
                odd = not odd
        assert inside[row, column] == odd


def test_a_box_covers_as_many_pixels_as_its_area_and_parts_are_joined() -> None:
    one, other = [0, 0, 4, 0, 4, 3, 0, 3], [6, 5, 8, 5, 8, 6, 6, 6]
    assert filled(polygon_parts([one, other]), (8, 10)).sum() == 14
    assert filled(polygon_parts(one), (8, 10))[:3, :4].all()
