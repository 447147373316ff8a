"""The map's page: nothing from outside is markup, pictures do not cover one another, colors say what they mean."""

from __future__ import annotations

import re

import numpy as np
from html_page import assert_own_script

from polysense.core.preview import CellPreview
from polysense.reports.embedding_map import Layout, MapPoint, render_map

HOSTILE = "<script>alert(1)</script>\"'"


def points(num: int, **changes: object) -> list[MapPoint]:
    made = []
    for i in range(num):
        listed = (
            CellPreview(column="a", images=[b"\xff\xd8"])
            if i % 2
            else CellPreview(column="a", texts=[f"{HOSTILE} {i}"])
        )
        fields = {"row": i, "column": "photo" if i % 2 else "text", "previews": [listed], "value": f"k{i % 15}"}
        made.append(MapPoint(**(fields | changes)))  # type: ignore[arg-type]
    return made


def layouts(num: int) -> list[Layout]:
    draws = np.random.default_rng(0)
    return [Layout(name=name, positions=draws.standard_normal((num, 2)), note="note") for name in ("t-SNE", "PCA")]


def test_it_loads_nothing_and_runs_its_own_script_alone() -> None:
    page = render_map(HOSTILE, points(40), layouts(40), color=HOSTILE, notes=[HOSTILE])
    assert_own_script(page)
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count('class="p ') == 40
    assert page.count('type="radio"') == 2
    assert page.count('type="checkbox"') == 2


def test_pictures_that_are_drawn_do_not_overlap() -> None:
    page = render_map(
        "t", points(300, previews=[CellPreview(column="a", images=[b"x"])]), layouts(300)[:1], color=None, notes=[]
    )
    drawn = re.findall(r'class="p \w+ k\d a[^"]*" style="--x:([\d.-]+);--y:([\d.-]+);', page)
    coordinates = np.array(drawn, dtype=float) * [11.0, 7.2]
    assert 10 < len(coordinates) < 300
    gaps = np.abs(coordinates[:, None] - coordinates).max(axis=2) + 1e9 * np.eye(len(coordinates))
    assert gaps.min() > 39.5
    assert (coordinates >= 0).all()
    assert 'type="radio"' not in page, "one map needs no buttons"


def test_colors_of_many_classes_of_numbers_and_of_what_is_missing() -> None:
    page = render_map("t", points(40), layouts(40), color="kind", notes=[])
    assert "4 others" in page
    numbers = [MapPoint(row=i, column="", previews=[], value=None if i == 3 else float(i)) for i in range(20)]
    page = render_map("t", numbers, layouts(20), color="age", notes=[])
    assert 'class="ramp"' in page
    assert "missing" in page
    assert "--c:#440154" in page
    same = [MapPoint(row=i, column="", previews=[], value="x") for i in range(3)]
    flat = [Layout(name="PCA", positions=np.zeros((3, 2)), note="")]
    assert page.count("nan") == 0
    assert "--x:50.00;--y:50.00" in render_map("t", same, flat, color="age", notes=[])


def test_classes_that_are_named_after_colors_have_them() -> None:
    names = ["green", "Red", "kiwi", "blue", "red", "plum"]
    drawn = [MapPoint(row=i, column="", previews=[], value=names[i % 6]) for i in range(12)]
    page = render_map("t", drawn, layouts(12), color="kind", notes=[])
    keys = dict(re.findall(r'<span style="--c:(#\w+)"><i></i>(\w+) \(2\)', page))
    own = {name: color for color, name in keys.items()}
    assert (own["green"], own["blue"]) == ("#2f9e6e", "#1f77b4")
    assert "#c23b4e" in (own["Red"], own["red"])
    assert len(set(own.values())) == len(names) == len(own)


def test_spectrograms_fill_their_place() -> None:
    clip = CellPreview(column="a", images=[b"x"], stretches=True)
    page = render_map("t", points(9, previews=[clip]), layouts(9), color=None, notes=[])
    assert page.count('<img class="wide" ') == 9
    plain = CellPreview(column="a", images=[b"x"])
    page = render_map("t", points(9, previews=[plain]), layouts(9), color=None, notes=[])
    assert '<img class="wide" ' not in page
