"""An imputer in a recipe: what it fills, what it must not see, and that the trained bundle stands alone."""

from __future__ import annotations

import dataclasses
import io
import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from bundle_files import manifest_of, rewrite_manifest
from model_helpers import row_arrays
from PIL import Image
from runs import RunOnce
from small_runs import SMALL as SMALL_RUN

import polysense
from polysense.bundle import Bundle
from polysense.data.tables.sources import Table, read_table
from polysense.errors import CheckpointError
from polysense.recipe import Recipe, load_recipe
from polysense.workflows.imputation.plan import plan_imputer
from polysense.workflows.prepare import prepare, split_tables
from polysense.workflows.representation.fingerprint import fingerprint
from polysense.workflows.scoring import only_column
from polysense.workflows.train import train_model

SMALL = [*SMALL_RUN, "model.fusion=concat"]
KINDS = {"size": "number", "kind": "category", "day": "date", "note": "text", "photo": "image", "extra": "ignored"}
FILLED = ("size", "kind", "day", "note")
LOST = 0.3


def rows(num: int = 32, seed: int = 0, lost: float = 0.0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    found = []
    for index in range(num):
        x = float(generator.normal())
        image = io.BytesIO()
        Image.fromarray(np.full((8, 8), int(np.clip(128 + 50 * x, 0, 255)), dtype=np.uint8)).save(image, "PNG")
        row: dict[str, Any] = {
            "size": f"{100 + 10 * x:.1f}",
            "kind": "big" if x > 0 else "small",
            "day": f"{1 + index % 28:02}.{1 + index % 12:02}.2021",
            "note": "a large one" if x > 0 else "a small one of them",
            "photo": image.getvalue(),
            "extra": "yes" if x > 0 else "no",
            "label": "yes" if x > 0 else "no",
        }
        gone = generator.random(5) < lost
        found.append(row | {name: None for name, absent in zip(KINDS, gone, strict=False) if absent})
    return found


@pytest.fixture(scope="module")
def pretrained(run_once: RunOnce) -> Path:
    """Restores every column, the label and `extra` too."""

    def train(to: Path) -> polysense.Run:
        return polysense.fit(
            rows(),
            task="reconstruction",
            columns={**KINDS, "extra": "category", "label": "category"},
            preset="fast",
            output=to / "run",
            overrides=SMALL,
            progress=False,
        )

    run = run_once("imputer", train)
    return run.folder


def recipe_for(source: list[dict[str, Any]], *overrides: str, impute: Path | None, **options: Any) -> Recipe:
    named = [] if impute is None else [f"data.impute={impute}"]
    options = {"target": "label", "columns": KINDS} | options
    return prepare(source, preset="fast", overrides=[*SMALL, *named, *overrides], **options).recipe


def trained(recipe: Recipe, source: list[dict[str, Any]], folder: Path, *, resume: bool = False) -> Bundle:
    tables = split_tables(recipe.data, read_table(source), 0)
    return train_model(recipe, tables, folder, resume=resume, progress=False)[0]


@pytest.fixture(scope="module")
def bundle(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained on a table with holes; then what filled them is deleted."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(pretrained, folder / "gone")
    run = polysense.fit(
        rows(lost=LOST),
        target="label",
        columns=KINDS,
        preset="fast",
        output=folder / "run",
        overrides=[*SMALL, f"data.impute={folder / 'gone'}", "evaluation.report=true"],
        progress=False,
    )
    shutil.rmtree(folder / "gone")
    return polysense.load(run.folder)


def imputations(bundle: Bundle, source: Any) -> list[dict[str, Any]]:
    """Per row what fills its missing cells."""
    table = bundle.dataset(source).table
    assert table.imputations is not None
    return [
        {n: cells[row] for n, cells in table.imputations.cells.items() if row in cells} for row in table.rows.tolist()
    ]


def test_nothing_that_it_knows_is_missing_and_nothing_that_is_there_is_touched(bundle: Bundle) -> None:
    source = rows(lost=LOST, seed=1)
    table, dataset = read_table(source), bundle.dataset(source)
    num_filled = 0
    for index in range(len(table)):
        sample = dataset[index]
        assert set(FILLED) <= set(sample.values), index
        assert not sample.unreadable
        assert ("photo" in sample.values) == (table.cell(index, "photo") is not None)
        for name in FILLED:
            before, after = table.cell(index, name), dataset.table.cell(index, name)
            assert (before is None and after is not None) or before == after
            num_filled += before is None
    assert num_filled > 20
    # A cell that is there reads as without an imputer, to the bit.
    plain = dataclasses.replace(dataset.table, imputations=None)
    for index in range(len(table)):
        bare = bundle.processor.transform(plain, index, with_targets=False)
        for name, items in bare.values.items():
            assert all(np.array_equal(a, b) for a, b in zip(items, dataset[index].values[name], strict=True))
    found = bundle.predict(source).frame
    assert all(set(cell.split(", ")) <= {"photo", ""} for cell in found["missing"])
    assert found["imputed"].to_list() == [", ".join(row) for row in imputations(bundle, source)]


def test_it_fills_in_training_as_well_and_says_how_much(bundle: Bundle) -> None:
    report = bundle.info["impute"]
    assert list(report["imputations"]) == list(FILLED)
    assert report["hidden"] == ["extra", "label"]
    assert "imputed only with" in report["left_alone"]["photo"]
    parts = split_tables(load_recipe(bundle.folder.parent / "recipe.yaml").data, read_table(rows(lost=LOST)), 0)  # type: ignore[union-attr]
    for split, table in parts.items():
        for name in FILLED:
            missing = sum(cell is None for cell in table.cells(name))
            assert report["cells"][split][name] == [missing, missing]
    card = (bundle.folder / "README.md").read_text()  # type: ignore[operator]
    assert "## Imputed cells" in card
    assert "masked for it: extra, label" in card
    assert "missing cells imputed" in (bundle.folder.parent / "report.html").read_text()  # type: ignore[union-attr]
    # Fitted on what was filled: no more words, dates or categories than the imputer and the table have.
    assert bundle.processor.columns["size"].column.std is not None


def test_a_row_alone_is_the_row_in_its_table(bundle: Bundle) -> None:
    source = rows(lost=LOST, seed=2)
    whole = row_arrays(bundle, source, "label")["probabilities"]
    for index in (0, 3, 17):
        row = {name: cell for name, cell in source[index].items() if cell is not None}  # a request lacks the columns
        alone = row_arrays(bundle, row, "label")["probabilities"]
        assert np.array_equal(alone[0], whole[index])
    backwards = row_arrays(bundle, source[::-1], "label")["probabilities"]
    assert np.array_equal(backwards[::-1], whole)
    # What fills a cell does not depend on the type of its column, which is one of all rows.
    typed = [row | {"size": None if row["size"] is None else round(float(row["size"]))} for row in source]
    lacking = [index for index, row in enumerate(source) if row["size"] is None][:2]
    alone_typed = [imputations(bundle, [{**typed[index]}])[0]["size"] for index in lacking]
    assert [imputations(bundle, typed)[index]["size"] for index in lacking] == alone_typed


def test_neither_the_answer_nor_a_column_that_is_left_out_comes_in(bundle: Bundle) -> None:
    source = rows(lost=LOST, seed=3)
    expected = imputations(bundle, source)
    turned = {"yes": "no", "no": "yes"}
    other = [row | {name: turned[row[name]] for name in ("label", "extra")} for row in source]
    assert imputations(bundle, other) == expected
    assert (
        imputations(bundle, [{n: c for n, c in row.items() if n not in ("label", "extra")} for row in source])
        == expected
    )
    assert imputations(bundle, [row | {"photo": None} for row in source]) != expected  # which may be looked at


def test_a_row_that_holds_nothing_stays_so_and_what_cannot_be_read_is_not_missing(bundle: Bundle) -> None:
    empty: dict[str, Any] = dict.fromkeys(KINDS)
    broken = {**rows(1)[0], "size": "not a number", "note": None}
    found = bundle.predict([empty, broken])
    assert found.frame["imputed"].to_list() == ["", "note"]
    assert found.frame["missing"].to_list() == ["size, kind, day, note, photo", "size"]
    assert [(cell.source.row, cell.source.column) for cell in found.unreadable] == [(1, "size")]


def test_the_bundle_stands_alone_and_saves_again(bundle: Bundle, tmp_path: Path) -> None:
    source = rows(12, lost=LOST, seed=4)
    bundle.save(tmp_path / "copy")
    copy = polysense.load(tmp_path / "copy")
    first, again = (one.predict(source) for one in (bundle, copy))
    assert first.frame.equals(again.frame)
    mark = fingerprint(copy)
    assert mark == fingerprint(bundle)
    plain = manifest_of(tmp_path / "copy")
    plain["imputer"]["imputations"].pop("note")
    rewrite_manifest(tmp_path / "copy", plain)
    assert fingerprint(polysense.load(tmp_path / "copy")) != mark
    scores = polysense.evaluate(bundle, source, bootstrap=0)
    assert scores.metrics["label"]["accuracy"]["value"] is not None
    positions = polysense.embed(bundle, source)[1]
    assert np.array_equal(polysense.embed(bundle, source[3:4])[1][0], positions[3])


def test_a_resumed_run_is_the_run_that_was_not_stopped(
    pretrained: Path, tmp_path: Path, stopped_after_an_epoch: Callable[[], AbstractContextManager[None]]
) -> None:
    source, gone = rows(lost=LOST), tmp_path / "gone"
    shutil.copytree(pretrained, gone)
    recipe = recipe_for(source, "training.epochs=2", impute=gone)
    whole = trained(recipe, source, tmp_path / "whole")

    with stopped_after_an_epoch():
        trained(recipe, source, tmp_path / "cut")
    shutil.rmtree(gone)
    resumed = trained(recipe, source, tmp_path / "cut", resume=True)
    states = [one.model.state_dict() for one in (resumed, whole)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert resumed.info["impute"] == whole.info["impute"]
    without = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, impute=None))
    with pytest.raises(CheckpointError, match=r"data.impute was"):
        trained(without, source, tmp_path / "cut", resume=True)


def planned(source: list[dict[str, Any]], *overrides: str, impute: Path | None, **options: Any) -> Any:
    recipe = recipe_for(source, *overrides, impute=impute, **options)
    return plan_imputer(recipe, {"train": read_table(source)})


def test_what_does_not_fit_is_refused_by_name(pretrained: Path, bundle: Bundle) -> None:
    source = rows(24, lost=LOST)
    with pytest.raises(polysense.UserError, match=r"data.impute: .*reconstructs no columns.*--task reconstruction"):
        planned(source, impute=bundle.folder)
    with pytest.raises(polysense.UserError, match="no such folder"):
        planned(source, impute=Path("nowhere"))
    with pytest.raises(polysense.UserError, match="'note' means something else: it is text there and category here"):
        planned(source, impute=pretrained, columns={**KINDS, "note": "category"})
    others = [{"label": row["label"], "length": row["size"], "name": row["note"]} for row in source]
    with pytest.raises(polysense.UserError, match=r"imputes none of the input columns ..*; it reconstructs"):
        planned(others, impute=pretrained, columns={"length": "number", "name": "text"})
    commas = [row | {"size": row["size"] and row["size"].replace(".", ",")} for row in source]
    with pytest.raises(polysense.UserError, match=r"its decimal mark is '.' there and ',' here"):
        planned(commas, impute=pretrained)
    years = [row | {"day": 2021} for row in source]
    with pytest.raises(polysense.UserError, match=r"its dates are dates there and numbers .year. here"):
        planned(years, impute=pretrained)
    images = [{"photo": row["photo"], "label": row["label"]} for row in source]
    with pytest.raises(polysense.UserError, match="photo: is image, which is an input and is imputed only with"):
        planned(images, impute=pretrained, columns={"photo": "image"})
    # What is filled would be the truth that it is compared with.
    with pytest.raises(polysense.UserError, match="note: a target is made of it"):
        planned(source, impute=pretrained, target=["photo", "note"], task="retrieval", columns=KINDS)
    meters = [row | {"size": row["size"] and str(float(row["size"]) * 100)} for row in source]
    assert planned(meters, impute=pretrained) is not None


def test_another_unit_is_doubted(pretrained: Path, caplog: pytest.LogCaptureFixture) -> None:
    grams = [row | {"size": row["size"] and str(float(row["size"]) * 100)} for row in rows(24, lost=LOST)]
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        planned(grams, impute=pretrained)
    assert "column 'size': its numbers lie" in caplog.text
    assert "is it another unit?" in caplog.text


def test_held_out_rows_that_it_was_trained_on_are_told_of(pretrained: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = rows()
    recipe = recipe_for(source, "data.split.test=0.3", "data.split.stratify=false", impute=pretrained)
    table = read_table(source)
    own = split_tables(prepare(pretrained / "recipe.yaml", data=source).recipe.data, table, 0)
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        planned_ = plan_imputer(recipe, {"train": own["validation"], "test": own["train"]})
    assert planned_ is not None
    assert planned_.report["seen"] == {"test": [len(own["train"])] * 2}
    assert f"it was trained on {len(own['train'])} of the {len(own['train'])} test rows" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        fair = plan_imputer(recipe, {"train": own["train"], "test": own["validation"]})
    assert fair is not None
    assert fair.report["seen"] == {}
    assert "trained on" not in caplog.text


def test_one_split_without_labels_is_the_same_for_both(pretrained: Path) -> None:
    """What the warning advises."""
    source = rows()
    first = prepare(pretrained / "recipe.yaml", data=source).recipe
    second = recipe_for(source, "data.split.stratify=false", impute=pretrained)
    tables: list[dict[str, Table]] = [split_tables(one.data, read_table(source), 0) for one in (first, second)]
    assert {name: part.rows.tolist() for name, part in tables[0].items()} == {
        name: part.rows.tolist() for name, part in tables[1].items()
    }


def test_a_recipe_names_it_relative_to_itself_and_a_column_alone_needs_none(pretrained: Path, tmp_path: Path) -> None:
    recipe = recipe_for(rows(), impute=pretrained)
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "r.yaml") == recipe
    (tmp_path / "r.yaml").write_text(recipe.to_yaml().replace(str(pretrained), "runs/imputer"))
    assert load_recipe(tmp_path / "r.yaml").data.impute == str(tmp_path.resolve() / "runs" / "imputer")
    assert load_recipe(tmp_path / "r.yaml", ["data.impute=null"]).data.impute is None
    assert only_column(recipe, "size").data.impute is None


def test_a_text_that_is_streamed_is_the_text_that_is_predicted(pretrained: Path, tmp_path: Path) -> None:
    source = rows(16, lost=LOST)
    recipe = recipe_for(
        source,
        "training.epochs=0",
        "data.targets.extra.tokens=characters",
        "model.heads.extra.decoding.max_new_tokens=4",
        impute=pretrained,
        target="extra",
        columns={**KINDS, "extra": "generation", "label": "ignored"},
    )
    bundle = trained(recipe, source, tmp_path / "run")
    texts = bundle.predict(source).frame["extra"].to_list()
    assert ["".join(pieces) for pieces in polysense.stream(bundle, source)] == texts
    assert "".join(bundle.stream(source, row=5)) == texts[5]
    assert pl.Series(bundle.predict(source).frame["imputed"]).str.contains("size").any()
