"""Charts are drawn of anything, and their text is text."""

from __future__ import annotations

import math

from html_page import Page
from markupsafe import Markup

from polysense.evaluation.bootstrap import Interval
from polysense.reports.charts import (
    DotRow,
    Points,
    Series,
    band,
    domain,
    dot_plot,
    interval_bar,
    line_chart,
    plane,
    shot_chart,
    tag,
)
from polysense.reports.numerals import number, signed


def test_elements_are_escaped() -> None:
    assert tag("text", "<b>", class_='a"b', stroke_width=2, x=None) == Markup(
        '<text class="a&#34;b" stroke-width="2">&lt;b&gt;</text>'
    )
    assert tag("g", tag("rect")) == Markup("<g><rect/></g>")


def test_a_single_epoch_and_odd_values_draw() -> None:
    assert line_chart("Loss", [("training", [(1.0, 0.5)])], mark=1.0).startswith("<figure>")
    assert line_chart("Loss", [("training", []), ("validation", [(1.0, math.nan)])]) == ""
    flat = line_chart("Loss", [("training", []), ("validation", [(1.0, 2.0), (2.0, 2.0)])], mark=2.0)
    Page(flat)
    assert "nan" not in flat
    Page(interval_bar(Interval(5.0, -7.0, 9.0), (0.0, 1.0), label="out of range"))
    Page(interval_bar(Interval(math.nan), (0.0, 0.0), label="undefined"))
    assert dot_plot("t", []) == ""
    one = dot_plot("t", [DotRow(name="a", dots=[0.5], mean=Interval(0.5))], reference=0.5)
    assert "nan" not in one
    Page(one)
    Page(shot_chart("t", ["1"], [Series(name="a", color="c0", values=[Interval(0.0)])], [("chance", 0.0)], 0.0))


def test_a_bar_ends_where_its_scale_does() -> None:
    assert domain([Interval(0.5, 0.4, 0.7), Interval(math.nan)]) == (0.0, 0.7)
    assert domain([Interval(-0.5)], high=1.0) == (-0.5, 1.0)
    bar = interval_bar(Interval(0.25, 0.0, 2.0), (0.0, 1.0), kind="model", label="x")
    assert 'class="bar model" x="0.0" y="8" width="250.0"' in bar
    assert "M0.0 15H1000.0" in bar


def test_segments_lie_where_they_are() -> None:
    listed = band([(0.5, 1.5, "dog")], 2.0, ("dog",), label="l", below=[(0.0, 9.0, "<cat>")])
    assert 'x="90.0" y="2" width="180.0"' in listed
    assert 'x="0.0" y="22" width="360.0"' in listed, "cut where the row ends"
    assert "&lt;cat&gt;" in listed


def test_numbers_are_short() -> None:
    values = (0.12345, -0.0001, 12.342, 12345.6, math.nan, -0.5)
    assert [number(value) for value in values] == ["0.123", "0.000", "12.34", "12,346", "–", "−0.500"]
    assert [signed(value) for value in (0.5, -0.5, 0.00001)] == ["+0.500", "−0.500", "0.000"]


def test_a_plane_draws_whatever_it_is_given() -> None:
    assert plane("t", [Points(name="a", xs=[math.nan], ys=[1.0])], x_name="x", y_name="y", label="l") == ""
    one = plane("t", [Points(name="<a>", xs=[1.0], ys=[2.0])], x_name="x", y_name="<y>", label="l", diagonal=True)
    Page(one)
    assert "nan" not in one
    assert "&lt;y&gt;" in one
    steps = [Points(name="a", xs=[0.0, 1.0], ys=[0.0, 1.0], joined=True, steps=True, dots=False)]
    drawn = plane("t", steps, x_name="x", y_name="y", label="l", x_range=(0.0, 1.0), y_range=(0.0, 1.0))
    assert 'points="56.0,284.0 386.0,284.0 386.0,44.0"' in drawn
    outside = [Points(name="a", xs=[5.0], ys=[0.5], bounds=[Interval(0.5, -1.0, 2.0)])]
    inside = plane(
        "t", outside, x_name="x", y_name="y", label="l", x_range=(0.0, 1.0), y_range=(0.0, 1.0), baseline=0.5
    )
    assert 'd="M386.0 44.0V284.0' in inside, "cut at the axes' ends"
