"""A section of pages about rankings in which every name is another's, for tests over all pages."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.evaluation.bootstrap import Interval
from polysense.tasks.ranking.record import RankingTarget
from polysense.tasks.ranking.report_section import ComparedRanking


def example_sections(name: str) -> list[ReportSection]:
    """One of each template."""
    target = RankingTarget(name=name, columns=(name, name))
    rows = [
        ComparedRanking(name=name, values=(0.5,), difference=None),
        ComparedRanking(name=name, values=(float("nan"),), difference=Interval(0.1, 0.0, 0.2)),
    ]
    values = {"target": target, "names": [name], "rows": rows, "num_users": 3, "note": name}
    return [ReportSection(template="polysense.tasks.ranking:report.html.j2", values=values)]
