"""The same rows after each epoch: in a page, in lines, in TensorBoard; a run that was stopped goes on with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import polysense

SMALL = ["model.width=16", "evaluation.bootstrap=0", "evaluation.contribution=false", "data.split.validation=0.3"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, notes and numbers; some cells are missing, one file is broken."""
    folder = tmp_path_factory.mktemp("table")
    rows = []
    for i in range(40):
        pixels = np.full((12, 16, 3), 40 + 150 * (i % 2), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(
            {
                "photo": None if i % 5 == 0 else f"{i}.png",
                "note": f"שלום <b>{i}</b>",
                "age": i / 3,
                "label": ["dark", "light"][i % 2],
                "price": float(i % 2) + i / 100,
            }
        )
        if i % 5 == 1:
            (folder / f"{i}.png").write_bytes(b"no picture")
    pl.DataFrame(rows).write_ndjson(folder / "t.jsonl")
    return folder / "t.jsonl"


def fit(table: Path, output: Path, *settings: str, **more: Any) -> polysense.Run:
    return polysense.fit(table, output=output, overrides=[*settings], progress=False, **more)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_classes_and_numbers_with_their_inputs(table: Path, tmp_path: Path) -> None:
    columns = {"age": "number", "note": "text"}
    start = ["training.epochs=3", "evaluation.samples=12", *SMALL]
    run = fit(table, tmp_path / "run", *start, target=["label", "price"], columns=columns)
    found = lines(run.folder)
    assert len(found) == 3 * 12 * 2
    assert {line["row"] for line in found if line["epoch"] == 1} == {
        line["row"] for line in found if line["epoch"] == 3
    }
    for line in found:
        truth = ["dark", "light"][line["row"] % 2]
        assert line["target"] != "label" or (line["references"] == [truth] and 0 <= line["probability"] <= 1)
    page = (run.folder / "samples.html").read_text()
    assert len(re.findall("<h2>Row ", page)) == 12
    assert "<b>" not in page.replace("&lt;b&gt;", "")
    assert "שלום &lt;b&gt;" in page
    assert "can&#39;t be read: is a text file" in page
    assert ">missing<" in page
    assert "data:image/jpeg" in page
    assert 'href="samples.html"' in (run.folder / "report.html").read_text()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    row = found[0]["row"]
    name = f"samples/row {row}/label/text_summary"
    assert len(events.Tensors(name)) == 3
    assert "prediction" in events.Tensors(name)[-1].tensor_proto.string_val[0].decode()
    images = events.Tags()["images"]
    assert images, "the inputs' pictures"
    assert all(len(events.Images(image)) == 1 for image in images), "once, since they stay the same"


def test_a_stopped_run_goes_on_with_its_samples(table: Path, tmp_path: Path) -> None:
    settings = [*SMALL, "training.optimizer.lr=0.01", "evaluation.report=false"]
    whole = fit(table, tmp_path / "whole", "training.epochs=4", *settings, target="label")
    parts = tmp_path / "parts"
    fit(table, parts, "training.epochs=2", *settings, target="label")
    # As a killed run may leave it: an epoch that was not saved, and half a line.
    with (parts / "samples.jsonl").open("a") as file:
        file.write(json.dumps({**lines(parts)[-1], "epoch": 3, "predicted": "?"}) + '\n{"epoch": 3, "tar')
    again = fit(parts, parts, "training.epochs=4", resume=True)
    assert [line["epoch"] for line in lines(parts)] == [line["epoch"] for line in lines(whole.folder)]
    assert {line["row"] for line in lines(parts)} == {line["row"] for line in lines(whole.folder)}
    assert "?" not in {line["predicted"] for line in lines(again.folder)}
    page = (parts / "samples.html").read_text()
    assert f"epoch {again.training.best_epoch} of 4 was the best of the networks" in page


def test_the_delivered_epoch_is_marked_also_where_a_kill_came_before(table: Path, tmp_path: Path) -> None:
    run = fit(table, tmp_path / "run", "training.epochs=3", *SMALL, "evaluation.report=false", target="label")
    page, best = run.folder / "samples.html", run.training.best_epoch
    marked = page.read_text()
    assert marked.count('<tr class="own">') == len({line["row"] for line in lines(run.folder)})
    assert re.search(rf'<tr class="own"><th scope="row">[\d–]+<br>delivered(: {best})?</th>', marked)
    page.write_text(marked.replace('name="delivered-epoch"', "").replace("delivered", ""))
    fit(run.folder, run.folder, resume=True)
    assert page.read_text() == marked, "drawn again from samples.jsonl"


def test_none_are_shown_where_none_are_asked_for(table: Path, tmp_path: Path) -> None:
    run = fit(table, tmp_path / "run", "training.epochs=1", "evaluation.samples=0", *SMALL, target="label")
    assert not list(run.folder.glob("samples*"))
    assert "samples.html" not in (run.folder / "report.html").read_text()
