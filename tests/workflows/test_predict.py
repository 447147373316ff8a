"""Predictions: rows and tables with nothing in them, and targets called like the output's own columns."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import polysense
from polysense.errors import TableError

FAST = [
    "training.epochs=1",
    "evaluation.bootstrap=0",
    "evaluation.contribution=false",
    "evaluation.report=false",
    "evaluation.samples=0",
    "data.num_workers=0",
    "training.tensorboard=false",
]


def rows(names: dict[str, str]) -> list[dict[str, Any]]:
    draw, results = random.Random(1), []
    for _ in range(60):
        label = draw.choice(["yes", "no", "no"])
        answers = {
            "label": label,
            "price": round(draw.gauss(3.0, 1.0), 2),
            "tags": ["a"] if label == "yes" else draw.choice([["a", "b"], ["b"]]),
        }
        size = draw.gauss(1.0 if label == "yes" else 2.0, 0.5)
        results.append({"size": size, **{names[key]: answers[key] for key in names}})
    return results


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> polysense.Bundle:
    table = rows({"label": "label", "price": "price", "tags": "tags"})
    folder = tmp_path_factory.mktemp("runs") / "run"
    return polysense.fit(table, target=["label", "price", "tags"], output=folder, overrides=FAST, progress=False).bundle


def test_a_row_with_nothing_in_it_gets_the_training_prior_and_is_marked(trained: polysense.Bundle) -> None:
    frame = trained.predict([{"size": 1.0}, {"size": None}, {"size": "odd"}]).frame
    assert frame["no_input"].to_list() == [False, True, True]
    label, price, tags = trained.schema.targets
    counts = dict(zip(label.classes, label.class_counts, strict=True))
    assert frame["label"].to_list()[1:] == ["no", "no"]
    for name, count in counts.items():
        assert frame[f"label_probability[{name}]"][1] == pytest.approx(count / sum(counts.values()))
    assert frame["price"][1] == pytest.approx(price.mean[0])
    shares = [count / tags.num_rows for count in tags.class_counts]
    assert [frame[f"tags_probability[{name}]"][1] for name in tags.classes] == pytest.approx(shares)
    assert frame["tags"][1].to_list() == [name for name, share in zip(tags.classes, shares, strict=True) if share > 0.5]
    assert frame["price"][0] != pytest.approx(price.mean[0])


def test_the_prior_does_not_depend_on_other_rows(trained: polysense.Bundle) -> None:
    alone = trained.predict([{"size": None}]).frame
    together = trained.predict([{"size": 1.0}, {"size": None}, {"size": 3.0}]).frame
    assert together[1:2].equals(alone)


def test_a_table_without_any_of_the_columns_is_refused(trained: polysense.Bundle) -> None:
    message = (
        "none of the model's columns; expected at least one of 'size'; found 'siz', 'other'; .*; did you mean 'siz'"
    )
    with pytest.raises(TableError, match=message):
        trained.predict([{"siz": 1.0, "other": 2}])


@pytest.mark.parametrize("name", ["missing", "no_input", "row", "b_probability", "b_probability[yes]", "missing_"])
def test_a_target_called_like_an_output_column(name: str, tmp_path: Path) -> None:
    table = rows({"label": name, "price": "b"})
    for row in table:
        row["b"] = "yes" if row["b"] > 3 else "no"
    bundle = polysense.fit(table, target=["b", name], output=tmp_path / "run", overrides=FAST, progress=False).bundle
    frame = bundle.predict(table[:5]).frame
    assert set(frame[name].to_list()) <= {"yes", "no"}
    assert set(frame["b"].to_list()) <= {"yes", "no"}
    probabilities = [column for column in frame.columns if "probability" in column and frame[column].dtype.is_float()]
    assert len(probabilities) == 6, "none is lost"
    absent = "missing_" if name == "missing" else "missing"
    assert frame[absent].to_list() == [""] * 5
