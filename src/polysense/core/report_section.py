"""A part of a report: a template and what it shows. Tasks build theirs without knowing the pages or jinja2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ReportSection"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportSection:
    """One section of report.html.

    Attributes:
        template: "package:file", as "polysense.tasks.tagging:report.html.j2": a jinja2 template that lies in a package.
        values: What the template shows, by name; all of it is escaped.
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
