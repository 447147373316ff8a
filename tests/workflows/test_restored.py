from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import polysense
from polysense.workflows.restored import hidden_together


@given(st.integers(0, 100))
def test_every_column_is_hidden_once_and_few_at_a_time(number: int) -> None:
    names = [f"c{i}" for i in range(number)]
    groups = hidden_together(names)
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert len(groups) == min(8, number)
    if number:
        sizes = [len(group) for group in groups]
        assert max(sizes) - min(sizes) <= 1


def test_columns_that_are_hidden_together_are_not_told_by_each_other() -> None:
    """Nine columns that come in pairs of equals: the ninth is the first's, and is hidden with it."""
    draws = np.random.default_rng(0).normal(size=(160, 8))
    cells = np.concatenate([draws, draws[:, :1]], axis=1)
    rows = [{f"c{i}": float(value) for i, value in enumerate(row)} for row in cells]
    run = polysense.fit(
        rows,
        task="reconstruction",
        preset="fast",
        overrides=[
            "model.width=16", "training.epochs=25", "training.batch_size=16", "training.optimizer.lr=0.01",
            "training.tensorboard=false", "training.validate_every=25", "data.split.test=0.25",
            "evaluation.bootstrap=0", "evaluation.report=false", "evaluation.contribution=false", "training.ema=null",
        ],
        progress=False,
    )  # fmt: skip
    found = run.evaluations["test"]
    assert found.value("reconstruction", "skill/c0") > 0.3
    # Nothing that is left says anything of it, though another column of the table is its copy.
    assert found.value("reconstruction", "filled_skill/c0") < 0.1
