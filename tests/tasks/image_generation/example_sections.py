"""Sections of pages about generated images in which every name is another's, for tests over all pages."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.tasks.image_generation.record import ImageGenerationTarget


def example_sections(name: str) -> list[ReportSection]:
    """One of each template."""
    target, images = ImageGenerationTarget(name=name, columns=("picture",)), [(b"x", name)]
    return [
        ReportSection(
            template="polysense.tasks.image_generation:report.html.j2",
            values={"target": target, "note": name, "sheets": [(name, images)]},
        ),
        ReportSection(template="polysense.tasks.image_generation:sheet.html.j2", values={"images": images}),
    ]
