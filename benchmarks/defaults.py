"""One command at its defaults against a short scikit-learn script, on many tables, the same test rows for both.

    python benchmarks/defaults.py DIR --output results [--pretrained WEIGHTS] [--rows 2000] [--only esc10,cars]

DIR is a folder of data sets; further tables come from scikit-learn, vega_datasets and palmerpenguins, where these are
installed (`pip install vega_datasets palmerpenguins`). The sides, each a process of its own:

    script              features of each column, a linear model, a forest or boosting (defaults_scripts/script.py)
    command             `polysense train train.csv --target ... --pretrained off`, and `polysense predict`
    frozen              with weights: vectors of frozen networks and a linear model
    command+weights     `polysense train ... --pretrained WEIGHTS`

Results are lines of results.jsonl in the output's folder; what stands there is not run again, what failed is. At the
end, or with --report alone, come tables in Markdown: metric with its 95% bootstrap interval, paired differences with
Holm's correction over the tables, seconds and the largest process's peak memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defaults_scripts.judge import calibration, markdown, resampled_metrics
from defaults_scripts.tables import TABLES, JudgedTable, write_table

SIDES = ("script", "frozen", "command", "command+weights")
COMPARISONS = (
    ("command", "script"),
    ("command+weights", "script"),
    ("command+weights", "frozen"),
    ("command+weights", "command"),
    ("frozen", "script"),
)
_MEDIA = {"text", "image", "audio"}


class Failed(Exception):
    """A side's process ended with an error."""


def measured(arguments: Sequence[str], log: Path) -> dict[str, float]:
    """Wall seconds, processor seconds and peak bytes of one process; what it says goes to a file.

    Raises:
        Failed: It did not end well.
    """
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    launcher = [sys.executable, "-m", "defaults_scripts.cost", str(log), sys.executable, *arguments]
    done = subprocess.run(launcher, env=environment, capture_output=True, text=True, encoding="utf-8", check=True)
    cost: dict[str, float] = json.loads(done.stdout)
    if status := cost.pop("status"):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise Failed(f"ended with {status}: {lines[-1] if lines else 'no output'}; see {log}")
    return cost


def run_script(folder: Path, predictions: Path, log: Path, weights: Path | None) -> dict[str, Any]:
    """The script's side, with its choice."""
    arguments = ["-m", "defaults_scripts.script", str(folder), str(predictions)]
    cost = measured([*arguments, *([] if weights is None else [str(weights)])], log)
    with np.load(predictions, allow_pickle=False) as stored:
        return {**cost, "chosen": str(stored["chosen"]), "scores": json.loads(str(stored["scores"]))}


def run_command(
    table: JudgedTable, folder: Path, run: Path, predictions: Path, log: Path, options: Sequence[str]
) -> dict[str, Any]:
    """The one command's side; the seconds are those of the training, with its evaluation and report."""
    if run.exists():  # of a try that was stopped: resumed, it would seem faster than it is
        shutil.rmtree(run)
    arguments = ["-m", "polysense", "train", str(folder / "train.csv"), "--target", table.target, "-o", str(run)]
    cost = measured([*arguments, *options, "-q"], log)
    lines = run.with_suffix(".jsonl")
    predicting = measured(
        ["-m", "polysense", "predict", str(run), str(folder / "test.csv"), "-o", str(lines), "-q"], log
    )
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    np.savez(predictions, **predicted_arrays(rows, table))
    return {**cost, "seconds_to_predict": predicting["seconds"]}


def predicted_arrays(rows: Sequence[Mapping[str, Any]], table: JudgedTable) -> dict[str, np.ndarray]:
    """What `polysense predict` wrote, as the judge reads it."""
    if table.is_regression:
        return {"predicted": np.array([row[table.target] for row in rows], dtype=np.float64)}
    prefix = f"{table.target}_probability["
    names = [name for name in rows[0] if name.startswith(prefix)]
    return {
        "probabilities": np.array([[row[name] for name in names] for row in rows], dtype=np.float64),
        "classes": np.array([name[len(prefix) : -1] for name in names]),
    }


def run_side(
    table: JudgedTable, side: str, output: Path, facts: Mapping[str, Any], options: argparse.Namespace
) -> None:
    """Runs one side of one table and records it."""
    folder, name = output / "tables" / table.name, f"{table.name}.{side}"
    predictions, log = output / "predictions" / f"{name}.npz", output / "logs" / f"{name}.log"
    for path in (predictions, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    weights = options.pretrained if side in ("frozen", "command+weights") else None
    record: dict[str, Any] = {"table": table.name, "side": side, "metric": table.metric}
    record |= {key: facts[key] for key in ("rows", "test_rows", "available")}
    try:
        if side in ("script", "frozen"):
            record |= run_script(folder, predictions, log, weights)
        else:
            choice = ["--pretrained", "off" if weights is None else str(weights.resolve())]
            run = output / "runs" / name
            record |= run_command(table, folder, run, predictions, log, [*choice, *options.override])
        record["predictions"] = str(predictions.relative_to(output))
        judged = resampled_metrics(folder, predictions, num_resamples=1)
        record |= {"values": judged.values}
        value = judged.values[table.metric]
        print(f"{name}: {table.metric} {value:.3f} in {record['seconds']:.0f} s {record.get('chosen', '')}", flush=True)
    except Failed as error:
        record["failure"] = str(error)
        print(f"{name}: {error}", flush=True)
    with (output / "results.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def read_results(output: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Per table and side the last record that did not fail."""
    results: dict[str, dict[str, dict[str, Any]]] = {}
    path = output / "results.jsonl"
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "failure" not in record:
                results.setdefault(record["table"], {})[record["side"]] = record
    return results


def report(output: Path) -> str:
    """The tables in Markdown."""
    results = read_results(output)
    order = {table.name: i for i, table in enumerate(TABLES)}
    results = dict(sorted(results.items(), key=lambda item: order.get(item[0], len(order))))
    parts = []
    for side, other in COMPARISONS:
        if any(side in sides and other in sides for sides in results.values()):
            parts.append(f"### {side} against {other}\n\n{markdown(results, output, side, other)}")
    for side in ("command", "command+weights"):
        if table := calibration(results, output, side):
            parts.append(f"### Calibration of {side}\n\n{table}")
    return "\n\n".join(parts)


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the results of one folder have in common."""
    return {"rows": options.rows, "test_rows": options.test_rows, "override": options.override}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--output", type=Path, default=Path("defaults_results"), help="where results are kept")
    parser.add_argument("--pretrained", type=Path, help="a folder of weights; adds the sides frozen, command+weights")
    parser.add_argument("--rows", type=int, help="most training rows, a fixed sample; all by default")
    parser.add_argument("--test-rows", type=int, help="most test rows, likewise")
    parser.add_argument("--only", default="", metavar="NAME,...", help="these tables")
    parser.add_argument("--sides", default="", metavar="SIDE,...", help=f"of {', '.join(SIDES)}")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="to train with")
    parser.add_argument("--report", action="store_true", help="only print the tables of what is there")
    options = parser.parse_args(arguments)
    tables = {table.name: table for table in TABLES}
    names = [name for name in options.only.split(",") if name] or list(tables)
    sides = [side for side in options.sides.split(",") if side]
    sides = sides or [side for side in SIDES if options.pretrained is not None or side in ("script", "command")]
    if unknown := sorted({*names} - {*tables}) + sorted({*sides} - {*SIDES}):
        parser.error(f"unknown: {', '.join(unknown)}; tables are {', '.join(tables)}; sides are {', '.join(SIDES)}")
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.report:
        run_all([tables[name] for name in names], sides, options)
    print(report(options.output))
    return 0


def run_all(tables: Sequence[JudgedTable], sides: Sequence[str], options: argparse.Namespace) -> None:
    """Runs what is not there yet."""
    kept = options.output / "settings.json"
    if kept.exists() and (before := json.loads(kept.read_text(encoding="utf-8"))) != settings(options):
        raise SystemExit(f"{options.output} has results of {before}, not of {settings(options)}; choose another folder")
    kept.write_text(json.dumps(settings(options)) + "\n", encoding="utf-8")
    done = read_results(options.output)
    for table in tables:
        if table.package and importlib.util.find_spec(table.package) is None:
            print(f"{table.name}: left out, the package {table.package} is not installed", flush=True)
            continue
        if not table.package and not options.data.is_dir():
            raise SystemExit(f"{options.data} is no folder of data sets")
        folder = options.output / "tables" / table.name
        if (folder / "table.json").exists():
            facts = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        else:
            facts = write_table(table, options.data, folder, options.rows, options.test_rows)
        for side in sides:
            has_media = not _MEDIA.isdisjoint(table.kinds.values())
            if side in done.get(table.name, {}) or (side in ("frozen", "command+weights") and not has_media):
                continue
            run_side(table, side, options.output, facts, options)


if __name__ == "__main__":
    sys.exit(main())
