"""Rankings: MovieLens 100K beside other libraries, planted preferences over pictures, and cost by choices.

    python benchmarks/ranking.py movielens FOLDER [--split last|time] [--columns ids|all] [--peers RANKS.json]
    python benchmarks/ranking.py emoji FOLDER [--pretrained FOLDER]
    python benchmarks/ranking.py sizes [--choices 10000 100000 1000000]

`movielens` reads the table as the package `recbole` ships it (`recbole/dataset_example/ml-100k`) and writes the rows of
each part, in RecBole's format, into `--work`, from which `benchmarks/ranking_peers.py` trains what it is compared with.
Differences are paired over users.

`emoji` plants preferences: each user likes two of eight groups of things, and chooses their pictures in two styles.
Pictures of the third style are new: nobody chose one in training. They are ranked with the pictures and without, by a
number that tells nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polysense
from polysense.data.split import SPLITS, SplitConfig
from polysense.data.time_split import LastOfGroupSplitConfig, TimeSplitConfig
from polysense.evaluation.bootstrap import interval, multiplicities
from polysense.tasks.ranking.metrics import RankingScorer
from polysense.tasks.ranking.report_section import compared
from polysense.tasks.ranking.target import RankingProcessor

__all__ = ["write_movielens", "write_preferences"]

_SHOWN = ("recall_at_10", "recall_at_20", "ndcg_at_20", "mean_reciprocal_rank", "coverage_at_20")
_RESAMPLES = 1_000


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(head)
        writer.writerows(rows)
    return path


def write_movielens(source: Path, folder: Path, split: str) -> SplitConfig:
    """The three tables as CSV files, and the choices of each part in RecBole's format."""
    for kind in ("inter", "item", "user"):
        lines = (source / f"ml-100k.{kind}").read_text(encoding="utf-8", errors="replace").splitlines()
        head, *rows = (line.split("\t") for line in lines)
        _write(folder / f"{kind}.csv", [name.split(":")[0] for name in head], rows)
    config: SplitConfig = (
        LastOfGroupSplitConfig(group="user_id", time="timestamp")
        if split == "last"
        else TimeSplitConfig(time="timestamp", group="user_id")
    )
    table = polysense.read_table(folder / "inter.csv")
    parts = config.assign(table, None, 0)
    columns = {name: table.cells(name) for name in ("user_id", "item_id", "timestamp")}
    peers = folder / "peers"
    peers.mkdir(exist_ok=True)
    for number, name in enumerate(SPLITS):
        rows = [[cells[i] for cells in columns.values()] for i in np.flatnonzero(parts == number).tolist()]
        _write(peers / f"peers.{name}.inter", ["user_id:token", "item_id:token", "timestamp:float"], rows, "\t")
    return config


def _settings(config: SplitConfig) -> list[str]:
    plain = {key: value for key, value in vars(config).items() if value is not None}
    return [f"data.split={json.dumps(plain)}"]


def _movielens(options: argparse.Namespace) -> None:
    work = Path(options.work or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    config = write_movielens(Path(options.folder), work, options.split)
    sides = {"items": work / "item.csv", "users": work / "user.csv"} if options.columns == "all" else {}
    joins = [f"data.tables.{name}.table={path}" for name, path in sides.items()]
    begun = time.monotonic()
    run = polysense.fit(
        work / "inter.csv",
        task="ranking",
        output=work / f"run-{options.columns}-{options.split}",
        overrides=[*joins, *_settings(config), "audit=off", "evaluation.contribution=false", *options.overrides],
        progress=False,
    )
    seconds = time.monotonic() - begun
    print(f"{seconds:,.0f} s, {_memory():,.0f} MiB; {run.training.seconds:,.0f} s of training")
    evaluation, target = run.evaluations["test"], run.bundle.schema.target("ranking")
    print("| ranking |", " | ".join(_SHOWN), "| recall at 20: model less this |")
    for one in compared(target, evaluation):  # type: ignore[arg-type]
        values = dict(zip(_names(), one.values, strict=True))
        shown = " | ".join(f"{values.get(name, float('nan')):.4f}" for name in _SHOWN)
        difference = "" if one.difference is None else _spelled(one.difference)
        print(f"| {one.name} | {shown} | {difference} |")
    if options.peers:
        _beside_peers(run, Path(options.peers))


def _names() -> list[str]:
    from polysense.tasks.ranking.report_section import SHOWN

    return [*SHOWN]


def _spelled(one: Any) -> str:
    return f"{one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f})"


def _beside_peers(run: polysense.Run, path: Path) -> None:
    """What other libraries' ranks of the same choices are worth, and the differences, paired over users."""
    evaluation = run.evaluations["test"]
    statistics = evaluation.statistics["ranking"]
    processor = run.bundle.processor.targets["ranking"]
    assert isinstance(processor, RankingProcessor)
    known = processor.known
    places = {
        pair: i for i, pair in enumerate(zip(statistics["user"].tolist(), statistics["item"].tolist(), strict=True))
    }
    num_items = len(known.item_keys)
    own = RankingScorer(statistics, num_items)
    counted = np.flatnonzero(statistics["present"])
    weights = list(multiplicities(len(counted), _RESAMPLES, 0, clusters=statistics["user"][counted]))
    one = np.ones((1, len(counted)))
    for name, ranks in json.loads(path.read_text(encoding="utf-8")).items():
        theirs, ties = np.full(len(statistics["rank"]), np.inf), np.ones(len(statistics["rank"]))
        listed = zip(ranks["users"], ranks["items"], ranks["ranks"], ranks["ties"], strict=True)
        for user, item, rank, alike in listed:
            pair = known.user_numbers.get(user, 0), known.item_numbers.get(item, 0)
            if pair in places:
                theirs[places[pair]], ties[places[pair]] = rank, alike
        scorer = RankingScorer({**statistics, "rank": theirs, "ties": ties}, num_items)
        values = scorer(one)
        told = []
        for metric in ("recall_at_20", "ndcg_at_20"):
            drawn = np.concatenate([own.value(each, metric) - scorer.value(each, metric) for each in weights])
            told.append(_spelled(interval(float(own.value(one, metric)[0] - values[metric][0]), drawn, 0.95)))
        shown = " | ".join(f"{values[key][0]:.4f}" for key in _SHOWN[:-1])
        print(f"| {name} | {shown} | {ranks['seconds']:.0f} s | {' | '.join(told)} |")


def write_preferences(source: Path, folder: Path, num_users: int, seed: int) -> int:
    """Choices by planted preferences; returns how many items there are."""
    draws = np.random.default_rng(seed)
    rows = [json.loads(line) for line in (source / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    groups = [name for name in sorted({row["group"] for row in rows}) if name != "Flags"]
    rows = [row for row in rows if row["group"] in groups]
    styles = sorted({row["style"] for row in rows})
    new = styles[-1]
    shelves = draws.normal(size=len(rows)).round(3).tolist()  # which tell nothing
    items = [[row["id"], str(source / row["image"]), shelf] for row, shelf in zip(rows, shelves, strict=True)]
    _write(folder / "items.csv", ["item_id", "photo", "shelf"], items)
    places = {(group, style == new): [] for group in groups for style in styles}  # type: ignore[var-annotated]
    for i, row in enumerate(rows):
        places[row["group"], row["style"] == new].append(i)
    choices: list[list[object]] = []
    for user in range(num_users):
        liked = draws.choice(len(groups), 2, replace=False)
        for is_new, number, since in ((False, 24, 0), (True, 6, 1000)):
            pool = [i for group in liked for i in places[groups[group], is_new]]
            for i in draws.choice(pool, number, replace=False):
                choices.append([f"u{user}", rows[i]["id"], since + float(draws.uniform(0, 999))])
    _write(folder / "choices.csv", ["user_id", "item_id", "time"], choices)
    return len(rows)


def _emoji(options: argparse.Namespace) -> None:
    work = Path(options.work or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    write_preferences(Path(options.folder), work, options.users, 0)
    share = 6 / 30
    for name, ignored in (("with", {}), ("without", {"items.photo": "ignored"})):
        run = polysense.fit(
            work / "choices.csv",
            task="ranking",
            output=work / f"run-{name}",
            pretrained=options.pretrained,
            columns=ignored,
            overrides=[
                f"data.tables.items.table={work / 'items.csv'}", f"data.split.test={share}",
                "data.split.validation=0.1", "data.transforms={}", "model.heads.ranking.id_dropout=0.5",
                *options.overrides,
            ],
            progress=False,
        )  # fmt: skip
        print(f"{name} pictures: {run.training.seconds:,.0f} s of training")
        metrics = run.evaluations["test"].metrics["ranking"]
        popular = run.baselines["test"]["constant"].metrics["ranking"]
        for key in ("recall_at_20_cold_items", "recall_at_20_among_cold_items"):
            print(
                key,
                *(f"{one[key].value:.4f} ({one[key].low:.4f} to {one[key].high:.4f})" for one in (metrics, popular)),
            )
        if run.contributions is not None:
            print(run.contributions.summary_sentence())


def _sizes(options: argparse.Namespace) -> None:
    for number in options.choices:
        command = [sys.executable, __file__, "one_size", str(number), *options.overrides]
        subprocess.run(command, check=True)


def _one_size(options: argparse.Namespace) -> None:
    number = int(options.folder)
    draws = np.random.default_rng(0)
    num_users, num_items = max(number // 50, 10), max(number // 100, 10)
    popular = 1.0 / np.arange(1, num_items + 1)
    users = draws.integers(0, num_users, number)
    items = draws.choice(num_items, number, p=popular / popular.sum())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "choices.csv"
        rows = [[f"u{u}", f"i{i}", t] for t, (u, i) in enumerate(zip(users.tolist(), items.tolist(), strict=True))]
        _write(path, ["user_id", "item_id", "time"], rows)
        begun = time.monotonic()
        run = polysense.fit(
            path, task="ranking", output=Path(name) / "run", progress=False,
            overrides=[
                "training.epochs=1", "audit=off", "evaluation.contribution=false", "evaluation.bootstrap=100",
                *options.overrides,
            ],
        )  # fmt: skip
        print(
            f"| {number:,} | {num_users:,} | {num_items:,} | {time.monotonic() - begun:,.0f} s | "
            f"{run.training.seconds:,.0f} s | {_memory():,.0f} MiB |",
            flush=True,
        )


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("movielens", "emoji", "sizes", "one_size"))
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("overrides", nargs="*", default=[])
    parser.add_argument("--split", choices=("last", "time"), default="last")
    parser.add_argument("--columns", choices=("ids", "all"), default="ids")
    parser.add_argument("--peers")
    parser.add_argument("--work")
    parser.add_argument("--users", type=int, default=800)
    parser.add_argument("--pretrained")
    parser.add_argument("--choices", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_intermixed_args(arguments)
    {"movielens": _movielens, "emoji": _emoji, "sizes": _sizes, "one_size": _one_size}[options.what](options)


if __name__ == "__main__":
    main()
