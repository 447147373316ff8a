"""Parts of an audit that read row statistics draw their sections of the report."""

from __future__ import annotations

import numpy as np
from audited import audit_input
from html_page import Page

from polysense.core.report_section import ReportSection
from polysense.evaluation.audit.calibration import measure_calibration
from polysense.evaluation.audit.conformal import measure_conformal
from polysense.evaluation.audit.groups import ByColumns, measure_groups
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.residuals import measure_residuals
from polysense.evaluation.audit.slices import measure_slices
from polysense.evaluation.audit.thresholds import measure_thresholds
from polysense.reports.environment import render_section
from polysense.reports.groups import groups_text
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

LABEL = ClassificationTarget(name="<y>", columns=("y",), classes=("<a>", "b"), class_counts=(5, 5))


def statistics(num_rows: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(0)
    truth = draws.integers(0, 2, num_rows)
    share = np.clip(0.25 + 0.5 * truth + 0.2 * draws.normal(size=num_rows), 0.01, 0.99)
    probabilities = np.column_stack([1 - share, share]).astype(np.float32)
    return {
        "present": np.ones(num_rows, dtype=bool),
        "truth": truth,
        "predicted": probabilities.argmax(axis=1),
        "probabilities": probabilities,
    }


def drawn(part: AuditPart | None) -> str:
    assert part is not None
    section = part.section()
    assert isinstance(section, ReportSection)
    markup = str(render_section(section))
    Page(markup)
    assert "nan" not in markup
    assert "<a>" not in markup
    return markup


def test_calibration_is_drawn() -> None:
    for num_rows in (3, 200):
        markup = drawn(measure_calibration(audit_input(LABEL, statistics(num_rows), calibrated="temperature 1.2")))
        assert "Reliability" in markup
        assert "temperature 1.2" in markup


def test_slices_are_drawn() -> None:
    for num_rows in (3, 200):
        kinds = [("<b>", "c")[i % 7 < 2] for i in range(num_rows)]
        own = statistics(num_rows)
        own["predicted"] = np.where([kind == "c" for kind in kinds], own["truth"], 1 - own["truth"])
        markup = drawn(measure_slices(audit_input(LABEL, own, {"<kind>": kinds})))
        assert "&lt;kind&gt; = &lt;b&gt;" in markup or num_rows == 3


def test_groups_are_drawn_and_printed() -> None:
    kinds = [("<b>", "[red]c", None)[i % 3] for i in range(200)] + ["few"] * 3
    part = measure_groups(audit_input(LABEL, statistics(203), {"<kind>": kinds}), "<kind>")
    assert "too few rows" in drawn(ByColumns(target="<y>", columns=(part, part)))
    text = groups_text(part)
    assert "[red]c" in text
    assert max(map(len, text.splitlines()[: len(part.groups) + 4])) <= 80


def test_conformal_sets_are_drawn() -> None:
    kinds = [("<b>", "c")[i % 2] for i in range(200)]
    markup = drawn(measure_conformal(audit_input(LABEL, statistics(200), {"<kind>": kinds}, by=("<kind>",))))
    assert "&lt;kind&gt;" in markup
    few = {name: values[:5] for name, values in statistics(200).items()}
    drawn(measure_conformal(audit_input(LABEL, statistics(200), calibration=few)))


def test_thresholds_are_drawn() -> None:
    for num_rows in (6, 200):
        markup = drawn(measure_thresholds(audit_input(LABEL, statistics(num_rows))))
        assert ("ROC curve" in markup) is (num_rows == 200)


def test_residuals_are_drawn() -> None:
    price = RegressionTarget(name="<p>", columns=("<p>",), mean=(0.0,), std=(1.0,), units=("<EUR>",))
    draws = np.random.default_rng(0)
    for num_rows in (3, 700):
        truth = draws.normal(size=(num_rows, 1)).astype(np.float32)
        own = {"present": np.ones(num_rows, dtype=bool), "truth": truth, "predicted": truth / 2}
        markup = drawn(measure_residuals(audit_input(price, own)))
        assert "&lt;EUR&gt;" in markup
