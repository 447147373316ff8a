"""Sections of pages about things with masks in which every name is another's, for tests over all pages."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.instance_report import ClassScore
from polysense.tasks.instance_segmentation.overlay import InstanceOverlay
from polysense.tasks.instance_segmentation.record import InstanceTarget


def example_sections(name: str) -> list[ReportSection]:
    """One of each template."""
    target = InstanceTarget(name=name, columns=("things",), classes=(name, "b"))
    overlay = InstanceOverlay(images=(b"x", b"x"), truth=name, predicted=name)
    value = Interval(0.5, 0.4, 0.6)
    scores = [ClassScore(name=name, num_things=3, precision=value, at_half=value, baseline=float("nan"))]
    return [
        ReportSection(
            template="polysense.tasks.instance_segmentation:report.html.j2",
            values={"target": target, "classes": scores, "groups": [(name, [(name, overlay)])], "note": name},
        ),
        ReportSection(
            template="polysense.tasks.instance_segmentation:overlays.html.j2", values={"overlays": [(name, overlay)]}
        ),
    ]
