from __future__ import annotations

import numpy as np

import polysense


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
    assert found.value("reconstruction", "imputed_skill/c0") < 0.1
