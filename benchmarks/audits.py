"""Audits of trained models: what they cost, what they claim where there is nothing, what they find that was planted.

    python benchmarks/audits.py DIR [--only avdigits noise] [--rows 2000] [--tables 100] [--output audits.json]

DIR holds the tables' folders (avdigits, covid_cxr, grid_av, meld, mosi); those that are not there are left out. The
parts, each of which `--only` names:

    avdigits, ...   one command on a fixed sample of the table's rows: seconds of the training and of its quick audit by
                    the clock, the share of the second in the first, and where half of the cells are missing at random
                    the model beside the best column that is left
    numbers         two of eight number columns matter: the share in a short training, and the columns that help
    wide            the same of 150 columns
    noise           tables whose columns say nothing of the label: those of which a verdict, a finding or a slice claims
                    anything
    slices          scores that know nothing, of four kinds: tables in which a slice is claimed
    planted         a slice is right in 40% of its rows, the others in 85%: tables in which it comes first
    memory          `polysense audit` of one model on 1,000 and on 20,000 rows: the processes' peak memory

`--runs FOLDER` keeps the runs, their pages and the tables that they were trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import beta

import polysense
from polysense.core.audit_answers import RowScore
from polysense.evaluation.audit.slices import find_slices
from polysense.evaluation.audit.traits import Trait, quantile_traits, value_traits

__all__ = [
    "TABLES", "AuditedTable", "audit_of_noise", "claims", "false_slices", "found_slices", "noise_traits", "row_score",
]  # fmt: skip

_HALF = 0.5
_ROWS_OF_NOISE = 400
_ENOUGH = 50  # slices
_QUIET = ("training.tensorboard=false", "evaluation.samples=0")
_NETWORK = ("model.heads.label={type: classification}", "evaluation.simple_baselines=false", "training.batch_size=32")
CLAIMS = (
    "work together", "say the same in part", "worse than with no column", "lowers the", "does better alone",
    "With another row's", "damaged by", "the interval holds for all", "confident",
)  # fmt: skip
"""What a sentence says that claims something."""


@dataclass(frozen=True, kw_only=True)
class AuditedTable:
    """One table.

    Attributes:
        target: What is predicted.
        inputs: Its input columns, each with its type.
        load: Makes the frame: inputs, target, `split`, and what slices may be found by.
        settings: Of the recipe.
    """

    target: str
    inputs: Mapping[str, str]
    load: Callable[[Path], pl.DataFrame] = field(repr=False)
    settings: tuple[str, ...] = ()


def _csv(name: str, *media: str) -> Callable[[Path], pl.DataFrame]:
    return lambda data: _absolute(pl.read_csv(data / name / "data.csv", infer_schema_length=None), data / name, media)


def _lines(name: str, *media: str) -> Callable[[Path], pl.DataFrame]:
    return lambda data: _absolute(
        pl.read_ndjson(data / name / "data.jsonl", infer_schema_length=None), data / name, media
    )


def _absolute(frame: pl.DataFrame, folder: Path, media: Sequence[str]) -> pl.DataFrame:
    prefix = f"{folder.resolve()}/"
    return frame.with_columns((pl.lit(prefix) + pl.col(name)).alias(name) for name in media)


def _mosi(data: Path) -> pl.DataFrame:
    """One vector of an utterance's sound and one of its pictures: series of one step with so many channels."""
    frame = pl.read_ndjson(data / "mosi" / "data.jsonl", infer_schema_length=None)
    vectors = {name: np.load(data / "mosi" / f"{name}_features.npy")[frame["row"]] for name in ("audio", "video")}
    return frame.drop("row").with_columns(
        pl.Series(name, [[[float(each)] for each in row] for row in rows]) for name, rows in vectors.items()
    )


TABLES = {
    "avdigits": AuditedTable(
        target="label", inputs={"image_deg": "image", "audio": "audio"},
        load=_csv("avdigits", "image", "image_deg", "audio"), settings=("training.epochs=6",),
    ),
    "covid_cxr": AuditedTable(
        target="label_covid", load=_csv("covid_cxr", "image"),
        inputs={
            "image": "image", "notes_masked": "text", "sex": "category", "age": "number", "offset_days": "number",
            "temperature": "number", "pO2_saturation": "number",
        },
    ),
    "grid_av": AuditedTable(
        target="command", inputs={"clip": "video", "audio": "audio"}, load=_lines("grid_av", "clip", "audio"),
        settings=("training.epochs=6",),
    ),
    "meld": AuditedTable(
        target="emotion", inputs={"text": "text", "speaker": "category", "turn": "number", "season": "category"},
        load=_lines("meld"),
    ),
    "mosi": AuditedTable(
        target="label", inputs={"text": "text", "audio": "series", "video": "series"}, load=_mosi
    ),
}  # fmt: skip


def audited_table(name: str, data: Path, folder: Path, rows: int) -> list[dict[str, Any]]:
    """Trains on a sample of a table and says what its audit cost and found."""
    table = TABLES[name]
    frame = table.load(data)
    frame = frame[np.sort(np.random.default_rng(0).permutation(len(frame))[:rows])]
    ignored = [each for each in frame.columns if each not in (*table.inputs, table.target, "split")]
    path = folder / f"{name}.jsonl"
    frame.write_ndjson(path)
    columns = {**table.inputs, **dict.fromkeys(ignored, "ignored")}
    run = _fit(path, table.target, folder / name, columns, *table.settings)
    return [_cost(name, run, len(frame)), *_with_half(name, run)]


def numbers(name: str, folder: Path, num_columns: int, rows: int, epochs: int) -> list[dict[str, Any]]:
    """A table of number columns of which the first two decide."""
    draws = np.random.default_rng(0)
    values = draws.normal(size=(rows, num_columns))
    label = np.where(values[:, 0] + values[:, 1] + draws.normal(0, 0.5, rows) > 0, "yes", "no")
    path = folder / f"{name}.csv"
    pl.DataFrame({**{f"x{i}": values[:, i] for i in range(num_columns)}, "label": label}).write_csv(path)
    run = _fit(path, "label", folder / name, {}, "data.split.test=0.3", f"training.epochs={epochs}")
    audit = _audit_of(run)["targets"]["label"]
    columns = audit["columns"]
    helping = [column["name"] for column in columns if column["verdict"] == "helps"]
    others = [
        f"{column['name']} {column['verdict']}" for column in columns if column["verdict"] in ("hurts", "redundant")
    ]
    groups = [f"{len(group['columns'])} together: {group['verdict']}" for group in audit["groups"]]
    return [
        _cost(name, run, rows),
        {
            "part": name,
            "what": f"columns that help (x0 and x1 do), {_rows_of(run):,} rows",
            "value": "; ".join([*sorted(helping), *others, *groups]),
        },
    ]


def _rows_of(run: polysense.Run) -> int:
    """Rows that column importance was measured on."""
    assert run.contributions is not None
    return run.contributions.targets[0].num_rows


def _fit(table: Path, target: str, output: Path, columns: Mapping[str, str], *settings: str) -> polysense.Run:
    return polysense.fit(
        table, target=target, output=output, columns=dict(columns), progress=False, pretrained="off",
        overrides=[*_QUIET[:1], *settings],
    )  # fmt: skip


def _audit_of(run: polysense.Run) -> dict[str, Any]:
    assert run.audit is not None
    return run.audit.as_json()


def _cost(name: str, run: polysense.Run, rows: int) -> dict[str, Any]:
    """Seconds of the audit, column importance included, in those of all that was done to train."""
    assert run.audit is not None
    training, audit = float(run.bundle.info["wall_seconds"]), run.audit.seconds
    return {
        "part": name, "what": f"{rows:,} rows: quick audit in the training's seconds", "rows": rows,
        "audit_seconds": audit, "training_seconds": training, "share": audit / training,
        "left_out": list(run.audit.left_out),
        "value": f"{audit:.1f} of {training:.1f} s ({audit / training:.0%}); {len(run.audit.left_out)} left out",
    }  # fmt: skip


def _with_half(name: str, run: polysense.Run) -> list[dict[str, Any]]:
    """Where half of the cells are missing the model less the best column that is left."""
    results = []
    for found in _audit_of(run)["targets"].values():
        rates = found["parts"].get("missing_rates")
        point = next((each for each in (rates or {}).get("curve", ()) if each["rate"] == _HALF), {})
        if "advantage" not in point:
            continue
        model, best, gain = point["model"], point["best_column"], point["advantage"]
        results.append({
            "part": name, "what": f"half of the cells missing, {rates['measure']}, {rates['num_rows']:,} rows",
            "model": model, "best_column": best, "advantage": gain,
            "value": f"model {model['value']:.3f}, best column left {best['value']:.3f}: "
            f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})",
        })  # fmt: skip
    return results


def claims(audit: Mapping[str, Any], target: str) -> list[str]:
    """What an audit claims of columns, of slices and of what breaks the model."""
    found = audit["targets"][target]
    verdicts = [
        f"{column['name']} {column['verdict']}"
        for column in found["columns"]
        if column["verdict"] in ("helps", "hurts", "redundant")
    ]
    return verdicts + [each for each in found["findings"] if any(words in each for words in CLAIMS)]


def audit_of_noise(folder: Path, seed: int) -> dict[str, Any]:
    """The audit of a table whose columns say nothing of the label."""
    draws, rows = np.random.default_rng(seed), _ROWS_OF_NOISE
    columns = {
        "a": draws.normal(size=rows),
        "b": draws.normal(size=rows),
        "c": np.array(list("wxyz"))[draws.integers(0, 4, rows)],
        "label": np.array(["no", "yes"])[draws.integers(0, 2, rows)],
    }
    path = folder / f"noise{seed}.csv"
    pl.DataFrame(columns).write_csv(path)
    run = polysense.fit(
        path, target="label", preset="fast", output=folder / f"noise{seed}", progress=False,
        overrides=[
            *_QUIET, *_NETWORK, "data.split.test=0.5", "evaluation.bootstrap=300", "evaluation.report=false",
            "training.epochs=3",
        ],
    )  # fmt: skip
    return _audit_of(run)


def noise(folder: Path, tables: int) -> list[dict[str, Any]]:
    """How many tables of noise anything is claimed of."""
    said = {seed: each for seed in range(tables) if (each := claims(audit_of_noise(folder, seed), "label"))}
    return [_share("noise", "tables of noise of which anything is claimed", len(said), tables, said=said)]


def false_slices(kind: str, tables: int) -> int:
    """Tables of scores that know nothing, of a kind, in which a slice is claimed."""
    claimed = 0
    for seed in range(tables):
        draws = np.random.default_rng(seed)
        groups = np.sort(draws.integers(0, 25, 240)) if kind == "groups" else None
        hardness = draws.normal(size=240) + (0 if groups is None else draws.normal(size=25)[groups])
        traits = noise_traits(draws, 240, groups)
        is_share = kind != "heavy tails"
        values = hardness > (-1.9 if kind == "rarely wrong" else -1) if is_share else np.exp(1.5 * hardness)
        result = find_slices("y", row_score(values, is_share), traits, clusters=groups, seed=seed)
        assert result.num_tried > _ENOUGH, f"{result.num_tried} slices were tried, which says nothing"
        claimed += bool(result.worst)
    return claimed


def found_slices(tables: int) -> int:
    """Tables in which the planted slice is the first one that is claimed, within .35 of its edge."""
    found = 0
    for seed in range(tables):
        draws = np.random.default_rng(seed)
        length = draws.normal(size=600)
        correct = draws.random(600) < np.where(length < -1, 0.4, 0.85)
        own = quantile_traits("length", "audio", "{column} < {value}", "{column} > {value}", length)
        result = find_slices("y", row_score(correct), [*noise_traits(draws, 600), *own])
        if result.worst and result.worst[0].words.startswith("audio < "):
            found += abs(float(result.worst[0].words.split()[-1]) + 1) < 0.35
    return found


def noise_traits(draws: np.random.Generator, rows: int, groups: np.ndarray | None = None) -> list[Trait]:
    """Traits of three numbers and two categories that know nothing; of groups, where there are any."""
    traits: list[Trait] = []
    for name in ("x", "y", "z"):
        values = draws.normal(size=rows)
        if groups is not None:
            values = 0.3 * values + draws.normal(size=groups.max() + 1)[groups]
        traits += quantile_traits(name, name, "{column} below {value}", "{column} from {value}", values)
    for name in ("k", "l"):
        codes = draws.integers(0, 4, rows) if groups is None else draws.integers(0, 4, groups.max() + 1)[groups]
        traits += value_traits(name, list(map(str, codes)))
    return traits


def row_score(values: np.ndarray, is_share: bool = True) -> RowScore:
    return RowScore(name="score", higher_is_better=is_share, is_share=is_share, values=values.astype(np.float64))


def slices(tables: int) -> list[dict[str, Any]]:
    return [
        _share("slices", f"tables in which a slice is claimed, {kind}", false_slices(kind, tables), tables)
        for kind in ("often right", "rarely wrong", "heavy tails", "groups")
    ]


def planted(tables: int) -> list[dict[str, Any]]:
    return [_share("planted", "tables in which the planted slice comes first", found_slices(tables), tables)]


def memory(folder: Path, sizes: Sequence[int] = (1_000, 20_000)) -> list[dict[str, Any]]:
    """The peak memory of an audit, by the rows that it is of; beside it that of the evaluation alone."""
    table, run = folder / "memory.csv", folder / "memory"
    _mixed(max(sizes)).write_csv(folder / f"memory{max(sizes)}.csv")
    _mixed(1000).write_csv(table)
    polysense.fit(
        table, target="label", output=run, progress=False, pretrained="off",
        overrides=[*_QUIET, "training.epochs=2", "audit=off", "evaluation.contribution=false"],
    )  # fmt: skip
    results = []
    for command in ("evaluate", "audit"):
        for size in sizes:
            path = folder / f"memory{size}.csv"
            _mixed(size).write_csv(path)
            cost = _command(folder, command, str(run), str(path), "--json")
            words = f"{cost['peak'] / 2**20:,.0f} MB, {cost['processor']:.1f} s of processor time"
            results.append({"part": "memory", "what": f"polysense {command} of {size:,} rows", "value": words, **cost})
    return results


def _mixed(rows: int) -> pl.DataFrame:
    """A category, two numbers and a text, of which the label depends."""
    draws = np.random.default_rng(0)
    label = draws.integers(0, 3, rows)
    words = np.array([f"word{i}" for i in range(12)])
    texts = words[draws.integers(0, len(words), (rows, 12))]
    texts[:, 0] = words[(4 * label + draws.integers(0, 4, rows)) % len(words)]
    return pl.DataFrame({
        "price": draws.normal(label, 2.0), "size": draws.lognormal(label / 4, 1.0),
        "shop": np.array([f"shop {i}" for i in range(30)])[(draws.integers(0, 25, rows) + 5 * label) % 30],
        "note": [" ".join(row) for row in texts], "label": np.array(["low", "middle", "high"])[label],
    })  # fmt: skip


def _command(folder: Path, *arguments: str) -> dict[str, float]:
    """Wall seconds, processor seconds and peak bytes of one command of polysense."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    log = folder / "commands.log"
    launcher = [sys.executable, "-m", "defaults_scripts.cost", str(log), sys.executable, "-m", "polysense", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.run(launcher, capture_output=True, encoding="utf-8", check=True, env=environment)
    cost: dict[str, float] = json.loads(process.stdout)
    if cost["status"]:
        raise SystemExit(f"polysense {' '.join(arguments)} ended with {cost['status']}, see {log}")
    return cost


def _share(part: str, what: str, count: int, total: int, **more: object) -> dict[str, Any]:
    """A count with its exact interval (Clopper and Pearson, 1934)."""
    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(0.975, count + 1, total - count))
    words = f"{count} of {total} ({low:.1%} to {high:.1%})"
    return {
        "part": part,
        "what": what,
        "count": count,
        "tables": total,
        "low": low,
        "high": high,
        "value": words,
        **more,
    }


def parts(data: Path, folder: Path, rows: int, tables: int) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """What can be measured, by name."""
    of_tables: dict[str, Callable[[], list[dict[str, Any]]]] = {
        name: (lambda name=name: audited_table(name, data, folder, rows)) for name in TABLES if (data / name).is_dir()
    }
    return {
        **of_tables,
        "numbers": lambda: numbers("numbers", folder, 8, 2000, 10),
        "wide": lambda: numbers("wide", folder, 150, 1000, 2),
        "noise": lambda: noise(folder, tables),
        "slices": lambda: slices(tables),
        "planted": lambda: planted(tables),
        "memory": lambda: memory(folder),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the tables' folders")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="these parts; else all that can be made")
    parser.add_argument("--rows", type=int, default=2000, help="rows of each table of DIR")
    parser.add_argument("--tables", type=int, default=100, help="generated tables of each part that counts them")
    parser.add_argument("--runs", type=Path, help="a new folder for the runs; else they are deleted")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measurable = parts(options.data, folder, options.rows, options.tables)
        if unknown := [name for name in options.only if name not in measurable]:
            parser.error(f"nothing is measured under {', '.join(unknown)}; there are {', '.join(measurable)}")
        results = []
        print("| part | what | measured |\n| --- | --- | --- |")
        for name, measure in measurable.items():
            if options.only and name not in options.only:
                continue
            for row in measure():
                results.append(row)
                print(f"| {row['part']} | {row['what']} | {row['value']} |", flush=True)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
