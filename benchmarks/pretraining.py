"""What pretraining without labels is worth: fine-tuned against from scratch, at several shares of the labels.

    polysense train DIR/avdigits/data.csv --task retrieval --target image_deg --target audio -c label=ignored -o pre
    python benchmarks/pretraining.py DIR/avdigits/data.csv label pre --columns image_deg audio -o runs/pretraining

For each share of the training labels (stratified, drawn anew for each seed) the same recipe is trained twice with the
same seed on the same rows: from scratch, and from the bundle (`init_from`). Both have the same number of optimization
steps at every share, so fewer labels do not mean less training. The recipe's columns are read and encoded as in the
bundle for both sides, so the weights that they begin with are all that differs. Without `--steps` each run has as many
steps as `--epochs` epochs over all training rows.

The table gives each side's mean over the seeds on the test rows with a 95% interval (Student's t), and the mean of the
differences seed by seed with its own: those pairs share their rows. Runs that are done are read again, not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polysense
from polysense.core.random import permutation
from polysense.data.tables.sources import Table, read_table
from polysense.evaluation.significance import mean_interval
from polysense.evaluation.target_metrics import selection_metric
from polysense.recipe import Recipe
from polysense.workflows.prepare import prepare, split_tables

SIDES = ("from scratch", "pretrained")


def labeled(table: Table, label: str, share: float, seed: int) -> Table:
    """A share of the rows of every class, at least one of each, drawn by the seed; a smaller share lies in a larger."""
    groups: dict[object, list[int]] = defaultdict(list)
    for row, cell in enumerate(table.cells(label, literal=True)):
        if cell is not None:
            groups[cell].append(row)
    chosen: list[int] = []
    for name, rows in sorted(groups.items(), key=lambda item: str(item[0])):
        order = permutation(len(rows), seed, "labels", str(name))
        chosen += [rows[position] for position in order[: max(1, round(share * len(rows)))]]
    return table.select(np.sort(np.array(chosen)))


def epochs_for(steps: int, num_rows: int, batch_size: int) -> int:
    """Epochs of so many rows that make that many steps, as nearly as whole epochs do."""
    return max(1, round(steps / math.ceil(num_rows / batch_size)))


def train(
    recipe: Recipe, tables: dict[str, Table], share: float, seed: int, side: str, options: argparse.Namespace
) -> dict[str, Any]:
    """One run, or what it left when it was done before."""
    folder = Path(options.output) / f"{100 * share:g}" / str(seed) / side.replace(" ", "_")
    path = folder / "pretraining.json"
    rows = labeled(tables["train"], options.label, share, seed)
    batch_size = min(recipe.training.batch_size, len(rows))
    steps = options.steps or math.ceil(len(tables["train"]) / recipe.training.batch_size) * options.epochs
    epochs = epochs_for(steps, len(rows), batch_size)
    requested = {
        "share": share,
        "seed": seed,
        "side": side,
        "steps": steps,
        "rows": len(rows),
        "bundle": options.bundle,
    }
    if path.is_file() and (found := json.loads(path.read_text(encoding="utf-8")))["asked"] == requested:
        return dict(found)
    chosen = recipe.with_overrides(
        [
            f"training.epochs={epochs}",
            f"training.seed={seed}",
            f"training.batch_size={batch_size}",
            f"training.validate_every={max(1, epochs // 20)}",
            "training.early_stopping=null",
            "training.tensorboard=false",
            *(["init_from=null"] if side == SIDES[0] else []),
        ]
    )
    from polysense.workflows.scoring import evaluate_bundle
    from polysense.workflows.train import train_model

    if (folder / "checkpoints").exists():
        raise SystemExit(f"{folder}: a run was cut off there; delete it")
    bundle, result, _ = train_model(
        chosen, {"train": rows, "validation": tables["validation"]}, folder, progress=False, save=False
    )
    found = evaluate_bundle(bundle, tables["test"], bootstrap=0, seed=seed)
    (target,) = bundle.schema.targets
    metric = options.metric or selection_metric(target).name
    plain = {
        "asked": requested,
        "metric": metric,
        "value": found.metrics[target.name][metric].value,
        "steps": result.steps,
        "seconds": result.seconds,
        "init_from": bundle.info.get("init_from", {}).get("moved", []),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return plain


def cell(values: Sequence[float]) -> str:
    """A mean with its interval; without one where there is but one seed."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = mean_interval(values)
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("label")
    parser.add_argument("bundle", help="what was trained without labels")
    parser.add_argument("--columns", nargs="+", required=True, help="the inputs; every other column is ignored")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.01, 0.1, 1.0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--metric")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("-o", "--output", default="runs/pretraining")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes of the recipe, for both sides"
    )
    options = parser.parse_args(arguments)
    source = read_table(options.table)
    retained = {*options.columns, options.label}
    ignored = {name: "ignored" for name in source.names if name not in retained and name != "split"}
    recipe = prepare(
        options.table,
        target=options.label,
        preset=options.preset,
        columns=ignored,
        overrides=[f"init_from.bundle={json.dumps(options.bundle)}", *options.set],
    ).recipe
    tables = split_tables(recipe.data, source, recipe.training.seed)
    if missing := [name for name in ("train", "validation", "test") if name not in tables]:
        raise SystemExit(f"{options.table}: has no {missing[0]} rows")
    rows = []
    for share in options.shares:
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for seed in range(options.seeds):
            for side in SIDES:
                one = train(recipe, tables, share, seed, side, options)
                found[side].append(one)
                print(
                    f"{share:.0%}, seed {seed}, {side}: {one['metric']} {one['value']:.3f}", file=sys.stderr, flush=True
                )
        rows.append((share, found))
    first = rows[0][1][SIDES[1]][0]
    moved = ", ".join(part["part"] for part in first["init_from"])
    print(f"Moved: {moved}. {first['metric']} on {len(tables['test'])} test rows, {options.seeds} seeds.\n")
    print("| labels | rows | steps | from scratch | pretrained | difference |\n| --- | --- | --- | --- | --- | --- |")
    for share, found in rows:
        values = {side: [one["value"] for one in found[side]] for side in SIDES}
        apart = [after - before for before, after in zip(*(values[side] for side in SIDES), strict=True)]
        one = found[SIDES[0]][0]
        listed = [f"{share:.0%}", str(one["asked"]["rows"]), str(one["steps"])]
        print("| " + " | ".join([*listed, *(cell(values[side]) for side in SIDES), cell(apart)]) + " |")
    return 0


if __name__ == "__main__":
    assert polysense.__version__
    raise SystemExit(main())
