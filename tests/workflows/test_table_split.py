"""Which rows of a table a trained model is scored on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from runs import RunOnce

import polysense
from polysense.bundle import Bundle, load
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError, TableError
from polysense.workflows.table_split import part_of

SMALL = ["model.width=16", "training.epochs=1", "training.batch_size=16", "evaluation.bootstrap=0"]


@pytest.fixture(scope="module")
def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = ("train", "train", "dev", "test")
    return pl.DataFrame([{**row, "split": names[i % 4]} for i, row in enumerate(rows)])


@pytest.fixture(scope="module")
def by_column(frame: pl.DataFrame, run_once: RunOnce) -> Bundle:
    run = run_once("split column", lambda to: polysense.fit(frame, target="label", overrides=SMALL, output=to / "run"))
    return load(run.folder)


def test_a_part_is_the_split_column_s(by_column: Bundle, frame: pl.DataFrame) -> None:
    table = read_table(frame)

    assert [len(part_of(by_column, table, name)) for name in ("train", "validation", "test", "all")] == [40, 20, 20, 80]
    assert part_of(by_column, table, "test").cells("split") == ["test"] * 20


def test_all_rows_are_scored_with_a_warning_that_some_were_trained_on(
    by_column: Bundle, frame: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        scores = polysense.evaluate(by_column, frame, bootstrap=0)

    assert scores.evaluation.num_counted("label") == 80
    assert "40 of these 80 rows are in the split that the model was trained on" in caplog.text


def test_test_rows_are_scored_alone_and_without_a_warning(
    by_column: Bundle, frame: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    only = frame.filter(pl.col("split") == "test")
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        found = polysense.evaluate(by_column, frame, bootstrap=0, split="test")
        alone = polysense.evaluate(by_column, only, bootstrap=0, split="test")
        unasked = polysense.evaluate(by_column, only, bootstrap=0)

    assert found.evaluation.num_counted("label") == 20
    assert found.metrics == alone.metrics == unasked.metrics
    assert "trained on" not in caplog.text


def test_a_split_by_chance_is_told_only_of_its_own_table(
    trained: Callable[[str], polysense.Run], frame: pl.DataFrame
) -> None:
    run = trained("classification")
    bundle, path = load(run.folder), run.folder.parent / "data.csv"

    sizes = [len(part_of(bundle, read_table(path), name)) for name in ("train", "validation", "test")]
    assert sum(sizes) == 72
    assert sizes[2] == pytest.approx(0.2 * 72, abs=2)
    with pytest.raises(ConfigError, match="nothing tells which rows are its test split: it was trained on another one"):
        part_of(bundle, read_table(frame), "test")


def test_a_part_that_is_not_there_is_refused(by_column: Bundle, frame: pl.DataFrame) -> None:
    with pytest.raises(ConfigError, match="found 'tset', expected one of train, validation, test, all"):
        part_of(by_column, read_table(frame), "tset")
    with pytest.raises(TableError, match="no row is in the test split"):
        part_of(by_column, read_table(frame.filter(pl.col("split") != "test")), "test")
    with pytest.raises(ConfigError, match="it has no column 'split'"):
        part_of(by_column, read_table(frame.drop("split")), "test")


@pytest.fixture(scope="module")
def by_chance(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table's file that generates text, split by chance."""
    folder = tmp_path_factory.mktemp("by chance")
    pl.DataFrame(rows).write_csv(folder / "t.csv")
    polysense.fit(
        folder / "t.csv", target="label", columns={"label": "generation"}, output=folder / "runs" / "run",
        overrides=[*SMALL, "data.split.test=0.25", "evaluation.contribution=false"], progress=False,
    )  # fmt: skip
    return folder


def test_another_decoding_knows_the_training_table_too(
    by_chance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    run, table = by_chance / "runs" / "run", by_chance / "t.csv"
    part = polysense.evaluate(run, table, split="test", bootstrap=0)
    other = polysense.evaluate(run, table, split="test", bootstrap=0, decoding={"type": "beam", "beam_size": 2})
    assert other.evaluation.num_counted("label") == part.evaluation.num_counted("label") < 80
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        polysense.evaluate(run, table, bootstrap=0, decoding="beam")
    assert "are in the split that the model was trained on" in caplog.text


def test_a_bundle_saved_elsewhere_knows_the_training_table(by_chance: Path, tmp_path: Path) -> None:
    bundle = load(by_chance / "runs" / "run")
    table = read_table(by_chance / "t.csv")
    size = len(part_of(bundle, table, "test"))
    places = [tmp_path / "copy", tmp_path / "a" / "b" / "copy", tmp_path / "foreign"]
    places[2].mkdir()
    (places[2] / "notes.txt").write_text("mine")
    for place in places:
        bundle.save(place)
        assert str(tmp_path) not in (place / "bundle.json").read_text()
        assert len(part_of(load(place), table, "test")) == size
        assert len(part_of(bundle, table, "test")) == size


def test_scores_by_a_column_that_the_model_does_not_read(by_column: Bundle, frame: pl.DataFrame) -> None:
    scores = polysense.evaluate(by_column, frame, bootstrap=20, by=["split"])

    (groups,) = scores.groups
    assert {group.value: group.num for group in groups.groups} == {"train": 40, "dev": 20, "test": 20}
    assert "label by split" in scores.text()
    assert max(map(len, scores.text().splitlines())) <= 80
    assert scores.as_json()["groups"][0]["groups"][0]["value"] == "train"
    with pytest.raises(TableError, match="no column to group by 'splt'; did you mean 'split'"):
        polysense.evaluate(by_column, frame, bootstrap=0, by=["splt"])
