"""Targets that are texts, from a table to a bundle and back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

import polysense
from polysense import api

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (230, 230, 230)}
SMALL = [
    "model.width=32",
    "training.batch_size=16",
    "training.tensorboard=false",
    "training.ema=null",
    "evaluation.bootstrap=20",
    "data.modality_dropout=0",
]
EXACT = [*SMALL, "data.split.validation=0", "data.split.test=0", "training.optimizer.lr=0.004"]
# With dropout a seed or a word decides whether it is learned in so few epochs.
NO_DROPOUT = [f"model.{part}.dropout=0" for part in ("encoders.photo", "encoders.question", "fusion")]
PLAIN = "model.heads.{0}.dropout=0 model.heads.{0}.label_smoothing=0"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def images(folder: Path, num_rows: int = 16) -> list[dict[str, str]]:
    """A colored half of a picture, and what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(num_rows):
        color = list(COLORS)[i % 4]
        side = ("left", "right")[i // 4 % 2]
        pixels = np.full((16, 16, 3), 10, dtype=np.uint8)
        pixels[4 + i // 8 : 12, slice(0, 7) if side == "left" else slice(9, 16)] = COLORS[color]
        Image.fromarray(pixels).save(folder / f"{i}.png")
        size = ("large", "small")[i // 8 % 2]
        caption = f"a {size} {color} block on the {side}, no. {i}"
        rows.append({"photo": f"{i}.png", "color": color, "side": side, "caption": caption})
    return rows


def test_sixteen_captions_are_learned_exactly(tmp_path: Path) -> None:
    rows = [{"photo": row["photo"], "caption": row["caption"]} for row in images(tmp_path)]
    table = write(tmp_path / "t.csv", rows)
    run = polysense.fit(
        table,
        target="caption",
        output=tmp_path / "run",
        overrides=[*EXACT, "data.transforms={}", "training.epochs=150", *PLAIN.format("caption").split()],
        progress=False,
    )
    captions = [row["caption"] for row in rows]
    found = run.bundle.predict(table).frame
    assert found["caption"].to_list() == captions
    assert (found["caption_log_probability"] > -2).all()
    # Loaded, in another order and one at a time: the same texts, bit for bit.
    loaded = polysense.load(tmp_path / "run")
    again = loaded.predict(pl.read_csv(table).reverse(), root=tmp_path).frame
    assert again.reverse().drop("row").equals(found.drop("row"))
    alone = loaded.predict({"photo": "3.png"}, root=tmp_path).frame
    assert alone.drop("row").equals(found[3:4].drop("row"))
    # Without the picture there is a text all the same.
    nothing = loaded.predict([{"photo": ""}, {"photo": "nowhere.png"}], root=tmp_path)
    assert nothing.frame["missing"].to_list() == ["photo", "photo"]
    assert nothing.frame["caption"][0] == nothing.frame["caption"][1] != ""
    for ending in ("csv", "parquet", "jsonl"):
        nothing.write(tmp_path / f"p.{ending}")


def test_a_picture_and_a_question(tmp_path: Path) -> None:
    rows = []
    for row in images(tmp_path):
        for requested, answer in (("what color is it?", row["color"]), ("where does it lie?", f"on the {row['side']}")):
            rows.append({"photo": row["photo"], "question": requested, "answer": answer})
    table = write(tmp_path / "t.csv", rows)
    run = polysense.fit(
        table,
        target="answer",
        columns={"answer": "generation", "question": "text"},
        output=tmp_path / "run",
        overrides=[*EXACT, "data.transforms={}", "training.epochs=110", *PLAIN.format("answer").split(), *NO_DROPOUT],
        progress=False,
    )
    scores = api.evaluate(run.bundle, table, bootstrap=20)
    assert scores.evaluation.value("answer", "exact_match") > 0.95
    blind = scores.baselines["shuffled inputs"].value("answer", "exact_match")
    assert blind < 0.7, "who sees another row's picture knows the question only"
    assert scores.baselines["constant"].value("answer", "exact_match") < 0.4
    assert "shuffled inputs" in scores.text()


def test_from_one_script_to_another(tmp_path: Path) -> None:
    """A toy translation; what training never held can be written, since subwords spell any byte."""
    numbers = ["واحد", "اثنان", "ثلاثة", "أربعة", "خمسة", "ستة"]
    names = ["one", "two", "three", "four", "five", "six"]
    rows = [
        {
            "english": f"{names[i]} and {names[j]} and {names[k]}",
            "arabic": f"{numbers[i]} و {numbers[j]} و {numbers[k]}",
        }
        for i in range(6)
        for j in range(6)
        for k in (0, 3)
    ]
    table = write(tmp_path / "t.csv", rows)
    run = polysense.fit(
        table,
        target="arabic",
        output=tmp_path / "run",
        overrides=[*SMALL, "training.optimizer.lr=0.004", "training.epochs=25", "data.transforms={}"],
        progress=False,
    )
    assert run.recipe.data.columns["english"].type == "text", "it is told one to one, and is no leak"
    found = run.evaluations["validation"]
    assert found.value("arabic", "token_accuracy") > 0.6
    assert found.value("arabic", "chrf") > 40
    assert set(run.baselines["validation"]) == {"constant", "shuffled inputs"}
    assert run.baselines["validation"]["shuffled inputs"].value("arabic", "log_loss") > found.value(
        "arabic", "log_loss"
    )
    folder = tmp_path / "run"
    report = (folder / "report.html").read_text()
    assert "Generated texts" in report
    assert "و" in report
    assert "arabic, generation" in (folder / "bundle" / "README.md").read_text().replace("`", "")
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 4 * 25
    assert set(samples[0]) == {"epoch", "target", "row", "references", "predicted", "correct"}
    assert ", generated " in (folder / "train.log").read_text()
    unseen = run.bundle.predict([{"english": "семь и восемь"}, {"english": "七 😀"}]).frame
    assert unseen["arabic"].null_count() == 0


def test_empty_and_many_references_and_resuming(tmp_path: Path) -> None:
    """A run that is cut in two ends with the same weights, references drawn anew in each epoch among them."""
    rows = []
    for i, row in enumerate(images(tmp_path, 24)):
        several = json.dumps(
            [row["caption"], f"{row['color']} on the {row['side']} of it", f"picture number {i} of 24"]
        )
        rows.append({"photo": row["photo"], "side": row["side"], "caption": "" if i % 6 == 0 else several})
    table = write(tmp_path / "t.csv", rows)
    settings = [*SMALL, "data.split.validation=0.25", "data.split.test=0", "evaluation.report=false"]

    def run(name: str, epochs: int, *, resume: bool = False) -> Any:
        return polysense.fit(
            tmp_path / name if resume else table,
            target=None if resume else "caption",
            output=tmp_path / name,
            overrides=[f"training.epochs={epochs}"] if resume else [*settings, f"training.epochs={epochs}"],
            resume=resume,
            progress=False,
        )

    whole = run("whole", 4)
    counted = whole.evaluations["validation"].num_counted("caption")
    assert counted < whole.evaluations["validation"].num_rows
    assert whole.bundle.processor.targets["caption"].target.num_rows + counted == 20
    assert all(len(found) in (0, 3) for found in whole.evaluations["validation"].statistics["caption"]["references"])
    # A schedule is of the run's length, so the first half is a run that was told to stop.
    half = tmp_path / "half"
    recipe = [*settings, "training.epochs=4", "training.schedule.type=constant"]
    first = polysense.fit(
        table, target="caption", output=half, overrides=[*recipe, "training.epochs=2"], progress=False
    )
    resumed = polysense.fit(half, resume=True, overrides=["training.epochs=4"], progress=False)
    constant = polysense.fit(table, target="caption", output=tmp_path / "constant", overrides=recipe, progress=False)
    assert first.training.epochs == 2
    ours, theirs = resumed.bundle.model.state_dict(), constant.bundle.model.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in theirs)
