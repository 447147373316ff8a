"""Generated images, judged by models of their own: digits from class and speech, emoji from names.

    python benchmarks/image_generation.py digits AVDIGITS [--inputs label,audio] [--epochs 10] [--output FOLDER]
    python benchmarks/image_generation.py emoji EMOJI [--epochs 30] [--output FOLDER]

A generator is trained on the training rows. The judge is another model, trained on the true images of the same rows:
for digits a classifier, whose accuracy on generated images of `test_seen` (voices of the training, other recordings) is
the share of them that show the right digit; for emoji a joint embedding space of images and names, in which the name of
a generated image is looked for among those of all rows asked for. Beside each stands the judge's score on the true
images, and chance. Several strengths of guidance are tried with one generator.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import polysense
from polysense.core.random import permutation

_VALIDATED = 200


def digits_table(folder: Path, output: Path) -> pl.DataFrame:
    """Rows with the paths of clean images and clips; the test rows are of voices that were trained on."""
    table = pl.read_csv(folder / "data.csv", schema_overrides={"label": pl.String})
    paths = {name: str(folder.absolute()) + "/" + pl.col(name) for name in ("image", "audio")}
    table = table.with_columns(**paths)
    parts = [table.filter(pl.col("split") == "train"), _some(table.filter(pl.col("split") == "val"))]
    seen = table.filter(pl.col("split") == "test_seen").with_columns(split=pl.lit("test"))
    return _written(pl.concat([*parts, seen]).select("image", "audio", "label", "split"), output)


def emoji_table(folder: Path, output: Path) -> pl.DataFrame:
    """The drawings of one style, and their names."""
    table = pl.read_ndjson(folder / "data.jsonl").filter(pl.col("style") == "noto")
    table = table.with_columns(image=str(folder.absolute()) + "/" + pl.col("image"))
    return _written(table.select("image", "name", "split"), output)


def _some(table: pl.DataFrame) -> pl.DataFrame:
    return table[np.sort(permutation(len(table), "validated")[:_VALIDATED])]


def _written(table: pl.DataFrame, output: Path) -> pl.DataFrame:
    """The table; what is trained on and validated is written, and the test rows are the judge's alone."""
    output.mkdir(parents=True, exist_ok=True)
    table.filter(pl.col("split") != "test").write_csv(output / "table.csv")
    return table


def trained(output: Path, name: str, **options: Any) -> Any:
    """A run in a folder of its own; one that is finished there is not repeated."""
    folder = output / name
    if not (folder / "bundle").exists():
        polysense.fit(output / "table.csv", output=folder, progress=False, **options)
    return polysense.load(folder)


def ignored(table: pl.DataFrame, *used: str) -> dict[str, str]:
    """What the other columns are."""
    return {name: "ignored" for name in table.columns if name not in (*used, "split")}


def digits(arguments: argparse.Namespace) -> dict[str, Any]:
    """The judge's accuracy, by guidance."""
    output, inputs = arguments.output, arguments.inputs.split(",")
    table = digits_table(arguments.data, output)
    shared = ["training.num_threads=1", "training.tensorboard=false"]
    judge = trained(
        output, "judge", target="label", preset="fast", columns=ignored(table, "image", "label"),
        overrides=[*shared, "evaluation.simple_baselines=false", "audit=off"],
    )  # fmt: skip
    columns = {"label": "category"} if "label" in inputs else {}
    overrides = [*shared, f"training.epochs={arguments.epochs}", "training.validate_every=2", "audit=off",
                 "data.targets.image.shown=label", "evaluation.contribution=false", *arguments.set]  # fmt: skip
    generator = trained(
        output, "_".join([*inputs, *arguments.also]), target=["image", *arguments.also], overrides=overrides,
        columns={**ignored(table, "image", *inputs, *arguments.also), **columns},
    )  # fmt: skip
    test = table.filter(pl.col("split") == "test")
    true = judge_accuracy(judge, test)
    results = {"true images": true, "chance": 0.1}
    for guidance in arguments.guidance:
        made = generator.predict(test, decoding=[f"head.guidance={guidance}"])
        path = output / f"made_{arguments.inputs}_{guidance:g}.csv"
        made.write(path)
        pl.read_csv(path).select("image").with_columns(test["label"]).write_csv(path)  # a model may predict it, too
        results[f"guidance {guidance:g}"] = judge_accuracy(judge, path)
    return results


def judge_accuracy(judge: Any, source: Any) -> tuple[float, float, float]:
    """With its interval."""
    one = polysense.evaluate(judge, source, simple_baselines=False).evaluation.metrics["label"]["accuracy"]
    return one.value, one.low, one.high


def emoji(arguments: argparse.Namespace) -> dict[str, Any]:
    """Recall of the name among all rows asked for, by guidance: of names that were trained on, and of others."""
    output = arguments.output
    table = emoji_table(arguments.data, output)
    shared = ["training.num_threads=1", "training.tensorboard=false"]
    judge = trained(
        output, "judge", task="retrieval", target=["image", "name"], overrides=[*shared, "training.epochs=30"],
        preset="fast",
    )  # fmt: skip
    overrides = [*shared, f"training.epochs={arguments.epochs}", "training.validate_every=5", "audit=off",
                 "data.targets.image.size=[32,32]", "evaluation.contribution=false", *arguments.set]  # fmt: skip
    generator = trained(output, "generator", target="image", columns={"name": "text"}, overrides=overrides)
    results: dict[str, Any] = {}
    for part in ("train", "test"):
        rows = table.filter(pl.col("split") == part)[: arguments.rows]
        results[part] = {"chance": 1 / len(rows), "true images": recall(judge, rows)}
        for guidance in arguments.guidance:
            made = generator.predict(rows, keep=["name"], decoding=[f"head.guidance={guidance}"])
            path = output / f"made_{part}_{guidance:g}.csv"
            made.write(path)
            results[part][f"guidance {guidance:g}"] = recall(judge, path)
    return results


def recall(judge: Any, source: Any) -> dict[str, tuple[float, float, float]]:
    """Of the name, by the image, with its interval."""
    metrics = polysense.evaluate(judge, source, simple_baselines=False).evaluation.metrics["embedding"]
    chosen = (f"recall_at_{most}/image to name" for most in (1, 5, 10))
    return {name: (metrics[name].value, metrics[name].low, metrics[name].high) for name in chosen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["digits", "emoji"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--inputs", default="label", help="digits: label, audio, or both")
    parser.add_argument("--also", nargs="*", default=[], help="digits: label, as a second target")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=200, help="emoji: rows that are asked for")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the generator's recipe")
    parser.add_argument("--output", type=Path, default=Path("image_generation"))
    arguments = parser.parse_args()
    results = digits(arguments) if arguments.what == "digits" else emoji(arguments)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
