"""The demo: handwritten and spoken digits with notes; each sense alone against all together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from polysense.core.files import named_path, shown_path
from polysense.core.json import write_json
from polysense.core.lock import locked, require_unlocked
from polysense.core.logs import get_logger
from polysense.data.demo.table import make_demo
from polysense.errors import ConfigError
from polysense.escaping import joined
from polysense.evaluation.baselines import CONSTANT, UNIMODAL_ENSEMBLE, unimodal_name
from polysense.workflows.fit import fit, new_folder
from polysense.workflows.run_folder import RECORD, RunFolder

__all__ = ["DemoSummary", "demo"]

_log = get_logger("polysense.workflows")

_SUMMARY = "summary.json"

# Four models in under a minute on two cores: 62 s of one core, imports and report included. Steps of 16 rows learn more
# in that time than steps of 32 (test accuracy .87 after 8 epochs, against .86 after 12).
_PRESET, _EPOCHS, _BATCH_SIZE, _RATE = "fast", 8, 16, 2e-3


class DemoSummary(dict[str, Any]):
    """summary.json's content; `text` is the comparison for people, `report` the report's path."""

    text: str = ""
    report: Path | None = None


def demo(
    output: str | Path | None = None, *, seed: int = 0, epochs: int | None = None, progress: bool = True
) -> DemoSummary:
    """Trains image-only, audio-only, text-only and fused models on the demo's table and compares them.

    A demo that was stopped, at whatever point, goes on by the same call with its folder.

    Args:
        output: The run's folder; by default runs/demo-TIME.
        seed: Of the model and of its training.
        epochs: Passes over the training rows.
        progress: Whether to show progress.

    Returns:
        What summary.json holds: test accuracies with intervals, gain, contributions, seconds.

    Raises:
        UserError: The folder holds a finished demo or another run, another process is at work in it, or the demo there
            was begun with another seed.
        TrainingInterrupted: Ctrl-C; the state was saved.
    """
    if output is None:
        folder = new_folder(Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}")
    else:
        folder = named_path(output)
    data = folder / "data"
    require_unlocked(folder)  # a training at work; two demos are kept from one another by the lock of what both write
    if (folder / RECORD).exists() and not (folder / _SUMMARY).exists() and (data / "data.csv").exists():
        _log.info("%s: holds a demo that was stopped; going on with it", folder)
    elif (folder / _SUMMARY).exists():
        raise ConfigError(f"{folder}: holds a finished demo already; give another folder with -o")
    else:
        RunFolder(folder).require_free()
    with locked(data):
        return _demo(folder, make_demo(data), seed=seed, epochs=epochs, progress=progress)


def _demo(folder: Path, table: Path, *, seed: int, epochs: int | None, progress: bool) -> DemoSummary:
    started = time.perf_counter()
    overrides = [
        f"training.seed={seed}",
        f"training.epochs={_EPOCHS if epochs is None else epochs}",
        f"training.batch_size={_BATCH_SIZE}",
        f"training.optimizer.lr={_RATE}",
        "training.early_stopping=null",
        "evaluation.baselines=true",
        # Simple models of feature vectors would take longer than the four networks: with them 243 s and a test accuracy
        # of .89 instead of .87.
        "data.features={}",
        "model.heads.label.estimators={}",
        "evaluation.simple_baselines=false",
    ]
    # The same on every machine: what a cache happens to hold would make another demo.
    run = fit(
        table,
        target="label",
        output=folder,
        overrides=overrides,
        preset=_PRESET,
        progress=progress,
        pretrained="off",
        resume=True,
    )
    names = {"image": "image", "audio": "audio", "note": "text"}  # not a kind: columns of the demo table
    accuracy = {
        short: run.baselines["test"][unimodal_name(column)].metrics["label"]["accuracy"]
        for column, short in names.items()
    }
    accuracy["ensemble"] = run.baselines["test"][UNIMODAL_ENSEMBLE].metrics["label"]["accuracy"]
    accuracy["majority"] = run.baselines["test"][CONSTANT].metrics["label"]["accuracy"]
    accuracy["fused"] = run.evaluations["test"].metrics["label"]["accuracy"]
    best = max(accuracy[short].value for short in names.values())
    summary = DemoSummary(
        test_accuracy={name: value.value for name, value in accuracy.items()},
        interval={name: [value.low, value.high] for name, value in accuracy.items()},
        gain_over_best_single=accuracy["fused"].value - best,
        gain_over_ensemble=accuracy["fused"].value - accuracy["ensemble"].value,
        contributions=None if run.contributions is None else run.contributions.summary_sentence(),
        seconds=round(time.perf_counter() - started, 1),
        folder=str(folder),
        seed=seed,
    )
    write_json(folder / _SUMMARY, summary)  # last: it says that the demo is finished
    summary.text = f"{_table(summary)}\n\n{run.summary()}"
    summary.report = run.report
    return summary


def _table(summary: DemoSummary) -> str:
    lines = ["Test accuracy, with 95% confidence intervals:"]
    for name, value in sorted(summary["test_accuracy"].items(), key=lambda pair: pair[1]):
        low, high = summary["interval"][name]
        bar = "█" * round(value * 36)
        lines.append(f"  {name:<9} {bar:<36} {100 * value:5.1f}%  ({100 * low:.1f} to {100 * high:.1f})")
    lines.append(f"{summary['seconds']:.0f} s in all; summary: {shown_path(summary['folder'])}/summary.json")
    return joined(lines)
