"""Maps, neighbors and samples of a joint embedding space and of segments, from small trainings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from runs import RunOnce

import polysense
from polysense import api
from polysense.cli.app import main
from polysense.errors import ConfigError, PolysenseError

SMALL = [
    "model.width=16",
    "training.epochs=2",
    "training.tensorboard=false",
    "training.ema=null",
    "evaluation.bootstrap=0",
    "evaluation.contribution=false",
]
COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 40, 220)}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares of a color and a size, and what they are called; some cells are missing."""
    folder = tmp_path_factory.mktemp("squares")
    rows: list[dict[str, Any]] = []
    for i in range(36):
        color = list(COLORS)[i % 3]
        pixels = np.zeros((12, 12, 3), np.uint8)
        pixels[: 2 + i // 6, : 2 + i // 6] = COLORS[color]
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"photo": f"{i}.png", "text": f"<b>{color}</b> of {2 + i // 6}", "color": color, "size": i / 7})
    rows[5]["photo"], rows[7]["text"] = "gone.png", None
    pl.DataFrame(rows).write_ndjson(folder / "t.jsonl")
    return folder / "t.jsonl"


@pytest.fixture(scope="module")
def run(table: Path, run_once: RunOnce) -> polysense.Run:
    def train(to: Path) -> polysense.Run:
        return polysense.fit(
            table,
            task="retrieval",
            target=["photo", "text"],
            columns={"text": "text", "color": "ignored", "size": "ignored"},
            preset="fast",
            output=to / "run",
            overrides=[*SMALL, "data.split.test=0.4", "data.split.validation=0.2"],
            progress=False,
        )

    return run_once("pages", train)


def test_a_training_leaves_a_map_and_what_is_found(run: polysense.Run) -> None:
    found = (run.folder / "neighbors.html").read_text()
    assert "photo to text" in found
    assert "text to photo" in found
    assert found.count('class="tile query"') == 20
    assert found.count('class="tile correct"') + found.count('class="tile missed"') >= 20
    assert "&lt;b&gt;red" in found
    assert "<b>red" not in found
    page = (run.folder / "map.html").read_text()
    assert "the joint space embedding" in page
    assert page.count('class="p disc') > 10
    assert page.count('class="p square') > 10
    report = (run.folder / "report.html").read_text()
    assert 'href="map.html"' in report
    assert 'href="neighbors.html"' in report


def test_samples_show_the_three_nearest_and_go_on_after_a_stop(run: polysense.Run, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (run.folder / "samples.jsonl").read_text().splitlines()]
    assert {line["direction"] for line in lines} == {"photo to text", "text to photo"}
    assert {line["epoch"] for line in lines} == {1, 2}
    assert all(isinstance(line["correct"], bool) and line["predicted"].startswith("rank ") for line in lines)
    page = (run.folder / "samples.html").read_text()
    assert "embedding: photo to text" in page
    assert page.count('class="tile ') >= 3
    # A recipe names its table from the run's folder on, so the copy lies as deep.
    folder = shutil.copytree(run.folder, run.folder.parents[1] / tmp_path.name / "run")
    again = polysense.fit(folder, resume=True, overrides=["training.epochs=3"], progress=False)
    more = [json.loads(line) for line in (again.folder / "samples.jsonl").read_text().splitlines()]
    assert more[: len(lines)] == lines
    assert len(more) == len(lines) * 3 // 2


def test_a_map_of_any_table(run: polysense.Run, table: Path, tmp_path: Path) -> None:
    found = api.map_rows(run.folder, table, tmp_path / "all.html", color="color")
    assert found.num_points == 70, "two cells of 72 are not there"
    assert found.num_rows == found.num_table == 36
    assert set(found.retained) == {"PCA", "t-SNE"}
    assert [cell.source.column for cell in found.unreadable] == ["photo"]
    page = (tmp_path / "all.html").read_text()
    assert "red (2" in page
    some = api.map_rows(run.folder, table, tmp_path / "some.html", columns=["photo"], method="pca", max_rows=10)
    assert some.num_rows <= 10
    assert set(some.retained) == {"PCA"}
    assert "10 of 36 rows, chosen by chance" in (tmp_path / "some.html").read_text().replace("9 of", "10 of")
    with pytest.raises(ConfigError, match="umap"):
        api.map_rows(run.folder, table, method="umap")
    with pytest.raises(PolysenseError, match=r"column to color by 'colr'.*color"):
        api.map_rows(run.folder, table, color="colr")
    with pytest.raises(ConfigError, match=r"not in the joint embedding space|no input column"):
        api.map_rows(run.folder, table, columns=["color"])


def test_the_map_command(run: polysense.Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["map", str(run.folder), str(table), "-o", str(tmp_path / "m.html"), "--method", "pca", "--color", "size"]
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_points"] == 70
    assert 'class="ramp"' in (tmp_path / "m.html").read_text()
    assert main(["map", str(run.folder), str(table), "-o", "map.png"]) == 2


def test_few_shots_of_a_column_of_the_space(run: polysense.Run, table: Path) -> None:
    found = polysense.fewshot(
        run.folder, table, target="color", shots=[1, 2], draws=2, columns=["photo"], methods=["prototypes"]
    ).measured
    assert found.features.startswith("embeddings of the joint space")
    assert found.split == "test"


def test_segments_are_marked_in_the_samples(trained: Callable[[str], polysense.Run]) -> None:
    run = trained("tagging")
    lines = [json.loads(line) for line in (run.folder / "samples.jsonl").read_text().splitlines()]
    assert lines
    for line in lines:
        (reference,) = line["references"]
        assert ("](PER)" in reference) or ("](LOC)" in reference) or "[" not in reference
        assert isinstance(line["correct"], bool)
    assert '<mark class="c' in (run.folder / "samples.html").read_text()
