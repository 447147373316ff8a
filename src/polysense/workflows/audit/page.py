"""Write audit.html: an audit of any table as a page, by the templates of a run's report."""

from __future__ import annotations

from pathlib import Path

from polysense.core.files import write_text
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.audit.result import AuditResult
from polysense.reports.report import Report, render_report
from polysense.reports.titles import described
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.environment_facts import present_facts, roots
from polysense.workflows.scoring import simple_baselines
from polysense.workflows.table_split import recipe_of

__all__ = ["PAGE", "write_audit_page"]

PAGE = "audit.html"
"""The file's name."""


def write_audit_page(folder: Path, subject: AuditSubject, result: AuditResult) -> Path:
    """Writes the page and returns its path.

    Args:
        folder: Where to.
        subject: What was audited.
        result: What was found.
    """
    bundle, table, evaluation = subject.bundle, subject.table, subject.evaluation
    shown = TableDataset(table, bundle.processor, with_targets=True)
    report = Report(
        title=f"{described(bundle.schema, table.name)}: audit",
        evaluation=evaluation,
        num_columns=len(bundle.schema.columns),
        split=subject.split,
        # Without the blind control, which would predict all rows once more.
        comparisons=simple_baselines(
            bundle, table, evaluation, bootstrap=subject.bootstrap, seed=subject.seed, fits=lambda rows: False
        ),
        simple_baselines=subject.simple_baselines,
        fusion_weights=bundle.info.get("fusion_weights", {}),
        contributions=result.contributions,
        facts={"rows": f"{len(table):,}", "level": result.level, "parameters": f"{bundle.info.get('parameters', 0):,}"},
        dataset=shown,
        seed=subject.seed,
        audit=result.parts,
        left_out=result.left_out,
        environment=present_facts(bundle.device, subject.seed),
        roots=roots(folder, recipe_of(bundle), table.root, *filter(None, [bundle.folder])),
    )
    path = folder / PAGE
    write_text(path, render_report(report))
    return path
