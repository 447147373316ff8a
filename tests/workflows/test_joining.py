"""Joined tables from the recipe to predictions: what is settled, what a bundle asks for, what a resumed run refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import polysense
from polysense import Table, read_table
from polysense.data.joins.config import JoinConfig
from polysense.errors import CheckpointError, ConfigError, TableError
from polysense.workflows.check.check import check
from polysense.workflows.prepare import prepare

SMALL = (
    "training.epochs=2", "training.batch_size=16", "training.tensorboard=false", "model.width=16", "data.num_workers=0",
    "evaluation.bootstrap=0", "evaluation.contribution=false", "evaluation.simple_baselines=false", "audit=off",
    "data.split.test=0.2", "data.split.validation=0.2",
)  # fmt: skip
NUM, ITEMS = 60, 12
DRAWS = np.random.default_rng(0)
OF_ORDER = DRAWS.integers(0, ITEMS, NUM)
ORDERS = {
    "order_id": [f"o{i}" for i in range(NUM)],
    "item_id": [f"{i:02d}" for i in OF_ORDER.tolist()],
    "weight": [float(i * 7 % 10) for i in range(NUM)],
    "returned": [("no", "yes")[(i + (row % 9 == 4)) % 2] for row, i in enumerate(OF_ORDER.tolist())],
}
ITEMS_TABLE = {
    "id": list(range(ITEMS)),
    "price": [5.0 + (i % 5) * 3 + i / 10 for i in range(ITEMS)],
    "unused": ["x"] * ITEMS,
}
NOTES = {
    "item_id": [f"{i:02d}" for i in range(ITEMS) for _ in range(3)],
    "text": [
        f"{('fine', 'broken')[i % 2]} {('cup', 'pot', 'lid')[k]} number {i}" for i in range(ITEMS) for k in range(3)
    ],
    "day": [f"2024-01-{1 + k:02d}" for _ in range(ITEMS) for k in range(3)],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined")
    for name, cells in (("orders", ORDERS), ("items", ITEMS_TABLE), ("notes", NOTES)):
        pl.DataFrame(cells).write_csv(folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> polysense.Run:
    overrides = [*SMALL, *paths(folder), "data.tables.notes.order=day", "data.tables.notes.last=2"]
    return polysense.fit(
        folder / "orders.csv",
        target="returned",
        output=folder / "run",
        preset="fast",
        progress=False,
        overrides=overrides,
    )


def copied(run: polysense.Run, folder: Path) -> Path:
    """A copy of the tables and the run, to be changed."""
    shutil.copytree(run.folder.parent, folder / "copy")
    return folder / "copy"


def paths(folder: Path) -> list[str]:
    """The tables to join, as overrides."""
    return [f"data.tables.{name}={folder / name}.csv" for name in ("items", "notes")]


def all_tables(folder: Path) -> Table:
    return read_table(folder / "orders.csv", join={"items": folder / "items.csv", "notes": folder / "notes.csv"})


def test_the_recipe_says_how_tables_were_joined_and_is_enough(run: polysense.Run) -> None:
    assert run.recipe.data.tables == {
        "items": JoinConfig(
            table=str(run.folder.parent / "items.csv"), on={"item_id": "id"}, rows="one", keys="numbers"
        ),
        "notes": JoinConfig(
            table=str(run.folder.parent / "notes.csv"), on={"item_id": "item_id"}, rows="many", keys="exact",
            order="day", last=2,
        ),
    }  # fmt: skip
    assert {"weight", "items.price", "notes.text"} <= set(run.recipe.data.columns)
    assert "items.unused" not in run.recipe.data.columns
    again = prepare(run.folder / "recipe.yaml")
    assert again.recipe.data == run.recipe.data
    assert "items.unused" not in again.table.names
    assert again.table.cell(0, "notes.text") == [
        f"{('fine', 'broken')[OF_ORDER[0] % 2]} {what} number {OF_ORDER[0]}" for what in ("pot", "lid")
    ]
    assert "../items.csv" in (run.folder / "recipe.yaml").read_text(encoding="utf-8")


def test_a_bundle_joins_a_new_table_or_says_what_it_lacks(run: polysense.Run, folder: Path) -> None:
    bundle = polysense.load(run.folder)
    predictions = bundle.predict(all_tables(folder), keep=["order_id", "items.unused"])
    assert predictions.frame["order_id"].to_list() == ORDERS["order_id"]
    assert predictions.frame["items.unused"].to_list() == ["x"] * NUM
    with pytest.raises(TableError, match=r"also reads the table 'notes' \(in training notes\.csv\), joined by item_id"):
        bundle.predict(read_table(ORDERS, join={"items": ITEMS_TABLE}))
    in_memory = bundle.predict(
        read_table({**ORDERS, "item_id": ORDERS["item_id"]}, join={"items": ITEMS_TABLE, "notes": NOTES})
    )
    assert in_memory.frame["returned_probability"].equals(predictions.frame["returned_probability"])
    joined = bundle.read(all_tables(folder))
    row = {name: joined.cell(3, name) for name in joined.names}
    assert bundle.predict([row]).frame["returned"][0] == predictions.frame["returned"][3]


def test_a_row_depends_on_its_own_key_alone(run: polysense.Run, folder: Path) -> None:
    bundle = polysense.load(run.folder)
    whole = bundle.predict(all_tables(folder)).frame
    some = {name: cells[5:9] for name, cells in ORDERS.items()}
    part = bundle.predict(read_table(some, join={"items": ITEMS_TABLE, "notes": NOTES})).frame
    assert part["returned_probability"].to_list() == whole["returned_probability"].to_list()[5:9]
    some["item_id"] = [*some["item_id"][:3], "unknown"]
    other = bundle.predict(read_table(some, join={"items": ITEMS_TABLE, "notes": NOTES}))
    assert other.frame["returned_probability"].to_list()[:3] == part["returned_probability"].to_list()[:3]
    assert other.frame["missing"][3] == "items.price, notes.text"
    assert any("the key of 1 row of table is not in items (row 3: 'unknown')" in each for each in other.warnings)


def test_evaluate_takes_the_tables_and_their_columns(run: polysense.Run, folder: Path) -> None:
    scores = polysense.evaluate(run.folder, all_tables(folder), split="test", bootstrap=0, by=["items.unused"])
    assert "items.unused" in scores.text()
    with pytest.raises(TableError, match="also reads the table 'items'"):
        polysense.evaluate(run.folder, folder / "orders.csv", bootstrap=0)


@pytest.mark.parametrize(
    ("name", "cells", "change"),
    [
        ("items", {**ITEMS_TABLE, "price": [1.0] * ITEMS}, "data.tables.items has changed: the cells of 'price'"),
        ("notes", {key: cells[:-1] for key, cells in NOTES.items()}, "data.tables.notes has changed: it had 36 rows"),
    ],
)
def test_a_run_is_not_resumed_with_other_joined_tables(
    run: polysense.Run, tmp_path: Path, name: str, cells: dict[str, Sequence[Any]], change: str
) -> None:
    folder = copied(run, tmp_path)
    polysense.fit(folder / "run", resume=True, progress=False)
    pl.DataFrame({**ITEMS_TABLE, "unused": ["y"] * ITEMS}).write_csv(folder / "items.csv")  # which nothing reads
    polysense.fit(folder / "run", resume=True, progress=False)
    pl.DataFrame(cells).write_csv(folder / f"{name}.csv")
    with pytest.raises(CheckpointError, match=change):
        polysense.fit(folder / "run", resume=True, progress=False)


def test_validation_and_test_tables_are_joined_too(folder: Path) -> None:
    from polysense.workflows.prepare import split_tables

    prepared = prepare(
        folder / "orders.csv", target="returned", test=folder / "orders.csv", preset="fast", overrides=paths(folder)
    )
    parts = split_tables(prepared.recipe.data, prepared.table, 0)
    assert parts["test"].frame["items.price"].to_list() == prepared.table.frame["items.price"].to_list()


def test_a_check_lists_what_has_no_partner(folder: Path) -> None:
    cells = {**ORDERS, "item_id": ["99", *ORDERS["item_id"][1:]]}
    for target in ("returned", None):
        findings = check(read_table(cells, join={"items": ITEMS_TABLE}), target=target).as_json()["findings"]
        by_kind = {each["kind"]: each for each in findings}
        assert by_kind["unmatched_keys"]["rows"] == [0]
        assert by_kind["unmatched_keys"]["columns"] == ["item_id"]
        assert "'99'" in by_kind["unmatched_keys"]["message"]
        assert "only because keys are compared as numbers" in by_kind["key_spelling"]["message"]
        assert json.dumps(findings)


def test_columns_of_lists_are_what_their_own_table_says(folder: Path) -> None:
    guesses = {guess.name: guess for guess in prepare(all_tables(folder), target="returned").guesses}
    assert guesses["notes.text"].modality == "text"
    assert guesses["notes.text"].multiple
    assert guesses["notes.text"].reason.startswith("text: lists of up to 3 cells of notes.csv: ")
    assert guesses["notes.day"].role == "ignored"


def test_recipes_and_settings_that_are_wrong(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    short = polysense.new(folder / "orders.csv", "returned", folder=tmp_path, minimal=True, overrides=paths(folder))
    recipe.write_text(short, encoding="utf-8")
    assert "item_id: id" in short
    assert prepare(recipe).table.names == ["order_id", "item_id", "weight", "returned", "items.price", "notes.text"]
    with pytest.raises(ConfigError, match=r"the recipe joins no table 'item'; did you mean 'items'"):
        prepare(recipe, data=read_table(ORDERS, join={"item": ITEMS_TABLE}))
    with pytest.raises(ConfigError, match=r"data\.tables\.items\.table is not set"):
        prepare(recipe, overrides=["data.tables.items.table=null"])
    with pytest.raises(ConfigError, match=r"data\.tables\.items: rows: found .several."):
        prepare(all_tables(folder), target="returned", overrides=["data.tables.items.rows=several"])
    with pytest.raises(ConfigError, match="before: rows before 'x' need `order`"):
        prepare(all_tables(folder), target="returned", overrides=["data.tables.items.before=x"])
    short = recipe.read_text(encoding="utf-8")
    given = prepare(folder / "orders.csv", target="returned", overrides=[f"data.tables.items={folder / 'items.csv'}"])
    assert given.recipe.data.tables["items"].on == {"item_id": "id"}
