"""Dates, binned numbers and hashed categories, from a table to a loaded model's predictions."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from runs import RunOnce

import polysense
from polysense.api import new

ENCODERS = (
    "model.encoders.user={type: hashed_category, hash_buckets: 32}",
    "model.encoders.price={type: piecewise_linear, num_bins: 8}",
)


@pytest.fixture(scope="module")
def weekdays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The label is whether the day is a Saturday or Sunday, which only the date tells."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("weekdays") / "days.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "price", "user", "label"])
        for index in range(240):
            day = datetime.date(2020, 1, 1) + datetime.timedelta(days=int(generator.integers(0, 1500)))
            text = "soon" if index == 7 else "" if index == 9 else f"{day:%d/%m/%Y}"
            label = "weekend" if day.weekday() >= 5 else "week"
            writer.writerow([text, f"{generator.normal():.3f}", f"user-{generator.integers(150)}", label])
    return path


@pytest.fixture(scope="module")
def run(weekdays: Path, run_once: RunOnce) -> polysense.Run:
    def train(to: Path) -> polysense.Run:
        return polysense.fit(
            weekdays,
            target="label",
            columns={"day": "date", "user": "category"},
            output=to / "run",
            preset="fast",
            overrides=[
                *ENCODERS,
                "model.width=32",
                "training.epochs=15",
                "training.batch_size=16",
                "training.tensorboard=false",
                "evaluation.bootstrap=20",
                "data.split.test=0.2",
            ],
            progress=False,
        )

    return run_once("tabular", train)


def test_the_weekday_is_learned_from_the_date(run: polysense.Run) -> None:
    assert run.metrics["test"]["label"]["accuracy"]["value"] >= 0.9
    cells = [json.loads(line) for line in (run.folder / "unreadable.jsonl").read_text().splitlines()]
    assert [(cell["row"], cell["column"]) for cell in cells] == [(7, "day")]
    assert "found 'soon', expected a date" in cells[0]["reason"]


def test_the_bundle_reads_new_dates_and_values(run: polysense.Run) -> None:
    bundle = polysense.load(run.folder)
    columns = {column.name: column for column in bundle.schema}
    assert columns["price"].quantiles is not None
    assert columns["user"].collision_rate is not None
    rows = [
        {"day": "04/02/2023", "price": "0.5", "user": "never seen"},  # a Saturday; read month first, a Sunday
        {"day": datetime.date(2023, 2, 8), "price": 0.5, "user": "user-1"},
        {"day": "02/30/2023", "price": 0.5, "user": "user-1"},
        {"price": 0.5},
    ]
    found = bundle.predict(rows)
    assert found.frame["label"].to_list()[:2] == ["weekend", "week"]
    assert found.frame["missing"].to_list() == ["", "", "day", "day, user"]
    assert [cell.source.row for cell in found.unreadable] == [2]
    alone = [bundle.predict([row]).frame["label_probability[week]"].item() for row in rows]
    assert found.frame["label_probability[week]"].to_list() == pytest.approx(alone, abs=1e-6)


def test_a_new_recipe_has_the_date_and_says_why_it_had_been_left_out(weekdays: Path) -> None:
    without = new(weekdays, "label")
    assert "day: ignored: dates or times such as" in without
    assert "day first, as" in without
    stated = new(weekdays, "label", columns={"day": "date"})
    assert "type: date\n" in stated
    assert "type: date_mlp\n" in stated
