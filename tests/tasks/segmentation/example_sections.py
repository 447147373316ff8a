"""Sections of pages about masks in which every name is another's, for tests over all pages."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.evaluation.bootstrap import Interval
from polysense.tasks.segmentation.overlay import Overlay
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.report_section import ClassScore


def example_sections(name: str) -> list[ReportSection]:
    """One of each template."""
    target = SegmentationTarget(name=name, columns=("mask",), classes=(name, "b"), values=(0, 1))
    overlay = Overlay(images=(b"x", b"x", b"x"), truth=name, predicted=name, classes=((name, "#ff0000"),))
    value = Interval(0.5, 0.4, 0.6)
    scores = [ClassScore(name=name, share=0.5, iou=value, dice=value, baseline=float("nan"))]
    groups = [(name, [(name, overlay)])]
    return [
        ReportSection(
            template="polysense.tasks.segmentation:report.html.j2",
            values={"target": target, "classes": scores, "groups": groups},
        ),
        ReportSection(template="polysense.tasks.segmentation:overlays.html.j2", values={"overlays": [(name, overlay)]}),
    ]
