"""Every registered task answers every question, or says why not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from target_records import target_of

from polysense.core import registry
from polysense.core.metric import ExtraMetric, Metric, Statistics
from polysense.core.registry import task, tasks
from polysense.core.task_spec import OPTIONAL, TaskSpec
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.evaluation.evaluator import score
from polysense.evaluation.target_metrics import metrics_of


@pytest.mark.parametrize("name", list(tasks()))
def test_every_task_answers_or_refuses(name: str) -> None:
    spec = task(name)
    for question in OPTIONAL:
        answer = getattr(spec, question)
        if isinstance(answer, Unsupported):
            assert answer.reason[0].islower() or not answer.reason[0].isalpha(), f"{name}.{question}: {answer}"
            assert not answer.reason.endswith("."), f"{name}.{question}: the end of a sentence that others begin"


@pytest.mark.parametrize("name", list(tasks()))
def test_every_tasks_metrics_have_one_of_each_role(name: str) -> None:
    metrics = metrics_of(target_of(name))
    for role in ("is_headline", "is_selection", "is_finer"):
        assert sum(getattr(metric, role) for metric in metrics) == 1, role
    assert any(metric.is_reported for metric in metrics)
    assert all(metric.bounds[0] < metric.bounds[1] and metric.description for metric in metrics)
    headline = next(metric for metric in metrics if metric.is_headline)
    assert headline.is_reported
    assert headline.higher_is_better


def test_a_spec_that_leaves_a_question_out_is_refused() -> None:
    with pytest.raises(TypeError, match=r"does not say what its record, .*, baselines, .* is; state it, or"):
        type("Forgetful", (TaskSpec,), {"name": "forgetful", "rank": 1, "generates": False})


def test_a_task_that_nobody_registered_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no task 'clasification'; expected one of classification, "):
        task("clasification")


def test_specs_load_no_torch() -> None:
    code = (
        "import sys\n"
        "from polysense.core.registry import tasks\n"
        "tasks()\n"
        "sys.exit('torch' in sys.modules and 'torch is loaded')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.strip() == ""


class Errors(ExtraMetric):
    """The number of wrong rows."""

    task = "classification"

    def describe(self, target: Target) -> Metric | None:
        return Metric(name="errors", higher_is_better=False, bounds=(0.0, np.inf), description="Rows that are wrong.")

    def score(self, target: Target, statistics: Statistics, weights: np.ndarray) -> np.ndarray:
        return weights @ (statistics["predicted"] != statistics["truth"])


def test_a_package_adds_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "polysense.evaluation.target_metrics.extra_metrics", lambda name: (Errors(),) if name == Errors.task else ()
    )
    monkeypatch.setattr("polysense.evaluation.evaluator.extra_metrics", lambda name: (Errors(),))
    target = target_of("classification")
    statistics = {
        "present": np.array([True, True, True, False]),
        "truth": np.array([0, 1, 1, 0]),
        "predicted": np.array([1, 1, 1, 1]),
    }
    evaluation = score([target], np.arange(4), {"y": statistics}, bootstrap=50)
    assert evaluation.value("y", "errors") == 1
    assert evaluation.metrics["y"]["errors"].has_bounds
    assert metrics_of(target)[-1].name == "errors"
    monkeypatch.setattr("polysense.evaluation.target_metrics.extra_metrics", lambda name: (Errors(), Errors()))
    with pytest.raises(ConfigError, match="two metrics of the task 'classification' are named 'errors'"):
        metrics_of(target)


def test_metrics_come_from_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value, dist = "errors", "package:Errors", None

        def load(self) -> type[Errors]:
            return Errors

    monkeypatch.setattr(
        "polysense.core.registry.entry_points",
        lambda group: [Point()] if group == "polysense.metric" else [],
    )
    registry.extra_metrics.cache_clear()
    try:
        (extra,) = registry.extra_metrics("classification")
        assert isinstance(extra, Errors)
        assert registry.extra_metrics("regression") == ()
    finally:
        registry.extra_metrics.cache_clear()
