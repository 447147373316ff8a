"""Estimators within a time: what does not fit stays unfitted, weighs nothing and is listed."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

import polysense
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import read_table
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.ensemble_weights import fit_ensemble_weights
from polysense.nn.model import MultimodalModel
from polysense.training.distributed import Distributed
from polysense.training.time_plan import Deadline
from polysense.workflows.estimator_fitting import fit_estimators

pytestmark = pytest.mark.usefixtures("full_simple_models")  # their sizes decide how long they are expected to take

OVERRIDES = ["model.width=16", "training.tensorboard=false", "evaluation.bootstrap=50", "data.num_workers=0"]


def table_of(num_rows: int) -> list[dict[str, Any]]:
    draws = np.random.default_rng(0)
    rows = []
    for _ in range(num_rows):
        size, shop = float(draws.uniform(0, 10)), str(draws.choice(["north", "south"]))
        rows.append({"size": size, "shop": shop, "label": "yes" if (size > 5) != (draws.random() < 0.1) else "no"})
    return rows


@pytest.fixture(scope="module")
def run(full_simple_models: None, tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    return polysense.fit(
        table_of(60), target="label", output=tmp_path_factory.mktemp("run") / "run", progress=False,
        overrides=[*OVERRIDES, "training.epochs=1", "evaluation.contribution=false"],
    )  # fmt: skip


def unfitted(run: polysense.Run) -> tuple[MultimodalModel, EnsembleHead, TableDataset]:
    model = run.recipe.model.build(run.bundle.schema).eval()
    head = model.head("label")
    assert isinstance(head, EnsembleHead)
    return model, head, TableDataset(read_table(table_of(60)), run.bundle.processor)


def in_any_case(head: EnsembleHead) -> str:
    """Of those that take no second that of most columns."""
    linear = [name for name in head.estimator_names if name.startswith("linear")]
    return max(linear, key=lambda name: len(head.named_estimators()[name].columns))


def test_without_time_one_that_takes_no_second_is_fitted_and_the_rest_is_listed(run: polysense.Run) -> None:
    model, head, dataset = unfitted(run)
    deadline = Deadline(0.0)
    out_of_fold, _ = fit_estimators(model, run.recipe, dataset, Distributed(), deadline)
    estimators = head.named_estimators()
    fast = {in_any_case(head)}
    others = estimators.keys() - fast
    assert others
    for name, estimator in estimators.items():
        assert estimator.is_fitted is (name in fast)
    for name in others:
        assert np.isnan(out_of_fold["label"].scores[name]).all()
        assert any(f"the simple model {name!r} of label" in what for what in deadline.left_out)
    weights = fit_ensemble_weights(model, None, out_of_fold)["label"].weights
    assert [weights[name] for name in others] == [0.0] * len(others)
    assert all(weights[name] > 0 for name in fast)


def test_the_fastest_are_fitted_first_as_fast_as_the_machine_is(run: polysense.Run) -> None:
    model, head, dataset = unfitted(run)
    expected = sorted(
        head.estimator_configs[name].seconds(60, each.num_inputs, each.num_outputs)
        for name, each in head.named_estimators().items()
    )
    assert expected[0] < expected[1]
    # The clock stands still: what counts is what each is expected to take, four times as long on this machine.
    deadline = Deadline(4 * expected[0] + 1e-6, lambda: 0.0, slowness=4.0)
    out_of_fold, _ = fit_estimators(model, run.recipe, dataset, Distributed(), deadline)
    fitted = {name for name, each in head.named_estimators().items() if each.is_fitted}
    fastest = min(
        head.named_estimators(),
        key=lambda name: head.estimator_configs[name].seconds(
            60, head.named_estimators()[name].num_inputs, head.named_estimators()[name].num_outputs
        ),
    )
    assert fitted == {in_any_case(head), fastest}
    assert len(deadline.left_out) == len(expected) - len(fitted)
    weights = fit_ensemble_weights(model, None, out_of_fold)["label"].weights
    assert {name for name in head.estimator_names if weights[name] > 0} == fitted


def test_time_that_passed_before_the_call_counts(tmp_path: Path) -> None:
    """A command's imports are part of its time: of one that took all of it, the rest is what must be."""
    run = polysense.fit(
        table_of(60), target="label", output=tmp_path / "run", overrides=OVERRIDES, progress=False, time="10s",
        since=monotonic() - 1000,
    )  # fmt: skip
    assert run.training.epochs == 1
    head = run.bundle.model.head("label")
    assert isinstance(head, EnsembleHead)
    fitted = {name for name, each in head.named_estimators().items() if each.is_fitted}
    assert fitted == {in_any_case(head)}
    listed = "; ".join(run.left_out)
    for what in ("epochs of", "the simple model", "simple baselines", "what each column contributes"):
        assert what in listed
