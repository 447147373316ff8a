"""Predictions: rows with nothing in them, what stands beside them, and targets called like the output's columns."""

from __future__ import annotations

import datetime
import json
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
    assert together[1:2].drop("row").equals(alone.drop("row"))


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
    assert frame["row_" if name == "row" else "row"].to_list() == [*range(5)]


def test_the_row_s_number_and_kept_columns_stand_beside_the_prediction(trained: polysense.Bundle) -> None:
    table = [{"size": 1.0, "id": f"x{i}", "note": None, "label": "yes", "parts": ["a", "b"]} for i in range(3)]
    frame = polysense.predict(trained, table, keep=["parts", "id"]).frame
    assert frame.columns[:4] == ["row", "parts", "id", "label"]
    assert frame["row"].to_list() == [0, 1, 2]
    assert frame["id"].to_list() == ["x0", "x1", "x2"]
    assert frame["parts"].to_list() == [["a", "b"]] * 3
    assert frame.drop("parts", "id").equals(trained.predict(table).frame)
    assert polysense.predict(trained, table, keep="id").frame.columns[1] == "id"


def test_kept_columns_and_predictions_of_one_name_are_both_there(trained: polysense.Bundle) -> None:
    kept = ["label", "label_", "row", "missing", "label_probability[yes]", "size"]
    table = [{"size": i, **{name: f"{name} {i}" for name in kept[:-1]}} for i in range(3)]
    frame = trained.predict(table, keep=kept).frame
    plain = trained.predict(table).frame
    assert len(frame.columns) == len(plain.columns) + len(kept)
    assert frame["label"].equals(plain["label"]), "a prediction keeps its target's name"
    assert frame["label_probability[yes]_"].to_list() == plain["label_probability[yes]"].to_list()
    assert frame["row_"].to_list() == [0, 1, 2]
    assert frame["missing_"].to_list() == plain["missing"].to_list()
    for name in ("label_", "row", "missing", "label_probability[yes]"):
        assert frame[name].to_list() == [f"{name} {i}" for i in range(3)], "a kept column keeps its name"
    assert frame["label__"].to_list() == [f"label {i}" for i in range(3)]


def test_kept_cells_are_as_they_were_read(trained: polysense.Bundle, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text('size,price_in_eur,who\n1,"1,50",=1+1\n2,NA,@SUM(A1)\n,007,"-2"\n', encoding="utf-8")
    predictions = polysense.predict(trained, path, keep=["who", "price_in_eur"])
    assert predictions.frame["price_in_eur"].to_list() == ["1,50", "NA", "007"]
    assert predictions.frame["who"].to_list() == ["=1+1", "@SUM(A1)", "-2"]
    predictions.write(tmp_path / "safe.csv")
    predictions.write(tmp_path / "plain.csv", csv_safe=False)
    safe, plain = (polysense.read_table(tmp_path / name).frame for name in ("safe.csv", "plain.csv"))
    assert safe["who"].to_list() == ["'=1+1", "'@SUM(A1)", "-2"]
    assert plain["who"].to_list() == ["=1+1", "@SUM(A1)", "-2"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_kept_cells_of_every_type_are_written(trained: polysense.Bundle, tmp_path: Path, ending: str) -> None:
    table = [
        {
            "size": 1,
            "d": {"a": [1], "b": None},
            "l": [["x"], []],
            "n": 2**53,
            "t": datetime.date(2024, 2, 3),
            "o": True,
        },
        {"size": 2, "d": None, "l": None, "n": None, "t": None, "o": None},
    ]
    predictions = polysense.predict(trained, table, keep=["d", "l", "n", "t", "o"])
    predictions.write(tmp_path / f"p.{ending}")
    back = polysense.read_table(tmp_path / f"p.{ending}")
    assert [str(back.cell(0, name)) for name in ("n", "t")] == [str(2**53), "2024-02-03"]
    assert json.loads(str(back.cell(0, "d"))) == {"a": [1], "b": None}
    assert [back.cell(1, name) for name in ("d", "n", "t", "o")] == [None] * 4


def test_files_are_not_kept_but_their_names(trained: polysense.Bundle, tmp_path: Path) -> None:
    table = [{"size": 1, "photo": {"bytes": b"x", "path": "../../a.png"}, "raw": b"x", "deep": [{"blob": b"x"}]}]
    predictions = polysense.predict(trained, table, keep="photo")
    assert predictions.frame["photo"].to_list() == ["../../a.png"]
    predictions.write(tmp_path / "p.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    for name in ("raw", "deep"):
        with pytest.raises(TableError, match=f"column '{name}' holds files, which can't be kept"):
            polysense.predict(trained, table, keep=name)


def test_a_column_to_keep_that_is_not_there_is_an_error_that_names_the_nearest(trained: polysense.Bundle) -> None:
    with pytest.raises(TableError, match="no column to keep 'name'; did you mean 'names'"):
        polysense.predict(trained, [{"size": 1, "names": "a"}], keep=["name"])


def test_a_part_has_its_rows_with_their_numbers_in_the_table(trained: polysense.Bundle, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    polysense.read_table(rows({"label": "label"})).frame.write_csv(table)
    bundle = polysense.fit(table, target="label", output=tmp_path / "run", overrides=FAST, progress=False).bundle
    whole = polysense.predict(bundle, table).frame
    parts = [polysense.predict(bundle, table, split=name).frame for name in ("train", "validation")]
    assert sorted(number for part in parts for number in part["row"].to_list()) == [*range(60)]
    for part in parts:
        assert part.equals(whole[part["row"].to_list()]), "as in the whole table, to the bit"
    assert polysense.predict(bundle, table, split="all").frame.equals(whole)
    with pytest.raises(TableError, match="no row is in the test split"):
        polysense.predict(bundle, table, split="test")
