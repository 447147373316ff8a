"""Sections of pages about boxes in which every name is another's, for tests over all pages."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.instance_report import ClassScore
from polysense.tasks.detection.overlay import BoxOverlay
from polysense.tasks.detection.record import DetectionTarget


def example_sections(name: str) -> list[ReportSection]:
    """One of each template."""
    target = DetectionTarget(name=name, columns=("boxes",), classes=(name, "b"))
    overlay = BoxOverlay(images=(b"x", b"x"), truth=name, predicted=name, classes=((name, "#ff0000"),))
    value = Interval(0.5, 0.4, 0.6)
    scores = [ClassScore(name=name, num_things=3, precision=value, at_half=value, baseline=float("nan"))]
    return [
        ReportSection(
            template="polysense.tasks.detection:report.html.j2",
            values={"target": target, "classes": scores, "groups": [(name, [(name, overlay)])], "note": name},
        ),
        ReportSection(template="polysense.tasks.detection:overlays.html.j2", values={"overlays": [(name, overlay)]}),
    ]
