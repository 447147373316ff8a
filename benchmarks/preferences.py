"""What preferences and rewards add to cross entropy, for a decoder from nothing and a tuned language model.

    python benchmarks/preferences.py emoji/data.jsonl --text name --metric token_f1 --weights WEIGHTS --work FOLDER
    python benchmarks/preferences.py coco_captions/data.jsonl --text captions --metric cider --weights WEIGHTS \\
        --language-model --work FOLDER

A model is trained by cross entropy. From its bundle start, for the same number of epochs each: more cross entropy,
SCST, RLOO and GRPO with the metric as their reward, and DPO with texts that the model itself sampled for the training
rows as the rejected ones. `length` is a planted hack: RLOO with a reward for each word. Each is judged by the greedy
texts of the test rows; a gain is paired over these, with a bootstrap interval. What has been trained is kept in FOLDER,
and trained no second time. The overrides of --set are of all
trainings, where an arm says nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

import polysense
from polysense.core.json import read_json, write_json
from polysense.tasks.generation.metrics.cider import NgramRarity, cider_statistics
from polysense.tasks.generation.metrics.match import token_f1_statistics

QUIET = [
    "training.tensorboard=false",
    "evaluation.report=false",
    "evaluation.simple_baselines=false",
    "evaluation.contribution=false",
    "evaluation.samples=0",
    "evaluation.bootstrap=0",
    "audit=off",
]
ARMS = ("cross_entropy", "scst", "rloo", "grpo", "dpo", "length")


def prepared(source: Path, text: str, rows: int | None, folder: Path) -> Path:
    """The picture, its text (or texts) and its split, as a table of their own."""
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    if rows is not None:
        training = [line for line in lines if line["split"] == "train"]
        kept = {id(training[i]) for i in np.random.default_rng(0).permutation(len(training))[:rows]}
        lines = [line for line in lines if line["split"] != "train" or id(line) in kept]
    path = folder / "table.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            cells = {"image": str(source.parent.resolve() / line["image"]), "text": line[text], "split": line["split"]}
            file.write(json.dumps(cells) + "\n")
    return path


def per_row(metric: str, table: Path) -> Callable[[Sequence[Sequence[str]], Sequence[str]], np.ndarray]:
    """The metric of each text; CIDEr with the document frequencies of the training rows, as its reward has them."""
    if metric == "token_f1":
        return lambda references, texts: token_f1_statistics(references, texts)[:, 0]
    rarity = NgramRarity([_texts(row["text"]) for row in _rows(table) if row["split"] == "train"])
    return lambda references, texts: cider_statistics(references, texts, rarity=rarity)[:, 0]


def _rows(table: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]


def _texts(cell: object) -> list[str]:
    return [str(each) for each in cell] if isinstance(cell, list) else [str(cell)]


def train(table: Path, folder: Path, overrides: Sequence[str], **options: object) -> dict[str, object]:
    """Trains once; what the run says of itself."""
    if not (folder / "bundle" / "bundle.json").exists():
        started = time.process_time()
        run = polysense.fit(
            str(table), target="text", task="generation", output=folder, overrides=[*QUIET, *overrides], **options
        )  # type: ignore[arg-type]
        history = [
            {**one["heads"], **{name: one["validation"][name] for name in one["validation"]}}
            if one["validation"]
            else {}
            for one in run.training.history
        ]
        facts = {
            "seconds": time.process_time() - started,
            "epochs": run.training.epochs,
            "best": run.training.best_epoch,
            "stopped": run.training.stop_reason,
            "history": history,
        }
        write_json(folder / "facts.json", facts)
    return dict(read_json(folder / "facts.json", dict))


def with_rejected(table: Path, bundle: Path, folder: Path) -> Path:
    """The table with a text beside each training row that the model itself sampled, where it is another one."""
    path = folder / "pairs.jsonl"
    if path.exists():
        return path
    rows = _rows(table)
    decoding = {"type": "sample", "num_texts": 1, "temperature": 1.0}
    sampled = polysense.load(bundle).predict(str(table), decoding=decoding).frame["text"].to_list()
    with path.open("w", encoding="utf-8") as file:
        for row, other in zip(rows, sampled, strict=True):
            is_pair = row["split"] == "train" and other and other not in _texts(row["text"])
            file.write(json.dumps({**row, "rejected": other if is_pair else None}) + "\n")
    return path


def arm_overrides(arm: str, metric: str, arguments: argparse.Namespace) -> list[str]:
    """What makes an arm's training."""
    common = [
        f"training.epochs={arguments.epochs}",
        f"training.optimizer.lr={arguments.lr}",
        f"training.monitor=text/{metric}",
        "training.early_stopping=null",
        f"evaluation.generated_rows={arguments.validated}",
        "init_from.parts=[encoders.image,fusion,heads.text]",
    ]
    if arm == "cross_entropy":
        return common
    if arm == "dpo":
        keys = {"type": "preference", "beta": 0.1}
        return [*common, "data.targets.text.rejected=rejected", *_objective(keys)]
    reward = {"type": "rule", "per_word": 0.1} if arm == "length" else {"type": "text_metric", "metric": metric}
    keys = {
        "type": "policy_gradient",
        "algorithm": "rloo" if arm == "length" else arm,
        "num_samples": arguments.samples,
        "kl": 0.0 if arm == "length" else arguments.kl,
    }
    keys |= {f"reward.{name}": value for name, value in reward.items()}
    return [*common, f"model.heads.text.loss_weight={arguments.cross_entropy}", *_objective(keys)]


def _objective(keys: Mapping[str, object]) -> list[str]:
    return [f"model.objectives.chosen.{name}={value}" for name, value in keys.items()]


def interval(gains: np.ndarray) -> str:
    """A paired gain with its bootstrap interval."""
    drawn = np.random.default_rng(0).integers(0, len(gains), (10_000, len(gains)))
    low, high = np.quantile(gains[drawn].mean(axis=1), [0.025, 0.975])
    return f"{gains.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def main() -> None:
    """Prints a line for each arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--metric", choices=("cider", "token_f1"), required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--language-model", action="store_true")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--rows", type=int, help="training rows, drawn at random")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--kl", type=float, default=0.02)
    parser.add_argument("--cross-entropy", type=float, default=0.0, help="its weight beside a reward")
    parser.add_argument("--validated", type=int, default=256, help="validation rows whose texts are generated")
    parser.add_argument("--set", nargs="+", default=[], metavar="OVERRIDE", help="of all trainings")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    table = prepared(arguments.data, arguments.text, arguments.rows, arguments.work)
    head = [] if arguments.language_model else ["model.heads.text.type=generation"]
    fixed = [*head, "training.num_threads=1", *arguments.set]
    options = {"pretrained": arguments.weights, "progress": False}
    runs = {"base": train(table, arguments.work / "base", fixed, **options)}
    bundle = arguments.work / "base" / "bundle"
    recipe = polysense.load(bundle).recipe["model"]["heads"]["text"]
    if arguments.language_model:
        fixed.append(f"model.heads.text={json.dumps(recipe)}")
    test = [row for row in _rows(table) if row["split"] == "test"]
    part = arguments.work / "test.jsonl"
    part.write_text("".join(json.dumps(row) + "\n" for row in test), encoding="utf-8")
    references = [_texts(row["text"]) for row in test]
    score = per_row(arguments.metric, table)
    scores: dict[str, np.ndarray] = {}
    print(f"{len(test)} test rows, {arguments.metric}")
    for arm in ("base", *arguments.arms):
        folder = arguments.work / arm
        if arm != "base":
            source = with_rejected(table, bundle, arguments.work) if arm == "dpo" else table
            more = arm_overrides(arm, arguments.metric, arguments)
            ignored = {"columns": {"rejected": "ignored"}} if arm == "dpo" else {}
            runs[arm] = train(source, folder, [*fixed, *more], init_from=bundle, **options, **ignored)
        texts = polysense.load(folder / "bundle").predict(str(part)).frame["text"].to_list()
        scores[arm] = score(references, [text or "" for text in texts])
        against = {name: interval(scores[arm] - scores[name]) for name in ("base", "cross_entropy") if name in scores}
        gains = "  ".join(f"over {name} {gain}" for name, gain in against.items() if name != arm)
        facts = runs[arm]
        print(
            f"{arm:14} {scores[arm].mean():.4f}  distinct {len(set(texts))}  best epoch {facts['best']} of "
            f"{facts['epochs']}, {facts['seconds']:.0f} s  {gains}  {facts['stopped'] or ''}",
            flush=True,
        )
    pl.DataFrame(scores).write_parquet(arguments.work / "scores.parquet")


if __name__ == "__main__":
    main()
