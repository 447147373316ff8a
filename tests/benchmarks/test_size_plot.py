"""Each measurement is drawn where its rows and its cost say, on logarithmic axes."""

from __future__ import annotations

from xml.etree import ElementTree

import size_plot

_SVG = "{http://www.w3.org/2000/svg}"


def test_a_mark_stands_for_each_measurement() -> None:
    results = [
        {"rows": rows, "command": command, "processor": rows / 1000, "peak": 2**30}
        for rows in (1_000, 10_000, 100_000)
        for command in ("check", "train")
    ]
    root = ElementTree.fromstring(size_plot.drawn(results))
    marks = [(float(each.get("cx", "nan")), float(each.get("cy", "nan"))) for each in root.iter(f"{_SVG}circle")]
    assert len(marks) == 2 * len(results)
    left, right = size_plot.LEFT, size_plot.LEFT + size_plot.WIDTH
    low, high = size_plot.TOP + size_plot.HEIGHT, size_plot.TOP
    assert marks[:3] == [(left, low), ((left + right) / 2, (low + high) / 2), (right, high)]
    second = [mark for mark in marks if mark[0] > right]
    assert {mark[1] for mark in second} == {low}, "1 GiB is at the foot of its decade"
    assert next(each.text for each in root.iter(f"{_SVG}title")) == "check, 1,000 rows: 1"
