"""Recipes name files as they read from their own folder: they hold no path of a machine, and can be moved with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import polysense
from polysense.recipe import Recipe, load_recipe


def recipe_of(folder: Path) -> Recipe:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "t.csv").write_text("x,label\n" + "".join(f"{i * 7 % 11},{'ab'[i % 2]}\n" for i in range(40)))
    (folder / "recipe.yaml").write_text(polysense.new(folder / "data" / "t.csv", "label"))
    return load_recipe(
        folder / "recipe.yaml",
        [f"data.impute={folder}/filler", f"init_from.bundle={folder}/runs/old", "data.test=s3://b/t"],
    )


def test_a_new_recipe_names_its_table_as_it_reads_from_its_own_folder(tmp_path: Path) -> None:
    author = tmp_path / "author"
    recipe_of(author)
    text = polysense.new(author / "data" / "t.csv", "label", folder=author / "recipes")
    assert "author" not in text
    assert "table: ../data/t.csv" in text
    (author / "recipes").mkdir()
    (author / "recipes" / "new.yaml").write_text(text)
    moved = Path(shutil.move(author, tmp_path / "reader"))
    assert load_recipe(moved / "recipes" / "new.yaml").data.table == str(moved / "data" / "t.csv")


def test_a_recipe_in_a_folder_holds_no_path_of_the_machine(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path / "author")
    text = recipe.relative_to(tmp_path / "author" / "runs" / "new").to_yaml()
    assert "author" not in text
    assert "table: ../../data/t.csv" in text
    assert "impute: ../../filler" in text
    assert "bundle: ../old" in text


def test_a_recipe_that_was_moved_with_its_table_reads_it(tmp_path: Path) -> None:
    run = tmp_path / "author" / "runs" / "new"
    recipe = recipe_of(tmp_path / "author")
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(recipe.relative_to(run).to_yaml())
    assert load_recipe(run / "recipe.yaml") == recipe
    shutil.move(tmp_path / "author", tmp_path / "other")
    moved = load_recipe(tmp_path / "other" / "runs" / "new" / "recipe.yaml")
    assert moved.data.table == str(tmp_path / "other" / "data" / "t.csv")
    assert Path(moved.data.table).is_file()
    assert moved.init_from is not None
    assert moved.init_from.bundle == str(tmp_path / "other" / "runs" / "old")


def test_a_minimal_recipe_is_the_same_recipe_and_short(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    recipe_of(tmp_path)
    full, short = (
        polysense.new(folder / "t.csv", "label", folder=folder, minimal=minimal) for minimal in (False, True)
    )
    for name, text in (("full", full), ("short", short)):
        (folder / f"{name}.yaml").write_text(text)
    assert load_recipe(folder / "short.yaml") == load_recipe(folder / "full.yaml")
    assert len(short.splitlines()) <= 30 < len(full.splitlines())
