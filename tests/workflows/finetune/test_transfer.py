"""Pretraining, then another task: what moves, with what preprocessing, what does not and why."""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runs import RunOnce
from small_runs import SMALL as SMALL_RUN

import polysense
from polysense.bundle import Bundle
from polysense.data.tables.sources import read_table
from polysense.errors import CheckpointError, ConfigError
from polysense.recipe import Recipe
from polysense.workflows.finetune.submodules import mismatch, part_tensors, scale_learning_rate
from polysense.workflows.finetune.transfer import plan_start, without_parts
from polysense.workflows.fitted_data import fit_data
from polysense.workflows.prepare import prepare
from polysense.workflows.scoring import only_column
from polysense.workflows.train import train_model

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
SMALL = [*SMALL_RUN, "model.fusion=concat"]
KINDS = {"photo": "image", "note": "text", "weight": "number", "shop": "category"}


def rows(num: int = 48, seed: int = 0, words: str = "plain") -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    found = []
    for index in range(num):
        color = list(COLORS)[index % 3]
        pixels = np.broadcast_to(np.array(COLORS[color], dtype=np.uint8), (8, 8, 3)).copy()
        pixels[: index % 8] //= 2
        image = io.BytesIO()
        Image.fromarray(pixels).save(image, "PNG")
        found.append(
            {
                "photo": image.getvalue(),
                "note": f"{words} {color} thing number {index % 8} is here",
                "weight": float(index % 3 + generator.normal()),
                "shop": ["north", "south"][index % 2],
                "label": color,
            }
        )
    return found


@pytest.fixture(scope="module")
def pretrained(run_once: RunOnce) -> Path:
    """A joint embedding space of pictures and notes; the note is made of words, so its vocabulary is of these rows."""

    def train(to: Path) -> polysense.Run:
        return polysense.fit(
            rows(),
            task="retrieval",
            target=["photo", "note"],
            columns={**KINDS, "label": "ignored"},
            preset="fast",
            output=to / "run",
            overrides=[*SMALL, "data.columns.note.tokens=words"],
            progress=False,
        )

    run = run_once("transfer", train)
    return run.folder


def recipe_for(source: list[dict[str, Any]], *overrides: str, init_from: Path | None = None) -> Recipe:
    start = [] if init_from is None else [f"init_from.bundle={init_from}"]
    return prepare(source, target="label", preset="fast", columns=KINDS, overrides=[*SMALL, *start, *overrides]).recipe


def trained(recipe: Recipe, source: list[dict[str, Any]], folder: Path, *, resume: bool = False) -> Bundle:
    tables = {"train": read_table(source)}
    return train_model(recipe, tables, folder, resume=resume, progress=False)[0]


def states(model: Any, part: str) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in part_tensors(model, part).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_moved_parts_are_bit_equal_before_the_first_step_and_come_with_their_preprocessing(
    pretrained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = rows(24, seed=1, words="quite other words which shift every id of a vocabulary that is fitted anew")
    recipe = recipe_for(new, "training.epochs=0", init_from=pretrained)
    before = polysense.load(pretrained)
    with caplog.at_level(logging.INFO, "polysense.workflows"):
        bundle = trained(recipe, new, tmp_path / "run")
    for part in ("encoders.photo", "encoders.note"):
        assert same(states(bundle.model, part), states(before.model, part))
    # Other columns than there: the fusion can't move; the columns that are new start anew, and are fitted here.
    report = json.loads((tmp_path / "run" / "init_from.json").read_text())
    assert [moved["part"] for moved in report["moved"]] == ["encoders.photo", "encoders.note"]
    assert report["moved"][0]["tensors"] == len(part_tensors(bundle.model, "encoders.photo"))
    assert set(report["not_moved"]) == {"encoders.weight", "encoders.shop", "fusion", "heads.label"}
    assert "no column 'weight'" in report["not_moved"]["encoders.weight"]
    assert "photo, note, weight, shop here and photo, note there" in report["not_moved"]["fusion"]
    assert report["not_used"] == ["fusion", "heads.shared"] or "fusion" in report["not_used"]
    assert "encoders.photo transferred" in caplog.text
    assert "heads.label is initialized at random" in caplog.text
    assert bundle.info["init_from"]["moved"] == report["moved"]
    # The words mean what they meant: fitted anew, the ids would be others.
    old, moved = before.processor.columns["note"], bundle.processor.columns["note"]
    assert moved.tokenizer.get_vocab() == old.tokenizer.get_vocab()  # type: ignore[attr-defined]
    anew = fit_data(recipe_for(new), {"train": read_table(new)}).processor.columns["note"]
    assert anew.tokenizer.get_vocab() != old.tokenizer.get_vocab()  # type: ignore[attr-defined]
    # Features are asked for here and not there; all else comes from there.
    photo, there = bundle.processor.columns["photo"].column, before.processor.columns["photo"].column
    assert (photo.num_features > 0, there.num_features) == (True, 0)
    assert replace(photo, num_features=0) == there


def test_started_from_itself_without_a_step_it_predicts_the_same(tmp_path: Path) -> None:
    source = rows()
    first = trained(recipe_for(source, "model.objectives={unimodal: unimodal}"), source, tmp_path / "first")
    recipe = recipe_for(
        source,
        "model.objectives={unimodal: unimodal}",
        "training.epochs=0",
        "training.seed=7",
        "init_from.parts=[encoders, fusion, heads]",
        init_from=tmp_path / "first",
    )
    again = trained(recipe, source[:20], tmp_path / "again")
    assert again.model.state_dict().keys() == first.model.state_dict().keys()
    assert again.predict(source).frame.equals(first.predict(source).frame)


def test_the_bundle_stands_alone(pretrained: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(pretrained, gone)
    source = rows(24)
    bundle = trained(recipe_for(source, init_from=gone), source, tmp_path / "run")
    expected = bundle.predict(source).frame
    shutil.rmtree(gone)
    assert polysense.load(tmp_path / "run").predict(source).frame.equals(expected)


def test_frozen_parts_stay_bit_identical_under_decay_and_averaging(pretrained: Path, tmp_path: Path) -> None:
    source = rows()
    recipe = recipe_for(
        source,
        "init_from.freeze=[photo]",
        "training.epochs=2",
        "training.ema=0.9",
        "training.optimizer.weight_decay=0.5",
        init_from=pretrained,
    )
    bundle = trained(recipe, source, tmp_path / "run")
    before = polysense.load(pretrained).model
    assert same(states(bundle.model, "encoders.photo"), states(before, "encoders.photo"))
    assert not same(states(bundle.model, "encoders.note"), states(before, "encoders.note"))
    assert json.loads((tmp_path / "run" / "init_from.json").read_text())["frozen"] == ["encoders.photo"]


@pytest.mark.slow
def test_running_statistics_of_a_frozen_encoder_stand_still(tmp_path: Path) -> None:
    source = rows()
    deep = ["model.encoders.photo={type: resnet18}"]
    trained(recipe_for(source, *deep), source, tmp_path / "first")
    recipe = recipe_for(source, *deep, "init_from.freeze=[photo]", init_from=tmp_path / "first")
    before = polysense.load(tmp_path / "first").model
    names = part_tensors(before, "encoders.photo")
    assert any("running" in name for name in names)
    bundle = trained(recipe, source, tmp_path / "run")
    assert same(states(bundle.model, "encoders.photo"), states(before, "encoders.photo"))


def test_moved_parts_learn_at_their_own_rate(pretrained: Path) -> None:
    source = rows()
    recipe = recipe_for(source, "init_from.learning_rate_scale=0.1", init_from=pretrained)
    data = fit_data(recipe, {"train": read_table(source)})
    model = recipe.model.build(data.processor.schema)
    assert data.start is not None
    scale_learning_rate(model, list(data.start.transfers), 0.1)
    groups = {group["lr_scale"]: {id(p) for p in group["params"]} for group in model.parameter_groups()}
    assert set(groups) == {1.0, 0.1}
    slow = {id(p) for name in ("photo", "note") for p in model.column_encoders[name].parameters()}
    assert groups[0.1] == slow
    assert groups[1.0] == {id(p) for p in model.parameters() if p.requires_grad} - slow


def test_a_resumed_run_is_the_run_that_was_not_stopped(
    pretrained: Path, tmp_path: Path, stopped_after_an_epoch: Callable[[], AbstractContextManager[None]]
) -> None:
    source = rows()
    gone = tmp_path / "gone"
    shutil.copytree(pretrained, gone)
    options = ("init_from.freeze=[note]", "init_from.learning_rate_scale=0.3", "training.epochs=2")
    recipe = recipe_for(source, *options, init_from=gone)
    whole = trained(recipe, source, tmp_path / "whole")

    with stopped_after_an_epoch():
        trained(recipe, source, tmp_path / "cut")
    shutil.rmtree(gone)  # a checkpoint needs it no more
    other = recipe_for(source, "training.epochs=2")
    resumed = trained(recipe, source, tmp_path / "cut", resume=True)
    assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))
    assert other.init_from is None
    changed = Recipe(
        data=recipe.data,
        model=recipe.model,
        training=recipe.training,
        evaluation=recipe.evaluation,
        init_from=type(recipe.init_from)(bundle=str(gone)),  # type: ignore[misc]
    )
    with pytest.raises(CheckpointError, match="init_from was"):
        trained(changed, source, tmp_path / "cut", resume=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init_from.parts=[sound]"], "there is no part 'sound'"),
        (["init_from.parts=[weight]"], "there is no column 'weight'"),
        (["init_from.parts=[fusion]"], "in their order"),
        (["init_from.parts={photo: note}"], "the column is image here and text there"),
        (["init_from.parts={photo: fusion}"], "another kind of part"),
        (["init_from.parts={photo: nothing}"], "no part 'encoders.nothing'"),
        (["init_from.parts=[photo]", "model.width=24"], "model.width is 24 here and 16 there"),
        (["init_from.parts=[photo]", "data.columns.photo.size=[16, 16]"], "size is .* its preprocessing comes with it"),
        (["init_from.parts=[photo]", "data.columns.photo.channels=1"], "channels is 1 here"),
        (["init_from.parts=[note]", "data.columns.note.tokens=subwords"], "tokens is subwords here and words there"),
        (["init_from.parts=[photo]", "model.encoders.photo={type: vit}"], "is vit here and"),
        (["init_from.parts=[photo]", "model.missing=learned"], "model.missing"),
        (["init_from.freeze=[weight]"], "its random weights"),
        (["init_from.parts=[]"], "names nothing"),
        (["init_from.bundle=nowhere"], "no such folder"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(pretrained: Path, overrides: list[str], message: str) -> None:
    source = rows(24)
    with pytest.raises(polysense.UserError, match=message):
        plan_start(recipe_for(source, *overrides, init_from=pretrained), read_table(source))


def test_equal_shapes_are_no_proof(tmp_path: Path) -> None:
    """Attention with four heads has the weights of attention with two, and they mean something else."""
    source = rows(24)
    encoder = "model.encoders.note={{type: text_transformer, num_layers: 1, num_heads: {}}}"
    two, four = encoder.format(2), encoder.format(4)
    before = trained(recipe_for(source, two, "training.epochs=0"), source, tmp_path / "first")
    recipe = recipe_for(source, four, init_from=tmp_path / "first")
    start = plan_start(recipe, read_table(source))
    assert start is not None
    assert start.not_moved["encoders.note"] == "model.encoders.note.num_heads is 4 here and 2 there"
    assert "encoders.photo" in start.transfers
    model = recipe.model.build(before.schema)
    assert mismatch(model, "encoders.note", before.model, "encoders.note") is None


def test_a_head_moves_with_its_classes_only(tmp_path: Path) -> None:
    source = rows()
    trained(recipe_for(source), source, tmp_path / "first")
    fewer = [row for row in source if row["label"] != "red"]
    recipe = recipe_for(fewer, "init_from.parts=[label]", "training.epochs=0", init_from=tmp_path / "first")
    bundle = trained(recipe, fewer, tmp_path / "fewer")
    # All three classes, in the order that the head's outputs have.
    assert bundle.schema.target("label").classes == ("blue", "green", "red")
    more = [{**row, "label": "mauve"} if index == 5 else row for index, row in enumerate(source)]
    with pytest.raises(ConfigError, match="knows no class 'mauve'"):
        plan_start(
            recipe_for(more, "init_from.parts=[label]", init_from=tmp_path / "first"),
            read_table(more),
        )


def test_cleaning_comes_with_what_it_was_trained_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cleaning = ["data.cleaning.note=[html]", "data.cleaning.label=[merge_variants]"]
    trained(recipe_for(rows(), *cleaning, "training.epochs=0"), rows(), tmp_path / "first")
    source = [{**row, "note": f"<p>{row['note']}</p>", "label": row["label"].upper()} for row in rows()]
    parts = "init_from.parts=[note, label]"
    recipe = recipe_for(source, parts, "training.epochs=0", init_from=tmp_path / "first")
    assert [each.type for each in recipe.data.cleaning["note"]] == ["html"], "a recipe that nobody wrote says so"
    written = replace(recipe, data=replace(recipe.data, cleaning={}))
    with caplog.at_level(logging.INFO, "polysense.workflows"):
        bundle = trained(written, source, tmp_path / "second")
    assert "'note' is cleaned as it was there (html)" in caplog.text
    assert bundle.schema.target("label").classes == ("blue", "green", "red")
    for there in ("[whitespace]", "[{type: html}, whitespace]"):
        other = recipe_for(source, parts, f"data.cleaning.note={there}", init_from=tmp_path / "first")
        with pytest.raises(ConfigError, match=r"data\.cleaning\.note is .*whitespace here and html there"):
            plan_start(other, read_table(source))


def test_columns_may_have_other_names(pretrained: Path, tmp_path: Path) -> None:
    source = [{"picture": row["photo"], "words": row["note"], "label": row["label"]} for row in rows(24)]
    prepared = prepare(
        source,
        target="label",
        preset="fast",
        columns={"picture": "image", "words": "text"},
        overrides=[
            *SMALL,
            f"init_from.bundle={pretrained}",
            "init_from.parts={picture: photo, words: note, fusion: fusion}",
            "training.epochs=0",
        ],
    )
    bundle = trained(prepared.recipe, source, tmp_path / "run")
    before = polysense.load(pretrained)
    assert same(states(bundle.model, "encoders.words"), states(before.model, "encoders.note"))
    assert same(states(bundle.model, "fusion"), states(before.model, "fusion"))
    assert bundle.schema.names == ("picture", "words")
    assert len(polysense.load(tmp_path / "run").predict(source)) == 24


def test_a_model_of_one_column_starts_from_that_columns_encoder(pretrained: Path) -> None:
    source = rows(24)
    recipe = recipe_for(source, "init_from.freeze=[photo]", init_from=pretrained)
    alone = only_column(recipe, "photo")
    start = plan_start(alone, read_table(source))
    assert start is not None
    assert list(start.transfers) == ["encoders.photo"]
    assert start.frozen == ("encoders.photo",)
    assert without_parts(recipe, ["weight"]) is None
    named = recipe_for(source, "init_from.parts=[photo, note]", init_from=pretrained)
    left = without_parts(named, ["note"])
    assert left is not None
    assert left.parts == {"encoders.note": "encoders.note"}


def test_numbers_of_another_unit_and_unknown_words_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = rows()
    trained(recipe_for(source), source, tmp_path / "first")
    grams = [{**row, "weight": 1000 * (row["weight"] + 2), "shop": "elsewhere"} for row in source]
    with caplog.at_level(logging.WARNING, "polysense.workflows"):
        plan_start(recipe_for(grams, init_from=tmp_path / "first"), read_table(grams))
    assert "'weight': its numbers lie" in caplog.text
    assert "'shop': 100% of its cells" in caplog.text


def test_every_tensor_belongs_to_a_part_and_halves_are_noticed(tmp_path: Path) -> None:
    source = rows(24)
    bundle = trained(
        recipe_for(source, "model.objectives={unimodal: unimodal}", "model.missing=learned", "training.epochs=0"),
        source,
        tmp_path / "run",
    )
    model = bundle.model
    names = (
        *(f"encoders.{name}" for name in model.schema.names),
        "fusion",
        *(f"heads.{name}" for name in model.by_target()),
    )
    parts = [tensor for part in names for tensor in part_tensors(model, part).values()]
    state = model.state_dict()
    assert len(parts) == len(state)
    assert mismatch(model, "encoders.photo", model, "encoders.note") is not None


def test_from_the_command_line_to_the_card(pretrained: Path, tmp_path: Path) -> None:
    from polysense.cli.app import main

    table = tmp_path / "table.jsonl"
    lines = []
    for index, row in enumerate(rows(40)):
        (tmp_path / f"{index}.png").write_bytes(row["photo"])
        lines.append(json.dumps({**row, "photo": f"{index}.png"}))
    table.write_text("\n".join(lines))
    columns = [part for name, kind in KINDS.items() for part in ("--column", f"{name}={kind}")]
    folder = tmp_path / "run"
    arguments = ["train", str(table), "--target", "label", "--init-from", str(pretrained), "-o", str(folder), *columns]
    assert main([*arguments, *SMALL[1:], "init_from.freeze=[photo]"]) == 0
    # The width is the bundle's, since nobody said otherwise.
    assert polysense.load(folder).model_config.width == 16
    card = (folder / "bundle" / "README.md").read_text()
    assert "## Initialized from" in card
    assert "`encoders.photo`: " in card
    assert ", frozen" in card
    assert "`fusion` initialized anew" in card
    assert main(["check", str(folder / "recipe.yaml")]) == 0
    assert main([*arguments[:-10], "-o", str(tmp_path / "other"), *columns, *SMALL, "init_from.parts=[sound]"]) == 2
