"""A joint embedding space, from a table of pictures and texts to searches, vectors and classes by prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from runs import COLORS

import polysense
from polysense import api
from polysense.cli.app import main
from polysense.errors import ConfigError, PolysenseError
from polysense.nn.layers.feature_projection import FeatureProjection
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHead

SMALL = [
    "model.width=32",
    "training.tensorboard=false",
    "training.ema=null",
    "training.optimizer.lr=0.003",
    "evaluation.bootstrap=50",
    "data.transforms={}",
]


@pytest.fixture(scope="module")
def run(trained: Callable[[str], polysense.Run]) -> polysense.Run:
    return trained("retrieval")


@pytest.fixture(scope="module")
def table(run: polysense.Run) -> Path:
    return run.folder.parent / "scenes.csv"


def test_pictures_find_their_texts_and_texts_their_pictures(run: polysense.Run) -> None:
    found = run.evaluations["test"]
    chance = run.baselines["test"]["constant"]
    assert chance.value("embedding", "recall_at_1") == pytest.approx(1 / 32, rel=0.1)
    assert found.value("embedding", "recall_at_1") > 0.6
    for direction in ("photo to text", "text to photo"):
        assert found.value("embedding", f"recall_at_5/{direction}") > 0.8
        assert found.value("embedding", f"median_rank/{direction}") <= 2
    assert found.metrics["embedding"]["recall_at_1"].has_bounds
    assert found.num_counted("embedding") == 31, "a row without its picture does not look"
    text = run.summary()
    assert "recall at 1" in text
    assert "chance" in text
    assert "majority" not in text
    assert run.contributions is None
    assert (run.folder / "report.html").is_file()
    assert run.training.monitor == "embedding/mean_reciprocal_rank"
    assert run.baselines["test"]["constant"].value("embedding", "median_rank") > 10


def test_the_recipe_names_its_columns(run: polysense.Run) -> None:
    recipe = polysense.load_recipe(run.folder / "recipe.yaml")
    assert recipe.data.targets["embedding"].columns == ("photo", "text")  # type: ignore[attr-defined]
    assert list(recipe.data.columns) == ["photo", "text"]
    assert recipe.data.modality_dropout == 0


def test_vectors_of_a_table(run: polysense.Run, table: Path, tmp_path: Path) -> None:
    rows, vectors = api.embed(run.folder, table, column="photo")
    assert vectors.dtype == np.float32
    assert len(rows) == len(vectors) == 94
    assert 3 not in rows
    assert 70 not in rows
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    texts = api.embed(run.bundle, table, column="text")
    assert 5 not in texts[0]
    # What is predicted is the same, and a row alone is the row among others.
    predicted = run.bundle.predict(table).frame
    assert predicted["embedding[photo]"][3] is None
    np.testing.assert_array_equal(np.array(predicted["embedding[photo]"][0].to_list(), dtype=np.float32), vectors[0])
    alone = api.embed(run.bundle, [{"photo": "7.png"}], column="photo", root=table.parent)
    np.testing.assert_array_equal(alone[1][0], vectors[list(rows).index(7)])
    together = api.embed(run.bundle, table)
    assert len(together[0]) == 96
    with pytest.raises(ConfigError, match="no input column 'sound'"):
        api.embed(run.bundle, table, column="sound")
    assert main(["embed", str(run.folder), str(table), "-o", str(tmp_path / "v.parquet")]) == 0
    frame = pl.read_parquet(tmp_path / "v.parquet")
    assert frame["row_number"].to_list() == list(range(96))
    assert frame["embedding[photo]"].is_null().to_list() == [i in (3, 70) for i in range(96)]
    assert main(["embed", str(run.folder), str(table), "-o", str(tmp_path / "v.npz")]) == 0
    with np.load(tmp_path / "v.npz", allow_pickle=False) as stored:
        assert stored["embedding[text]"].shape == (96, 128)
        assert "joint embedding space" in json.loads(str(stored["kinds"]))["embedding"]
    assert main(["embed", str(run.folder), str(table), "-o", str(tmp_path / "v.txt")]) == 2


def test_classes_by_prompts(
    run: polysense.Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = api.zero_shot(
        run.folder,
        table,
        column="photo",
        classes=list(COLORS),
        templates=["a {} square at the top left on black", "a {} square at the bottom right on gray"],
        label="color",
    )
    assert found.accuracy is not None
    assert found.accuracy.value > 0.6
    assert found.num_counted == 94
    assert found.frame["class"][3] is None
    line = ["zeroshot", str(run.folder), str(table), "--column", "photo", "--classes", "red,green,blue,white"]
    out = tmp_path / "classes.csv"
    assert main([*line, "--template", "a {} square", "--label", "color", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_counted"] == 94
    assert len(pl.read_csv(out)) == 96
    unnamed = ["zeroshot", str(run.folder), str(table), "--column", "photo", "--template", "a {} square"]
    assert main([*unnamed, "--label", "color", "--json"]) == 0
    listed = capsys.readouterr()
    assert json.loads(listed.out)["classes"] == sorted(COLORS)
    assert "missing in all rows" not in listed.err, "prompts have no picture"
    assert main(unnamed) == 2
    assert "no classes are named" in capsys.readouterr().err
    for wrong in (["--classes", "red"], ["--template", "a square"], ["--column", "color"], ["--label", "photo"]):
        assert main([*line, *wrong]) == 2
        assert "error" in capsys.readouterr().err


def test_a_table_is_evaluated_as_a_whole(run: polysense.Run, table: Path) -> None:
    scores = api.evaluate(run.bundle, table, bootstrap=20)
    assert scores.evaluation.num_counted("embedding") == 94, "the unreadable picture has a name, and finds nothing"
    assert scores.evaluation.value("embedding", "recall_at_1") > scores.baselines["constant"].value(
        "embedding", "recall_at_1"
    )
    assert "recall at 1" in scores.text()


def test_untrained_it_finds_by_chance(table: Path, tmp_path: Path) -> None:
    run = polysense.fit(
        table,
        task="retrieval",
        target=["photo", "text"],
        columns={"text": "text"},
        preset="fast",
        output=tmp_path / "run",
        overrides=[*SMALL, "training.epochs=0", "data.split={type: fraction, validation: 0.05, test: 0.9}"],
        progress=False,
    )
    found = run.evaluations["test"].metrics["embedding"]["recall_at_1"]
    chance = run.baselines["test"]["constant"].value("embedding", "recall_at_1")
    assert found.low <= chance + 0.02
    assert found.value < 4 * chance


def test_a_space_and_a_text_are_learned_in_one_forward(table: Path, tmp_path: Path) -> None:
    """A contrastive loss and captions, on the same tokens of the picture (CoCa)."""
    recipe = tmp_path / "coca.yaml"
    recipe.write_text(
        f"""
data:
  table: {table}
  columns:
    photo: {{type: image}}
    text: {{type: text}}
  targets:
    space: {{type: retrieval, columns: [photo, text], same: color}}
    color: {{type: generation, tokens: words, min_frequency: 1}}
  split: {{type: column, column: split}}
  modality_dropout: 0.3
model:
  width: 32
  encoders:
    photo: {{type: resnet, channels: 8}}
    text: {{type: text_transformer, num_layers: 1}}
  fusion: {{type: transformer, num_layers: 1}}
  heads:
    space: {{type: contrastive, size: 16, loss: siglip}}
    color: {{type: generation, num_layers: 1, dropout: 0}}
training: {{epochs: 4, batch_size: 32, accumulate: 2, validate_every: 4, tensorboard: false}}
evaluation: {{bootstrap: 20}}
""",
        encoding="utf-8",
    )
    run = polysense.fit(recipe, output=tmp_path / "run", progress=False)
    heads = [record["heads"] for record in run.training.history]
    assert heads[-1]["space"] < heads[0]["space"]
    assert heads[-1]["color"] < heads[0]["color"]
    assert {"space", "color"} <= set(run.metrics["test"])
    assert run.contributions is not None
    assert [found.target for found in run.contributions.targets] == ["color"]
    loaded = polysense.load(run.folder).predict(table).frame
    assert {"space[photo]", "space[text]", "color"} <= set(loaded.columns)


def test_mistakes_are_named(table: Path, tmp_path: Path) -> None:
    with pytest.raises(PolysenseError, match="needs two columns"):
        api.new(table, task="retrieval", target="photo")
    with pytest.raises(PolysenseError, match="can't share a space"):
        api.new(table, task="retrieval", target=["photo", "nothing"])
    with pytest.raises(PolysenseError, match=r"only tasks? without one"):
        api.new(table, task="regression")
    made = api.new(table, task="retrieval", target=["photo", "text"], columns={"text": "text"})
    path = tmp_path / "recipe.yaml"
    path.write_text(
        made.replace("- photo\n", "- foto\n", 1) if "- photo\n" in made else made.replace("[photo", "[foto")
    )
    with pytest.raises(PolysenseError, match="'foto'"):
        polysense.load_recipe(path)
    with pytest.raises(ConfigError, match="there is no fusion 'late' any more; write another fusion, and the heads"):
        polysense.fit(
            table,
            task="retrieval",
            target=["photo", "text"],
            columns={"text": "text"},
            output=tmp_path / "run",
            overrides=["model.fusion={type: late}"],
            progress=False,
        )


def test_columns_with_feature_vectors_are_read_from_them(table: Path, tmp_path: Path) -> None:
    fitted = polysense.fit(
        table,
        target=["photo", "text"],
        task="retrieval",
        columns={"text": "text", "color": "ignored"},
        output=tmp_path / "run",
        overrides=[
            *SMALL,
            "training.epochs=40",
            "model.encoders.photo={type: features}",
            "model.encoders.text={type: features}",
            "data.features={photo: [{type: color_histogram}], text: [{type: word_tfidf}]}",
        ],
        progress=False,
    )
    head = fitted.bundle.model.head("embedding")
    assert isinstance(head, ContrastiveHead)
    for projection in head.projections:
        assert isinstance(projection, FeatureProjection)
        assert projection.mean.abs().max() > 0, "fitted on the training rows"
    assert fitted.evaluations["test"].value("embedding", "recall_at_5") > 0.6
    again = polysense.load(fitted.folder)
    assert again.predict(table).frame.equals(fitted.bundle.predict(table).frame)
