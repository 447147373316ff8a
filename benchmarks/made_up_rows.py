"""Rows that a variational model makes up from a label alone: what a classifier learns from them, tested on real rows.

    python benchmarks/made_up_rows.py [--tables breast_cancer,wine] [--epochs 100] [--beta 0.1] [--draws 3]

The tables are scikit-learn's. 70% of the rows train the reconstruction (`variational: true`), whose rows of a label
alone are drawn by `impute(..., draw=SEED)`: as many of each class as there are real ones. A logistic regression is then
fitted on the real rows, on the made-up ones, and on those that have the class's mean in every column, which is what a
model without a distribution gives; each is tested on the other 30%.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polysense


def read(name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training and test rows, with the class's name as `label`."""
    source = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = pl.from_pandas(source.data).with_columns(
        label=pl.Series([str(source.target_names[each]) for each in source.target])
    )
    order = np.random.default_rng(0).permutation(len(frame))
    cut = int(0.7 * len(frame))
    return frame[order[:cut]], frame[order[cut:]]


def score(train: pl.DataFrame, test: pl.DataFrame) -> float:
    """Accuracy on the test rows."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train.drop("label").to_numpy(), train["label"].to_list())
    return float(np.mean(model.predict(test.drop("label").to_numpy()) == test["label"].to_numpy()))


def _spread(made: pl.DataFrame, real: pl.DataFrame, label: str) -> float:
    """How much the rows of a class spread, in times the real ones' spread, on average over the columns."""
    ratios = [
        made.filter(pl.col("label") == label)[column].std() / real.filter(pl.col("label") == label)[column].std()
        for column in real.columns
        if column != "label"
    ]
    return float(np.mean(ratios))


def measured(name: str, epochs: int, beta: float, draws: int) -> list[str]:
    """A table's line."""
    train, test = read(name)
    head = f"{{type: reconstruction, variational: true, cell_mask_rate: 0.3, beta: {beta}}}"
    settings = [
        f"model.heads.reconstruction={head}", f"training.epochs={epochs}", "evaluation.bootstrap=0",
        "evaluation.report=false", "evaluation.samples=0", "data.split.test=0", "training.tensorboard=false",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = polysense.fit(
            train, task="reconstruction", output=Path(folder) / "run", overrides=settings, progress=False
        )
        requested = train.with_columns(pl.lit(None, dtype=pl.Float64).alias(n) for n in train.columns if n != "label")

        def made(seed: int | None) -> pl.DataFrame:
            return polysense.impute(run.bundle, requested, draw=seed).frame.select(train.columns)

        drawn = [made(seed) for seed in range(draws)]
        spread = np.mean([_spread(drawn[0], train, label) for label in train["label"].unique()])
        scores = [score(each, test) for each in drawn]
        means = score(made(None), test)
    together = score(pl.concat([train, *drawn]), test)
    return [
        name, f"{len(train)}, {len(test)}", f"{score(train, test):.3f}",
        f"{np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})", f"{means:.3f}", f"{together:.3f}",
        f"{spread:.2f}",
    ]  # fmt: skip


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="breast_cancer,wine", metavar="NAME,...")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    print("| table | training, test rows | real | made up | class means | real and made up | spread, times the real |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.tables.split(","):
        print(f"| {' | '.join(measured(name, options.epochs, options.beta, options.draws))} |", flush=True)


if __name__ == "__main__":
    main()
